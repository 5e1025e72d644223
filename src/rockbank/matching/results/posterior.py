"""What a run came to, as one dataset with CF attributes: latents, rock, curves, forecast, and histories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.core.provenance import git_commit
from rockbank.flow.results.netcdf import CONVENTIONS, write_netcdf
from rockbank.matching.methods.interface import ParallelMap
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.problem.observations import QUANTITIES
from rockbank.matching.problem.point import Vector
from rockbank.matching.results.case_variables import of_observations, of_wells
from rockbank.matching.results.forecast import Prediction, predict, predict_truth, with_forecast
from rockbank.matching.results.histories import OF_PARTS, evolution, histories
from rockbank.matching.results.interpolation import N_POINTS, N_SEGMENTS, interpolation
from rockbank.matching.results.renamed import renamed
from rockbank.matching.results.summary import table
from rockbank.matching.results.variable import Variable, stacked
from rockbank.matching.run import Run

POSTERIOR, TABLE = "posterior.nc", "table.csv"
_LOSSES = ("flow", "wells", "prior")
# Of HDF5: what is older needs 3 KB more for each variable.
_FORMAT = ("v110", "v110")


def n_runs(run: Run) -> int:
    """How many runs of the simulator `posterior` asks for, at most."""
    n_ensembles = len(_ensembles(run))
    has_segments = n_ensembles > 1 and run.settings.members >= N_SEGMENTS and _has_images(run)
    n_between = N_SEGMENTS * (N_POINTS - 2) if has_segments else 0
    return n_ensembles * run.settings.members + n_between + int(run.case.has_truth)


def posterior(run: Run, parallel_map: ParallelMap) -> xr.Dataset:
    """All that a run came to; every member's start and end is simulated anew, closely and until the forecast's end.

    Dimensions and names are those that diagnostics and figures read. Members that failed are NaN, and so is what has
    not been reached yet.

    Args:
        run: whose members have ended, or not yet.
        parallel_map: function(run, argument) of all the arguments, in their order.
    """
    states = run.states()
    latents: list[list[Vector | None]] = [[_start(state) for state in states], [_end(state) for state in states]]
    latents = latents[: len(_ensembles(run))]
    wanted = [z for of_ensemble in latents for z in of_ensemble if z is not None]
    predictions = iter(parallel_map(predict, wanted))
    predicted = [[None if z is None else next(predictions) for z in of_ensemble] for of_ensemble in latents]
    variables = _of_members(run, states, predicted) | of_observations(run.case) | of_wells(run.case)
    variables |= histories(run, states)
    if run.case.has_truth:
        variables |= _of_truth(run, parallel_map)
    best = _best(predicted[-1])
    if best:
        variables |= evolution(run, states[best[0]], best[0])
    if len(latents) > 1 and len(best) >= N_SEGMENTS and _has_images(run):
        variables |= interpolation(parallel_map, [(i, predicted[-1][i]) for i in best[:N_SEGMENTS]])
    return xr.Dataset(variables, coords=_coordinates(run), attrs=_provenance(run))


def write_posterior(folder: Path, dataset: xr.Dataset) -> None:
    """Write posterior.nc and table.csv into `folder`, each whole or not at all."""
    encoding = {name: _stored(each) for name, each in dataset.data_vars.items()}
    write_table(folder, dataset)
    # The last of the two, for by it the results are known to be whole.
    write_netcdf(folder / POSTERIOR, dataset, encoding, _FORMAT)


def write_table(folder: Path, dataset: xr.Dataset) -> None:
    """Write table.csv into `folder`, whole or not at all."""
    with replacing(folder / TABLE) as beside:
        table(dataset).to_csv(beside, index=False)


def read_posterior(folder: Path) -> xr.Dataset:
    """The dataset that `write_posterior` of any version wrote.

    Raises:
        InputError: naming the file that is absent or something else.
    """
    path = folder / POSTERIOR
    if not path.is_file():
        raise InputError(f"{path}: no such file; 'rockbank match report {folder}' makes it")
    try:
        return renamed(xr.load_dataset(path, engine="h5netcdf"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no NetCDF file: {error}; delete it, and make it again") from error


def fingerprint(run: Run) -> str:
    """SHA-256 of all checkpoints, by which a dataset is known to be of the members as they are now."""
    digest = hashlib.sha256()
    for i in range(run.settings.members):
        path = run.checkpoint(i)
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return digest.hexdigest()


def _stored(of: xr.DataArray) -> dict[str, Any]:
    """How a variable is stored: compressed, and rounded where it says so."""
    zipped = {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": of.shape} if of.ndim >= 2 else {}
    return zipped | {key: of.encoding[key] for key in ("dtype", "scale_factor", "_FillValue") if key in of.encoding}


def _ensembles(run: Run) -> list[str]:
    return ["prior"] if run.spec.iteration is None else ["prior", "posterior"]


def _has_images(run: Run) -> bool:
    """Whether there are facies on a grid of two axes, which pictures show."""
    rock = run.objective.rock
    facies = rock.facies(rock.variables(torch.zeros(rock.n_latent, dtype=torch.float64)))
    return facies is not None and facies.ndim == 2


def _start(state: State | None) -> Vector | None:
    return None if state is None or state.status == FAILED else state.records[0].z


def _end(state: State | None) -> Vector | None:
    return None if state is None or state.status == FAILED else state.last.z


def _best(predicted: Sequence[Prediction | str | None]) -> list[int]:
    """Members from the least loss on."""
    total = {i: each.parts.total for i, each in enumerate(predicted) if isinstance(each, Prediction)}
    return sorted(total, key=total.__getitem__)


def _coordinates(run: Run) -> dict[str, Any]:
    case = run.case.case
    grid = case.rock.grid
    x, y = (np.cumsum(sizes) - 0.5 * sizes for sizes in grid.sizes[:2])
    steps = with_forecast(run.case).schedule.steps
    is_history = np.arange(len(steps)) < len(case.schedule.steps)
    wells, groups = case.wells, run.objective.rock.groups
    layers = {} if len(grid.shape) == 2 else {
        "layer": ("layer", np.arange(grid.shape[2]), {"long_name": "number of the layer, from 0 downwards"})
    }  # fmt: skip
    names = _names_of_numbers(run)
    numbers = {} if not names else {
        "parameter": ("parameter", names, {"long_name": "name of a parameter that is a number"})
    }  # fmt: skip
    return (
        layers
        | numbers
        | {
            "ensemble": ("ensemble", _ensembles(run), {"long_name": "before and after the match"}),
            "member": ("member", np.arange(run.settings.members), {"long_name": "number of the member"}),
            "x": ("x", x, {"units": "m", "long_name": "along i, of the cells' centres", "axis": "X"}),
            "y": ("y", y, {"units": "m", "long_name": "along j, of the cells' centres", "axis": "Y"}),
            "time": ("time", np.cumsum(steps), {"units": "s", "long_name": "time since the start", "axis": "T"}),
            "is_history": ("time", is_history, {"long_name": "until the end of the history; what follows is forecast"}),
            "well": ("well", [well.name for well in wells], {"long_name": "name of the well"}),
            "well_kind": ("well", [well.kind for well in wells], {"long_name": "injector or producer"}),
            "latent_parameter": (
                "latent",
                [group.name for group in groups for _ in range(group.n_latent)],
                {"long_name": "name of the parameter that a number of the latent is of"},
            ),
        }
    )


def _names_of_numbers(run: Run) -> list[str]:
    rock = run.objective.rock
    return list(rock.values(rock.variables(torch.zeros(rock.n_latent, dtype=torch.float64))))


_MEMBERS = {
    "z": (("latent",), "1", "latent"),
    "facies": (("y", "x"), "1", "probability of sand"),
    "permeability": (("layer", "y", "x"), "m2", "permeability"),
    "porosity": (("layer", "y", "x"), "1", "porosity"),
    "parameters": (("parameter",), "", "parameters that are numbers, in SI"),
    "bhp": (("time", "well"), "Pa", "bottom-hole pressure"),
    "water_rate": (("time", "well"), "m3 s-1", "surface rate of water into the reservoir; a producer's is negative"),
    "oil_rate": (("time", "well"), "m3 s-1", "surface rate of oil into the reservoir; a producer's is negative"),
    "oil_volume": (("time", "well"), "m3", "surface volume of oil into the reservoir since the start"),
    "simulated": (("observation",), "", "simulated values of the observations, Pa, m3 s-1 or 1"),
}


def _of_members(
    run: Run, states: Sequence[State | None], predicted: Sequence[Sequence[Prediction | str | None]]
) -> dict[str, Variable]:
    grid, steps = run.case.case.rock.grid, with_forecast(run.case).schedule.steps
    sizes = {
        "latent": run.objective.n_latent, "x": grid.shape[0], "y": grid.shape[1], "layer": grid.box[2],
        "time": len(steps), "well": len(run.case.case.wells), "observation": len(run.case.observations),
        "parameter": len(_names_of_numbers(run)),
    }  # fmt: skip
    absent = {"simulated": "observation", "parameters": "parameter"}
    has_images = _has_images(run)
    found: dict[str, Variable] = {}
    for name, (dims, unit, meaning) in _MEMBERS.items():
        if (name in absent and not sizes[absent[name]]) or (name == "facies" and not has_images):
            continue
        dims = dims if len(grid.shape) == 3 else tuple(dim for dim in dims if dim != "layer")
        values = stacked(predicted, attrgetter(name), tuple(sizes[dim] for dim in dims))
        attributes = {"long_name": meaning} | ({"units": unit} if unit else {})
        found[name] = (("ensemble", "member", *dims), values, attributes)
    for name, meaning in OF_PARTS.items():
        attributes = {"units": "1", "long_name": f"{meaning}, of the observations as they were made"}
        values = stacked(predicted, attrgetter(f"parts.{name}"))
        found[f"loss_{name}" if name in _LOSSES else name] = (("ensemble", "member"), values, attributes)
    status, reason = _status(states, predicted)
    found["status"] = (("member",), status, {"long_name": "in a word how the member ended, or 'running'"})
    found["reason"] = (("member",), reason, {"long_name": "why it ended so"})
    return found


def _status(
    states: Sequence[State | None], predicted: Sequence[Sequence[Prediction | str | None]]
) -> tuple[list[str], list[str]]:
    status, reason = [], []
    for state, last in zip(states, predicted[-1], strict=True):
        if isinstance(last, str) and state is not None and state.status != RUNNING:
            status.append(FAILED)
            reason.append(f"simulated closely at its end: {last}")
        else:
            status.append(RUNNING if state is None else state.status)
            reason.append("has not begun" if state is None else state.reason)
    return status, reason


def _of_truth(run: Run, parallel_map: ParallelMap) -> dict[str, Variable]:
    geology, k = run.case.geology, run.case.case.rock.components[0].numpy()
    found: dict[str, Variable] = {}
    if _has_images(run):
        p = (k - geology.least_permeability) / geology.permeability_range
        meaning = "probability of sand in the truth"
        found["truth_facies"] = (("y", "x"), p.clip(0, 1).T, {"units": "1", "long_name": meaning})
    else:
        dims = ("layer", "y", "x")[-k.ndim :]
        found["truth_permeability"] = (dims, k.T, {"units": "m2", "long_name": "permeability of the truth"})
    (curves,) = parallel_map(predict_truth, [None])
    for name in (*QUANTITIES, "oil_volume") if curves else ():
        _, unit, meaning = _MEMBERS[name]
        attributes = {"units": unit, "long_name": f"{meaning}, in the truth"}
        found[f"truth_{name}"] = (("time", "well"), curves[name], attributes)
    return found


def _provenance(run: Run) -> dict[str, Any]:
    settings = run.settings
    said = asdict(settings) | {"case": Path(settings.case).name}
    generator = {}
    if run.has_generator:
        card = run.card
        generator = {
            "generator": f"{settings.generator} ({card.generator}, {card.network})",
            "generator_sha256": run.card_sha256,
        }
    return {
        "Conventions": CONVENTIONS,
        "title": run.case.case.title,
        "source": f"rockbank {version('rockbank')}, matching",
        # That of the code, wherever the command is run.
        "git_commit": git_commit(Path(__file__).parent) or "unknown",
        "method": settings.method,
        "iteration": run.spec.iteration or "",
        "max_iterations": run.max_iterations,
        "seed": settings.seed,
        **generator,
        "case": said["case"],
        "case_sha256": settings.case_sha256,
        "settings": json.dumps({key: value for key, value in said.items() if key != "inputs"}),
        "inputs": json.dumps(dict(settings.inputs)),
        "checkpoints_sha256": fingerprint(run),
    }
