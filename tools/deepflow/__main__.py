"""The report on DeepFlow's case, from the results of the runs in matches/: python -m tools.deepflow

`dvc pull matches.dvc` brings all that it needs, of each run its posterior.nc. Writes reports/deepflow.md, the runs'
tables reports/deepflow/<name>.csv and docs/pictures/deepflow_*.png. Runs that are not there, or whose members have not
all ended, are said to be so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from rockbank.core.errors import InputError
from rockbank.core.files import replacing, write_text
from rockbank.matching.results.diagnostics import has
from rockbank.matching.results.plots.maps import draw_evolution, draw_interpolation
from rockbank.matching.results.summary import table
from rockbank.plot.figures import to_png
from tools.deepflow.fields import draw_curves, draw_maps
from tools.deepflow.figures import draw_interpolation_losses, draw_iterations, draw_losses, draw_methods, draw_wells
from tools.deepflow.numbers import has_histories
from tools.deepflow.runs import GROUPS, Found, Results, between, find
from tools.deepflow.text import to_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main(root: Path = Path()) -> None:
    """Read, draw and write, within a copy of the project.

    Args:
        root: of the project.
    """
    runs = find(root / "matches")
    shown = root / "docs" / "pictures"
    pictures = [
        name for group in GROUPS for name in draw(shown, group, [run for run in runs if run.plan.group == group])
    ]
    folder = root / "reports" / "deepflow"
    for run in runs:
        rows = folder / f"{run.plan.name}.csv"
        if run.results is None:
            rows.unlink(missing_ok=True)
            continue
        with replacing(rows) as beside:
            table(run.results.whole).to_csv(beside, index=False)
    path = root / "reports" / "deepflow.md"
    write_text(path, to_markdown(runs, pictures, root / "reports"))
    print(path)


def draw(folder: Path, group: str, runs: Sequence[Found]) -> list[str]:
    """The pictures of a group of runs; those that none of them has anything for are not made.

    Returns:
        Their files' names.
    """
    ended = [run.results for run in runs if run.results is not None]
    mixed = [run for run in ended if has(run.whole, "interpolation_total", "interpolation_facies")]
    shown = between(ended)
    of_shown = [] if shown is None else [shown]
    pictures: dict[str, tuple[Callable[[Path, list[Results]], None], list[Results]]] = {
        "curves": (draw_curves, [run for run in ended if has(run.dataset, "observed")]),
        "maps": (draw_maps, ended),
        "losses": (partial(draw_losses, with_paper=group == "published"), ended),
        "iterations": (
            partial(draw_iterations, with_paper=group == "published"),
            [run for run in ended if has_histories(run)],
        ),
        "wells": (partial(draw_wells, with_paper=group == "published"), ended),
        "slerp": (draw_interpolation_losses, [run for run in mixed if run.plan.scaling == "posterior"]),
        "sections": (partial(_draw_whole, draw_interpolation), of_shown),
        "evolution": (partial(_draw_whole, draw_evolution), of_shown),
        "methods": (draw_methods, [run for run in ended if run.plan.is_compared and has_histories(run)]),
    }
    names = []
    for name, (draw_one, of_runs) in pictures.items():
        path = folder / f"deepflow_{group}_{name}.png"
        if of_runs:
            draw_one(path, of_runs)
        else:
            path.unlink(missing_ok=True)
        if path.is_file():
            names.append(path.name)
    return names


def _draw_whole(draw_one: Callable[[xr.Dataset], Figure | None], path: Path, runs: list[Results]) -> None:
    figure = draw_one(runs[0].whole)
    if figure is None:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as beside:
        beside.write_bytes(to_png(figure))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(1)
