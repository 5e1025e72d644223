"""The Egg model's match: a case file of its deck, and observations of a run of it; then a page of what came of it.

    python -m tools.egg.match ../shared/data/egg build/egg
    rockbank match build/egg/case.yaml --method es-mda --name egg-es-mda
    python -m tools.egg.match ../shared/data/egg build/egg --run matches/egg-es-mda

The model (Jansen et al. 2014) is no part of this repository; its folder holds EGG.DATA, and permx.npz with the array
permx.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

from rockbank.core.files import replacing, write_text
from rockbank.flow.casefile.file import load_case
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, DAY
from rockbank.matching.io.csv import write_observations
from rockbank.matching.problem.observations import Observations, Quantity
from rockbank.matching.problem.times import until
from rockbank.matching.results.plots.figures import PICTURES
from rockbank.matching.results.posterior import POSTERIOR, read_posterior

END = 900 * DAY
PAGE, PICTURE_FOLDER = Path("docs/validation/egg_match.md"), Path("docs/pictures")
# Of the pictures of a match's report.
SHOWN = ("fans", "permeability", "losses")
# Days at which a quantity is measured, and its standard deviation. An observation late in the history costs a Jacobian
# more than an early one, for its adjoint goes back through all the steps before it.
MEASURED: tuple[tuple[str, Quantity, tuple[int, ...], float], ...] = (
    ("INJECT", "bhp", (300,), 2 * BAR),
    ("PROD", "oil_rate", (300,), 5 / DAY),
    ("PROD", "water_rate", (450, 600, 900), 5 / DAY),
)
CASE = """# The Egg model's permeability by principal components of its ensemble; the deck's own is the truth.
title: The Egg model, 900 days of history
deck: {deck}
matching:
  observations: {{file: observations.csv}}
  until: 900 day
  truth: true
  parameters:
    permeability:
      ensemble: {{file: "{ensemble}:permx", unit: mD, members: 1..99, components: 60}}
  members: 20
  seed: 7
"""


def write_case(model: Path, folder: Path) -> None:
    """case.yaml, and the observations of a run of the deck with noise of their standard deviations."""
    folder.mkdir(parents=True, exist_ok=True)
    deck, ensemble = (os.path.relpath(model / name, folder) for name in ("EGG.DATA", "permx.npz"))
    case = until(load_case(model / "EGG.DATA"), END)
    options = replace(case.options, tolerance=1e-6)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
    rng = np.random.default_rng(42)
    rows = [
        (
            day * DAY,
            well.name,
            quantity,
            float(getattr(result, quantity)[result.time.searchsorted(day * DAY - 1), i]),
            s,
        )
        for kind, quantity, days, s in MEASURED
        for i, well in enumerate(case.wells)
        if well.name.startswith(kind)
        for day in days
    ]
    time, well, quantity, value, sigma = zip(*rows, strict=True)
    noise = np.array(sigma) * rng.standard_normal(len(rows))
    write_observations(
        folder / "observations.csv",
        Observations(
            time=np.array(time), well=well, quantity=quantity, value=np.array(value) + noise, sigma=np.array(sigma)
        ),
    )
    write_text(folder / "case.yaml", CASE.format(deck=deck, ensemble=ensemble))


def write_page(model: Path, run: Path) -> None:
    """The page of a run, and its pictures."""
    found = read_posterior(run)
    matplotlib.use("Agg")
    shown = []
    for picture in PICTURES:
        figure = picture.draw(found) if picture.name in SHOWN else None
        if figure is not None:
            path = PICTURE_FOLDER / f"egg_match_{picture.name}.png"
            with replacing(path) as beside:
                figure.savefig(beside, format="png", dpi=80)
            shown += [f"![{picture.title}](../pictures/{path.name})", "", picture.caption, ""]
    write_text(PAGE, "\n".join([*_text(found, _forward_seconds(model)), *shown]))


def _text(found: xr.Dataset, seconds: float) -> list[str]:
    """The page's text and table."""
    prior, posterior = (found.sel(ensemble=name) for name in ("prior", "posterior"))
    n_runs = int(found.cost_forward.max(dim="iterate").sum())
    truth = np.log(found.truth_permeability.values)

    def error(of: xr.Dataset) -> float:
        mean = np.log(of.permeability.values).mean(axis=0)
        return float(np.sqrt(np.nanmean((mean - truth) ** 2)))

    rows = {
        "mean square of an observation's misfit by its error, median": [
            f"{float(of.time_mean.median()):.3g}" for of in (prior, posterior)
        ],
        "spread of the parameters, of the prior's": [f"{_spread(of):.2f}" for of in (prior, posterior)],
        "error of the mean of ln k, root mean square": [f"{error(of):.3f}" for of in (prior, posterior)],
    }
    return [
        "# The Egg model matched",
        "",
        "`python -m tools.egg.match` wrote this page, and the case before: the deck as it stands, whose permeability",
        "is the truth; 900 days of it; permeability by 60 principal components of the ensemble's 99 other members;",
        "pressures of the injectors at 300 days with errors of 2 bar, oil and water of the producers at 300 to 900",
        f"days with errors of 5 m³/day, {found.sizes['observation']} observations in all.",
        "",
        f"{found.attrs['method']}, {found.sizes['member']} members: {n_runs} forward runs of {seconds:.1f} CPU seconds",
        f"each, together {n_runs * seconds / 60:.1f} core-minutes. The data tell apart fewer directions than there are",
        "components, and 20 members span 19: what no datum speaks of moves by chance, and the error of the mean need",
        "not fall.",
        "",
        "| | prior | posterior |",
        "|---|---:|---:|",
        *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
        "",
    ]


def _spread(of: xr.Dataset) -> float:
    return float(np.sqrt(of.z.values.var(axis=0, ddof=1).mean()))


def _forward_seconds(model: Path) -> float:
    """CPU seconds of one forward run of the history, on one thread."""
    case = until(load_case(model / "EGG.DATA"), END)

    def run() -> float:
        start = time.process_time()
        simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
        return time.process_time() - start

    run()  # compiles
    return run()


def main() -> None:
    """Write the case, or the page of a run of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the Egg model's folder")
    parser.add_argument("folder", type=Path, help="of the case file")
    parser.add_argument("--run", type=Path, help="a match of it, of which the page is to tell")
    arguments = parser.parse_args()
    if arguments.run is None:
        write_case(arguments.model, arguments.folder)
    elif not (arguments.run / POSTERIOR).is_file():
        parser.error(f"--run: {arguments.run / POSTERIOR} is not there; let 'rockbank match' come to its end first")
    else:
        write_page(arguments.model, arguments.run)


if __name__ == "__main__":
    main()
