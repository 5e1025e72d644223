"""The Egg model's match: a case file of its deck, and observations of a run of it.

    python -m tools.egg.match ../shared/data/egg build/egg

The model (Jansen et al. 2014) is no part of this repository; its folder holds EGG.DATA, and permx.npz with the array
permx.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from rockbank.core.files import write_text
from rockbank.flow.casefile.file import load_case
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, DAY
from rockbank.matching.io.csv import write_observations
from rockbank.matching.problem.observations import Observations, Quantity
from rockbank.matching.problem.times import until

END = 900 * DAY
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


if __name__ == "__main__":
    write_case(Path(sys.argv[1]), Path(sys.argv[2]))
