"""Which decks are read, and how close are they to OPM Flow? python -m tools.flow.decks FOLDER

Reads each deck of a folder (*.DATA, also in folders within it), runs it where it is read, by OPM Flow too where that is
installed, and writes docs/validation/decks.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.keywords import N_RECORDS, PASSED_OVER, REFUSED
from rockbank.flow.eclipse.lines import Lines
from rockbank.flow.eclipse.summary import WellCurves
from rockbank.flow.eclipse.text import SECTIONS, SLASH, read_keywords
from rockbank.flow.eclipse.writer import flow_options
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import simulate
from tools.flow.opm_flow import MATCHED, find_flow, run_flow

PAGE = Path("docs/validation/decks.md")
# What every deck has.
_PLAIN = (
    *SECTIONS,
    *("TITLE", "DIMENS", "OIL", "WATER", "METRIC", "START", "TABDIMS", "EQLDIMS", "DX", "DY", "DZ", "TOPS", "PORO"),
    *("PERMX", "PERMY", "PERMZ", "COPY", "EQUALS", "MULTIPLY", "SWOF", "PVTW", "PVCDO", "DENSITY", "ROCK", "EQUIL"),
    *("WELSPECS", "COMPDAT", "WCONINJE", "WCONPROD", "TSTEP", SLASH),
)
_UNKNOWN = re.compile(r": keyword (\S+) is not supported.*?; (.*)")
_MISSING = re.compile(r": INCLUDE: (.*): cannot be read")
_WHERE = re.compile(r"^.*?:\d+: |^[^:]*: ")
TEXT = """# Decks

`python -m tools.flow.decks {folder}` wrote this page. Of {n} decks, {n_read} are read and {n_refused} are refused; a
refusal names all of its causes at once, each with file and line.{folder_is}

{opm} Differences are the largest over all wells and report steps: of a bottom-hole pressure by itself, of a rate by
the largest rate.

| deck | what it uses | cells | read | refused for | pressure | rate |
|---|---|---:|---|---|---:|---:|
{rows}
{remarks}"""
PUBLIC = """ They are those of public repositories, whose names begin each row, as they stand there but for lines that
are comments; long tables and arrays that do not bear on the refusal are shortened. Most of what they include was not at
hand, which counts as a cause; 3WELL's permeability is another one."""
OWN = """ The decks of `tests/decks` were written anew, each in the syntax of a kind of deck that is public."""


REMARKS = {
    "DOWNTIME": "a rate of ours is a mean over all of the time, of OPM Flow's (as of Eclipse's) over that in which the "
    "well flows: WEFAC's factor is between them. Volumes are the same.",
    "LABORATORY": "OPM Flow's bores hold 0.1 cubic foot, which shows at the rates of a core. What its producer gives "
    "of water beyond ours falls in each step as a tank of that size would have it, by 1 / (1 + q dt / V) = 0.237.",
    "MINPV_ALONE": "this OPM Flow (2022.10) joins cells across those that MINPV switches off, as with PINCH; by "
    "Eclipse's manual, and by OPM's own later tests, nothing flows there without PINCH.",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one deck.

    Attributes:
        name: of the deck.
        uses: keywords beyond those of every deck.
        n_cells: active ones; None where it is refused.
        refusals: without places.
        pressure: largest difference to OPM Flow, by itself; or why there is none.
        rate: by the largest rate.
    """

    name: str
    uses: Sequence[str]
    n_cells: int | None = None
    refusals: Sequence[str] = ()
    pressure: float | str = ""
    rate: float | str = ""

    def __str__(self) -> str:
        is_read = self.n_cells is not None
        parts = (self.name, ", ".join(self.uses), str(self.n_cells or ""), "yes" if is_read else "no",
                 "; ".join(self.refusals), _shown(self.pressure), _shown(self.rate))  # fmt: skip
        return "| " + " | ".join(part.replace("|", "/") for part in parts) + " |"


def _shown(difference: float | str) -> str:
    return difference if isinstance(difference, str) else f"{difference:.0e}"


def judge(path: Path, root: Path, flow: str | None, *, seconds: float) -> Row:
    """Read a deck, and run it where it is read."""
    name, uses = str(path.relative_to(root).with_suffix("")), list(_uses(path))
    try:
        case = read_deck(path)
    except InputError as error:
        return Row(name=name, uses=uses, refusals=list(_causes(str(error).splitlines())))
    row = Row(name=name, uses=uses, n_cells=case.rock.grid.n_cells)
    if flow is None:
        return row
    with tempfile.TemporaryDirectory() as folder:
        try:
            theirs = run_flow(flow, path, Path(folder), (*MATCHED, *flow_options(case)[:1]), seconds=seconds)
        except subprocess.TimeoutExpired:
            return replace(row, pressure=f"OPM Flow takes more than {seconds:g} s")
        except (RuntimeError, InputError) as error:
            return replace(row, pressure=f"OPM Flow: {str(error).splitlines()[-1][:60]}")
    return _compared(row, case, theirs)


def _compared(row: Row, case: Case, theirs: WellCurves) -> Row:
    """The differences of a run of ours, as tight as the other."""
    wells = [well.name for well in case.wells]
    if missing := set(wells) - set(theirs.wells):
        return replace(row, pressure=f"no WBHP of {sorted(missing)}")
    at = [theirs.wells.index(name) for name in wells]
    try:
        result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial,
                          options=Options(cnv=1e-6, mb=1e-9))  # fmt: skip
    except (RuntimeError, InputError) as error:
        return replace(row, pressure=str(error)[:60])
    if len(theirs.time) != len(result.time):
        return replace(row, pressure=f"{len(theirs.time)} report steps of OPM Flow, {len(result.time)} of ours")
    largest = max(np.nanmax(np.abs(theirs.water_rate)), np.nanmax(np.abs(theirs.oil_rate)))
    rates = [np.abs(ours.numpy() - of[:, at]) / largest for ours, of in ((result.water_rate, theirs.water_rate),
                                                                      (result.oil_rate, theirs.oil_rate))]  # fmt: skip
    ours, bhp = result.bhp.numpy(), theirs.bhp[:, at]
    # OPM Flow gives a well that is shut no pressure.
    flows = bhp > 0
    pressure = np.abs(ours[flows] / bhp[flows] - 1)
    return replace(row, pressure=float(pressure.max()), rate=max(float(np.nanmax(of)) for of in rates))


def _uses(path: Path) -> Iterator[str]:
    try:
        keywords = list(read_keywords(Lines(path), dict(N_RECORDS), lambda _: None))
    except InputError:
        return
    names = dict.fromkeys(keyword.name for keyword in keywords)
    yield from (name for name in names if name not in _PLAIN and name not in PASSED_OVER and name not in REFUSED
                and not name.startswith(("RPT", "FIP")))  # fmt: skip


def _causes(lines: Sequence[str]) -> Iterator[str]:
    """Refusals without places, those of one cause together."""
    causes: dict[str, dict[str, None]] = {}
    missing = [Path(of[1]).name for line in lines if (of := _MISSING.search(line))]
    if missing:
        yield f"files that are not there: {', '.join(missing)}"
    for line in [line for line in lines if not _MISSING.search(line)]:
        keyword = _UNKNOWN.search(line)
        name, cause = (keyword[1], keyword[2]) if keyword else ("", _WHERE.sub("", line).partition("; known are")[0])
        causes.setdefault(cause, {})[name] = None
    for cause, names in causes.items():
        yield f"{', '.join(names)}: {cause}" if any(names) else cause


def main() -> None:
    """Judge the decks of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("tests/decks"))
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--seconds", type=float, default=300.0, help="that OPM Flow may take for a deck")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.upper() == ".DATA")
    if not paths:
        parser.error(f"{arguments.folder}: has no deck; give a folder with *.DATA")
    flow = find_flow()
    rows = []
    for path in paths:
        rows.append(judge(path, arguments.folder, flow, seconds=arguments.seconds))
        print(rows[-1])
    n_read = sum(row.n_cells is not None for row in rows)
    opm = "Both programs take each report step at once." if flow else "OPM Flow is not installed: no run is compared."
    own = OWN if arguments.folder == Path("tests/decks") else PUBLIC
    said = [f"- {name}: {why}" for name, why in REMARKS.items() if own and any(row.name == name for row in rows)]
    remarks = "\n" + "\n".join(said) + "\n" if said else ""
    text = TEXT.format(folder=arguments.folder, n=len(rows), n_read=n_read, n_refused=len(rows) - n_read, folder_is=own,
                       opm=opm, rows="\n".join(map(str, rows)), remarks=remarks)  # fmt: skip
    write_text(arguments.output, text)


if __name__ == "__main__":
    main()
