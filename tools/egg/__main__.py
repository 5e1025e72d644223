"""The Egg model beside OPM Flow, with whole and with short steps: python -m tools.egg

Writes docs/validation/egg.md and its picture. Needs ../shared/data/egg, which is not part of the repository, and OPM
Flow.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.summary import WellCurves
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, DAY
from rockbank.plot.figures import BLUE, ORANGE, drawing, tidy
from tools.flow.opm_flow import find_flow, run_flow

DECK = Path("../shared/data/egg/EGG.DATA")
PAGE, PICTURE = Path("docs/validation/egg.md"), Path("docs/pictures/egg_rates.png")
# Report steps of the comparison of steps, and the longest of its short ones, days.
N_FIRST, SHORT, SHORTEST = 6, 0.5, 0.05
TEXT = """# The Egg model

`python -m tools.egg` wrote this page: the Egg model (Jansen et al. 2014; {n_cells} active cells, {n_wells} wells,
{n_reports} report steps) as its deck stands, beside OPM Flow 2022.10 with its defaults.

![Rates and pressures, ours over OPM Flow's](../pictures/egg_rates.png)

Largest differences over all wells and report steps: {pressure:.3f} bar, {rate:.2f} % of the largest rate.

## Steps

A deck without TUNING starts with a step of a day, and each may be twice as long as the longest before, which is about
what OPM Flow does by its own control of steps. Whole report steps leave another error of truncation, not another
solution: with steps of at most {short} days both programs agree. Largest difference of a bottom-hole pressure at the
ends of the first report steps, bar:

| ours | OPM Flow | {reports} |
|---|---|{rules}|
{rows}
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Wells in the deck's order, of each report step.

    Attributes:
        bhp: bar.
        oil: m^3/day into the reservoir.
        water: likewise.
    """

    bhp: Float[np.ndarray, "t w"]
    oil: Float[np.ndarray, "t w"]
    water: Float[np.ndarray, "t w"]


def main() -> None:
    """Run both, and write page and picture."""
    command = find_flow()
    if not DECK.is_file() or command is None:
        sys.exit(f"needs {DECK} and OPM Flow (on Debian: apt install libopm-simulators-bin)")
    case = load_case(DECK)
    first = replace(case, schedule=replace(case.schedule, steps=case.schedule.steps[:N_FIRST]))
    whole, short = Options(), Options(first_step=SHORTEST * DAY, largest_step=SHORT * DAY, growth=2.0)
    days = (f"--solver-max-time-step-in-days={SHORT}", f"--initial-time-step-in-days={SHORTEST}")
    ours, theirs = run(case, case.options), run_opm(command, case, None)
    theirs_short = run_opm(command, case, N_FIRST, days)
    ours_short, at_default = run(first, short), f"first step {SHORTEST} days, then at most {SHORT}"
    rows = [
        ("whole report steps", "default", run(first, whole), theirs),
        ("default", "default", ours, theirs),
        ("whole report steps", at_default, run(first, whole), theirs_short),
        (at_default, "default", ours_short, theirs),
        (at_default, at_default, ours_short, theirs_short),
    ]
    plot(case, ours, theirs)
    write_text(PAGE, page(case, ours, theirs, rows))


def run(case: Case, options: Options) -> Curves:
    """Ours."""
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
    bhp, oil, water = (of.detach().numpy() for of in (result.bhp, result.oil_rate, result.water_rate))
    return Curves(bhp=bhp / BAR, oil=oil * DAY, water=water * DAY)


def run_opm(command: str, case: Case, n_reports: int | None, options: Sequence[str] = ()) -> Curves:
    """OPM Flow's, of all report steps or of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "include").symlink_to((DECK.parent / "include").resolve())
        text = DECK.read_text()
        if n_reports is not None:
            text = re.sub(r"(TSTEP\s+)\d+\*", rf"\g<1>{n_reports}*", text)
        (folder / "EGG.DATA").write_text(text)
        curves: WellCurves = run_flow(command, folder / "EGG.DATA", folder, ("--threads-per-process=1", *options))
    order = [curves.wells.index(well.name) for well in case.wells]
    bhp, oil, water = (of[:, order] for of in (curves.bhp, curves.oil_rate, curves.water_rate))
    # Of an injector's oil the summary has nothing.
    return Curves(bhp=bhp / BAR, oil=np.nan_to_num(oil) * DAY, water=water * DAY)


def page(case: Case, ours: Curves, theirs: Curves, rows: Sequence[tuple[str, str, Curves, Curves]]) -> str:
    """The page's Markdown."""
    rate = max(np.abs(a - b).max() / np.abs(b).max() for a, b in ((ours.oil, theirs.oil), (ours.water, theirs.water)))
    lines = []
    for of_ours, of_opm, a, b in rows:
        differences = np.abs(a.bhp[:N_FIRST] - b.bhp[:N_FIRST]).max(axis=1)
        lines.append(f"| {of_ours} | {of_opm} | {' | '.join(f'{of:.3f}' for of in differences)} |")
    return TEXT.format(
        n_cells=f"{case.rock.grid.n_cells:,}", n_wells=len(case.wells), n_reports=len(case.schedule.steps), short=SHORT,
        pressure=np.abs(ours.bhp - theirs.bhp).max(), rate=100 * rate, rules="|".join(["---:"] * N_FIRST),
        reports=" | ".join(map(str, range(1, N_FIRST + 1))), rows="\n".join(lines),
    )  # fmt: skip


def plot(case: Case, ours: Curves, theirs: Curves) -> None:
    """The producers' rates and the injectors' pressures, ours as lines, OPM Flow's as circles."""
    years = np.cumsum(case.schedule.steps) / DAY / 365.25
    kinds = np.array([well.kind for well in case.wells])
    panels = (
        ("oil produced, m³/day", -ours.oil, -theirs.oil, "producer"),
        ("water produced, m³/day", -ours.water, -theirs.water, "producer"),
        ("injectors' pressures, bar", ours.bhp, theirs.bhp, "injector"),
    )
    with drawing(PICTURE, (12.0, 3.6)) as figure:
        for axis, (label, a, b, kind) in zip(figure.subplots(1, 3), panels, strict=True):
            for count, w in enumerate(np.flatnonzero(kinds == kind)):
                names = {"ours": "rockbank", "theirs": "OPM Flow"} if not count else {}
                axis.plot(years[::4], b[::4, w], "o", color=ORANGE, markersize=3, fillstyle="none",
                          label=names.get("theirs"))  # fmt: skip
                axis.plot(years, a[:, w], color=BLUE, linewidth=1.0, label=names.get("ours"))
            axis.set(xlabel="years", ylabel=label)
            axis.legend(loc="best", frameon=False)
            tidy(axis)


if __name__ == "__main__":
    main()
