"""What a match's case says, as variables of posterior.nc: its observations, its wells, the facies that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rockbank.matching.io.case_file import MatchCase
from rockbank.matching.problem.observations import InCells
from rockbank.matching.results.variable import Variable


def of_observations(case: MatchCase) -> dict[str, Variable]:
    """Their times, wells, quantities, values and standard deviations, in SI; of cells also where these lie."""
    of = case.observations
    if not len(of):
        return {}
    note = {"comment": "Pa, m3 s-1 or 1, as observation_quantity says"}
    columns: dict[str, tuple[Any, Mapping[str, str]]] = {
        "observation_time": (of.time, {"units": "s", "long_name": "time since the start"}),
        "observation_well": (list(of.well), {"long_name": "name of the well"}),
        "observation_quantity": (
            list(of.quantity),
            {"long_name": "bhp, water_rate or oil_rate of a well, or pressure or saturation of a cell"},
        ),
        "observed": (of.value, {"long_name": "measured value", **note}),
        "sigma": (of.sigma, {"long_name": "standard deviation of the measured value", **note}),
    }
    found: dict[str, Variable] = {
        name: (("observation",), values, attributes) for name, (values, attributes) in columns.items()
    }
    return found if of.cells is None else found | _of_observed_cells(of.cells, of.n_of_wells)


def _of_observed_cells(cells: InCells, first: int) -> dict[str, Variable]:
    """Where the observations of cells, which are the last, were made."""
    columns = {
        "cell_observation": (first + np.arange(len(cells)), {"long_name": "its place along 'observation', from 0"}),
        "cell_observation_depth": (cells.depth, {"units": "m", "long_name": "depth"}),
    }
    for axis, along, at in zip("ijk", ("x", "y", "layer"), cells.place.T, strict=False):
        columns[f"cell_observation_{axis}"] = (at, {"long_name": f"place of its cell along '{along}', from 0"})
    return {name: (("observed_cell",), *column) for name, column in columns.items()}


def of_wells(case: MatchCase) -> dict[str, Variable]:
    """Places of their perforations, and of the cells whose facies was seen."""
    found: dict[str, Variable] = {}
    places = {
        "perforation": [(*place[:2], i) for i, well in enumerate(case.case.wells) for place in well.cells],
        "facies_cell": [
            (*place[:2], int(is_sand)) for place, is_sand in zip(case.facies.cells, case.facies.is_sand, strict=True)
        ],
    }
    for dim, rows in places.items():
        if not rows:
            continue
        i, j, what = np.array(rows).T
        found[f"{dim}_i"] = ((dim,), i, {"long_name": "place of its cell along 'x', from 0"})
        found[f"{dim}_j"] = ((dim,), j, {"long_name": "place of its cell along 'y', from 0"})
        if dim == "perforation":
            found["perforation_well"] = ((dim,), what, {"long_name": "place of its well along 'well', from 0"})
        else:
            found["facies_is_sand"] = ((dim,), what.astype(bool), {"long_name": "whether sand was seen there"})
    return found
