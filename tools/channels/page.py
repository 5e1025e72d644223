"""The page on channels, from its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rockbank.core.files import write_text
from rockbank.matching.results.diagnostics import TIME_MEAN_THRESHOLD
from tools.channels.pictures import N_SHOWN, draw_s2
from tools.deepflow.numbers import ACCURACY_BAR
from tools.recipe import markdown

PUBLISHED = "published"
TRIALS = "channels_trials.csv"
SAND, SAND_TOLERANCE = 0.511, 0.011
CONNECTED_TOLERANCE = 0.03
KID_MAX = 0.7
# Of the published generator's energy distance.
FLOW_PART = 0.5

# How the name of a generator ends whose edges are softened to so many a cell.
PER_CELL = "/cell"

Measured = Mapping[str, Any]
TEXT = """# Channels: how good a prior is a generator?

`python -m tools.channels` writes this page from channels.json, which it measures: {n_samples} samples of each generator
against object models of `rockbank.data.synthetic.channels`, whose law was read off DeepFlow's published realisation.
The first column has object models that no other figure was made of: what a perfect generator would get.{softened}

{table}
Bold: the bar is met.{published}

- **Sand proportion**: cells whose facies are above 0.5, mean and standard deviation over the samples.
- **S2 inside**: the part of the lags 0 to {lag} at which the mean two-point probability of sand lies in the
  simultaneous 95 % band of object models; below it the greatest distance of the mean from that of the law. The band is
  that of the mean of {n_samples} samples (`rockbank.rock.bands`) about {n_law} object models.
- **Columns {columns} connected**: the part of the samples in which one cluster of sand, by faces, has a cell in both
  columns. Object models: {connected:.1%} of {n_law}.
- **KS of porosity**: the largest difference between the distribution functions of the porosity variable in all cells of
  sand, and of shale. Cells of one body or layer are alike, so that object models are not at 0 either.
- **KID, FID**: by {extractor}, against the test crops that `score` uses.
{flow}{inversion}{trials}
![{n_shown} facies of each: object models first](../pictures/channels_facies.png)

![S2 of the generators less that of the law, over its band](../pictures/channels_s2.png)
"""
SOFTENED = f""" A name that ends
in {PER_CELL} is that of a generator with edges as soft as history matches take them."""
TRIED = """
## What was tried

What begins with "then" starts from the weights of channels-wgan-lp; none of it is better in all that an inversion
needs. What bodies are like is learnt from the images; that there are bodies, over layers of one row, is given.

{table}"""
INVERSION = """
## What a history match makes of it

Runs of `rockbank match` on `{case}`, whose truth is an object model that no generator has seen, by
{method}: their first {members} members. Numbers with brackets are the median, the least and the greatest.

{table}
- **Fit**: J, the mean square of what pressures and rates are off in units of their noise, weighted as published, is at
  most {threshold:g}. **Right at the wells**: at least {bar:g} of the {n_cells} facies that the wells went through.
- **Edges**: soft ones give a match derivatives, and let thin shale leak. So what was fitted with them is another rock
  than the same latents make with the edges of the images, by as much as J says there.
- **Cost**: in forward runs of the simulator, by the weights that DeepFlow's network has; the derivative of a generator
  of bodies takes as long as a Jacobian again.
- **J between solutions**: the greatest on each great circle between two of the three best members of all of the run.
"""
FLOW = """- **Flow**: energy distance between the responses of {n_runs} samples and {n_runs} object models in `{case}`:
  pressures and rates at its observations, each in units of its standard deviation there. The estimate is unbiased, so
  that it may be below 0. Of two sets of object models it exceeds these values once in twenty times (permutations):
  {limits}. Where sand
  does not connect the wells, pressures reach thousands of standard deviations: what the distance of all responses
  tells is that of the pressures.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure.

    Attributes:
        name: in words.
        bar: in words; "" where there is none.
        value: of a generator, in words.
        is_met: whether a generator reaches the bar; None where there is none, or it is not known.
    """

    name: str
    value: Callable[[Measured], str]
    bar: str = ""
    is_met: Callable[[Measured], bool | None] = lambda _: None


def _of_all(count: str) -> Callable[[Measured], str]:
    return lambda of: f"{of[count]} of {of['members']}"


def _range(of: str) -> Callable[[Measured], str]:
    def said(found: Measured) -> str:
        if found.get(of) is None:
            return "–"
        middle, least, greatest = found[of]
        return f"{middle:,.3g} ({least:,.3g}–{greatest:,.3g})"

    return said


INVERSION_ROWS: Mapping[str, Callable[[Measured], str]] = {
    "generator": lambda of: str(of["generator"]),
    "weights, SHA-256": lambda of: str(of["weights_sha256"])[:12],
    "edges, 1/cell": lambda of: "as in the images" if of.get("edges") is None else f"{of['edges']:g}",
    "fit": _of_all("fit"),
    "right at the wells": _of_all("right"),
    "both": _of_all("both"),
    "J at the end": _range("time_mean"),
    "the same with edges as in the images": _range("time_mean_unsoftened"),
    "part of the facies that is right": _range("accuracy"),
    "square of the latent over its length": _range("norm_squared"),
    "cost until fit": _range("cost_to_fit"),
    "cost": _range("cost"),
    "J between solutions": _range("between"),
}


def write_page(folder: Path, report: Measured) -> None:
    """validation/channels.md, and the picture of S2 beside that of the facies."""
    draw_s2(folder / "pictures" / "channels_s2.png", report)
    write_text(folder / "validation" / "channels.md", page(report, folder / "validation" / TRIALS))


def page(report: Measured, trials: Path = Path(TRIALS)) -> str:
    """The text of the page; without the table of trials it has no section on them."""
    has_published = PUBLISHED in report["generators"]
    missing = (" The row of DeepFlow's published generator is missing; `--published FOLDER` measures it from the "
               "folder with its weights.")  # fmt: skip
    return TEXT.format(
        n_samples=report["n_samples"],
        n_law=4 * report["n_samples"],
        table=table(report),
        published="" if has_published else missing,
        softened=SOFTENED if any(name.endswith(PER_CELL) for name in report["generators"]) else "",
        lag=len(report["law"]["s2"]["x"]["centre"]) - 1,
        columns="8 and 120",
        connected=report["law"]["connected"],
        extractor=report["extractor"],
        flow=_flow_text(report),
        inversion=_inversion_text(report),
        trials=TRIED.format(table=markdown(pd.read_csv(trials, dtype=str))) if trials.is_file() else "",
        n_shown=N_SHOWN,
    )


def table(report: Measured) -> str:
    """A row a measure and a column a generator; what meets its bar is bold."""
    rows = []
    for row in rows_of(report):
        cells = {
            name: f"**{row.value(found)}**" if row.is_met(found) else row.value(found)
            for name, found in report["generators"].items()
        }
        rows.append({"": row.name, **cells, "bar": row.bar})
    return markdown(pd.DataFrame(rows))


def rows_of(report: Measured) -> list[Row]:
    """Every measure with its bar."""
    connected = report["law"]["connected"]
    rows = [
        Row(
            name="sand proportion",
            value=lambda found: f"{found['sand']['mean']:.3f} ± {found['sand']['std']:.3f}",
            bar=f"{SAND} ± {SAND_TOLERANCE} in the mean",
            is_met=lambda found: abs(found["sand"]["mean"] - SAND) <= SAND_TOLERANCE,
        ),
        *(row for axis in ("x", "z") for row in _s2_rows(axis)),
        Row(
            name="columns 8 and 120 connected",
            value=lambda found: f"{found['connected']:.1%}",
            bar=f"{connected:.1%} ± {100 * CONNECTED_TOLERANCE:.0f} points",
            is_met=lambda found: abs(found["connected"] - connected) <= CONNECTED_TOLERANCE,
        ),
        *(Row(name=f"KS of porosity in {facies}", value=_ks_value(facies)) for facies in ("sand", "shale")),
        Row(
            name="KID",
            value=lambda found: f"{found['kid']:.3f} ± {found['kid_std']:.3f}",
            bar=f"≤ {KID_MAX}",
            is_met=lambda found: bool(found["kid"] <= KID_MAX),
        ),
        Row(name="FID", value=lambda found: f"{found['fid']:.1f}"),
    ]
    return rows + _flow_rows(report)


def _s2_rows(axis: str) -> list[Row]:
    return [
        Row(
            name=f"S2 along {axis} inside",
            value=lambda found: f"{found['s2'][axis]['inside']:.0%}",
            bar="100%",
            is_met=lambda found: found["s2"][axis]["inside"] == 1,
        ),
        Row(name=f"S2 along {axis}, greatest distance", value=lambda found: f"{found['s2'][axis]['distance']:.4f}"),
    ]


def _ks_value(facies: str) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        statistic = found["ks"][facies]
        return "–" if statistic is None else f"{statistic:.3f}"

    return value


def _flow_rows(report: Measured) -> list[Row]:
    """None where the flow was left out."""
    if report["law"]["flow_chance"] is None:
        return []
    limit, bar = _flow_bar(report)
    rows = [
        Row(
            name="flow, energy distance",
            value=lambda found: f"{found['flow']['all']:.2f}",
            bar=bar,
            is_met=lambda found: None if limit is None else bool(found["flow"]["all"] <= limit),
        )
    ]
    parts = [name for name in report["law"]["flow_chance"] if name != "all"]
    return rows + [Row(name=f"flow, {part} alone", value=_flow_value(part)) for part in parts]


def _flow_bar(report: Measured) -> tuple[float | None, str]:
    """The greatest energy distance, if it is known, and the bar in words."""
    of_published = "half of the published one's"
    if PUBLISHED not in report["generators"]:
        return None, of_published
    half, chance = FLOW_PART * report["generators"][PUBLISHED]["flow"]["all"], report["law"]["flow_chance"]["all"]
    if half <= chance:
        return chance, f"≤ {chance:.2f}, which is chance; {of_published} is below it"
    return half, f"≤ {half:.2f}, {of_published}"


def _inversion_text(report: Measured) -> str:
    """ "" where no run was read."""
    runs = report.get("inversion")
    if not runs:
        return ""
    some = next(iter(runs.values()))
    rows = [{"": name, **{run: value(of) for run, of in runs.items()}} for name, value in INVERSION_ROWS.items()]
    return INVERSION.format(**some, table=markdown(pd.DataFrame(rows)), bar=ACCURACY_BAR, threshold=TIME_MEAN_THRESHOLD)


def _flow_value(part: str) -> Callable[[Measured], str]:
    return lambda found: f"{found['flow'][part]:.2f}"


def _flow_text(report: Measured) -> str:
    limits = report["law"]["flow_chance"]
    if limits is None:
        return "- **Flow**: not measured; `--runs 100` does."
    said = ", ".join(f"{value:.2f} ({name})" for name, value in limits.items())
    return FLOW.format(n_runs=report["n_runs"], case=report["case"], limits=said)
