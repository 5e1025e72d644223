"""What a run came to, as one dataset with CF attributes: latents, rock, curves, forecast, and the ways there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from rockbank.files import replacing
from rockbank.flow.netcdf import CONVENTIONS
from rockbank.matching.case_file import MatchCase
from rockbank.matching.diagnostics import table
from rockbank.matching.ensemble import Each
from rockbank.matching.forecast import Shown, show, show_truth, slerp, with_forecast
from rockbank.matching.objective import COST, Parts, Vector
from rockbank.matching.observations import QUANTITIES
from rockbank.matching.run import N_STARTS, PRIOR, Run
from rockbank.matching.state import FAILED, RUNNING, State
from rockbank.provenance import git_commit

POSTERIOR, TABLE = "posterior.nc", "table.csv"
_N_EVOLUTION, _N_LEGS, _N_POINTS = 8, 3, 9
_LOSSES = ("flow", "wells", "prior")


def n_runs(run: Run) -> int:
    """How many runs of the simulator `posterior` asks for, at most."""
    n_ensembles = len(_ensembles(run))
    n_between = _N_LEGS * (_N_POINTS - 2) if n_ensembles > 1 and run.settings.members >= _N_LEGS else 0
    return n_ensembles * run.settings.members + n_between + int(run.case.has_truth)


def posterior(run: Run, each: Each) -> xr.Dataset:
    """All that a run came to; every member's start and end is simulated anew, closely and until the forecast's end.

    Dimensions and names are those that diagnostics and figures read. Members that failed are NaN, and so is what has
    not been reached yet.

    Args:
        run: whose members have ended, or not yet.
        each: function(run, argument) of all the arguments, in their order.
    """
    states = run.states()
    latents: list[list[Vector | None]] = [[_start(state) for state in states], [_end(state) for state in states]]
    latents = latents[: len(_ensembles(run))]
    asked = [z for of_ensemble in latents for z in of_ensemble if z is not None]
    answers = iter(each(show, asked))
    shown = [[None if z is None else next(answers) for z in of_ensemble] for of_ensemble in latents]
    dataset = xr.Dataset(coords=_coordinates(run))
    _add_members(dataset, run, states, shown)
    _add_observations(dataset, run.case)
    _add_wells(dataset, run.case)
    _add_histories(dataset, run, states)
    if run.case.has_truth:
        _add_truth(dataset, run, each)
    best = _best(shown[-1])
    if best:
        _add_evolution(dataset, run, states[best[0]], best[0])
    if len(latents) > 1 and len(best) >= _N_LEGS:
        _add_legs(dataset, run, each, [(i, shown[-1][i]) for i in best[:_N_LEGS]])
    dataset.attrs = _provenance(run)
    return dataset


def write_posterior(folder: Path, dataset: xr.Dataset) -> None:
    """Write posterior.nc and table.csv into `folder`, each whole or not at all."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, each in dataset.data_vars.items() if each.ndim >= 3}
    with replacing(folder / TABLE) as beside:
        table(dataset).to_csv(beside, index=False)
    # The last of the two, for by it the results are known to be whole.
    with replacing(folder / POSTERIOR) as beside:
        dataset.to_netcdf(beside, engine="h5netcdf", encoding=encoding)


def read_posterior(folder: Path) -> xr.Dataset:
    """The dataset that `write_posterior` wrote; ValueError names the file that is absent or something else."""
    path = folder / POSTERIOR
    if not path.is_file():
        raise ValueError(f"{path}: no such file; 'rockbank match report {folder}' makes it")
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no NetCDF file: {error}; delete it, and make it again") from error


def fingerprint(run: Run) -> str:
    """SHA-256 of all checkpoints, by which a dataset is known to be of the members as they are now."""
    digest = hashlib.sha256()
    for i in range(run.settings.members):
        path = run.checkpoint(i)
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return digest.hexdigest()


def _ensembles(run: Run) -> list[str]:
    return [PRIOR] if run.settings.method == PRIOR else [PRIOR, "posterior"]


def _start(state: State | None) -> Vector | None:
    return None if state is None or state.status == FAILED else state.records[0].z


def _end(state: State | None) -> Vector | None:
    return None if state is None or state.status == FAILED else state.last.z


def _best(shown: Sequence[Shown | str | None]) -> list[int]:
    """Members from the least loss on."""
    total = {i: each.parts.total for i, each in enumerate(shown) if isinstance(each, Shown)}
    return sorted(total, key=total.__getitem__)


def _coordinates(run: Run) -> dict[str, Any]:
    case = run.case.case
    grid = case.rock.grid
    x, y = (np.cumsum(sizes) - 0.5 * sizes for sizes in grid.sizes[:2])
    steps = with_forecast(run.case).schedule.steps
    is_history = np.arange(len(steps)) < len(case.schedule.steps)
    wells = case.wells
    return {
        "ensemble": ("ensemble", _ensembles(run), {"long_name": "before and after the match"}),
        "member": ("member", np.arange(run.settings.members), {"long_name": "number of the member"}),
        "x": ("x", x, {"units": "m", "long_name": "along i, of the cells' centres", "axis": "X"}),
        "y": ("y", y, {"units": "m", "long_name": "along j, of the cells' centres", "axis": "Y"}),
        "time": ("time", np.cumsum(steps), {"units": "s", "long_name": "time since the start", "axis": "T"}),
        "is_history": ("time", is_history, {"long_name": "until the end of the history; what follows is forecast"}),
        "well": ("well", [well.name for well in wells], {"long_name": "name of the well"}),
        "well_kind": ("well", [well.kind for well in wells], {"long_name": "injector or producer"}),
    }


_MEMBERS = {
    "z": (("latent",), "1", "latent"),
    "facies": (("y", "x"), "1", "probability of sand"),
    "permeability": (("y", "x"), "m2", "permeability"),
    "porosity": (("y", "x"), "1", "porosity"),
    "bhp": (("time", "well"), "Pa", "bottom-hole pressure"),
    "water_rate": (("time", "well"), "m3 s-1", "surface rate of water into the reservoir; a producer's is negative"),
    "oil_rate": (("time", "well"), "m3 s-1", "surface rate of oil into the reservoir; a producer's is negative"),
    "simulated": (("observation",), "", "simulated values of the observations, Pa or m3 s-1"),
}
_OF_PARTS = {
    "flow": "flow term of the objective",
    "wells": "wells' facies term of the objective",
    "prior": "prior term of the objective",
    "time_mean": "J, the published time mean of the flow's misfit",
    "accuracy": "part of the wells' cells whose facies is right",
}


def _add_members(
    dataset: xr.Dataset,
    run: Run,
    states: Sequence[State | None],
    shown: Sequence[Sequence[Shown | str | None]],
) -> None:
    sizes = dict(dataset.sizes) | {"latent": run.objective.n_latent, "observation": len(run.case.observations)}
    lead = (len(shown), len(states))
    for name, (dims, unit, meaning) in _MEMBERS.items():
        if name == "simulated" and not sizes["observation"]:
            continue
        values = np.full((*lead, *(sizes[dim] for dim in dims)), np.nan)
        _fill(values, shown, attrgetter(name))
        attributes = {"long_name": meaning} | ({"units": unit} if unit else {})
        dataset[name] = (("ensemble", "member", *dims), values, attributes)
    for name, meaning in _OF_PARTS.items():
        values = np.full(lead, np.nan)
        _fill(values, shown, attrgetter(f"parts.{name}"))
        attributes = {"units": "1", "long_name": f"{meaning}, of the observations as they were made"}
        dataset[f"loss_{name}" if name in _LOSSES else name] = (("ensemble", "member"), values, attributes)
    status, reason = _status(states, shown)
    dataset["status"] = ("member", status, {"long_name": "in a word how the member ended, or 'running'"})
    dataset["reason"] = ("member", reason, {"long_name": "why it ended so"})


def _fill(
    values: Float[np.ndarray, "e m ..."], shown: Sequence[Sequence[Shown | str | None]], of: Callable[[Shown], Any]
) -> None:
    for i, of_ensemble in enumerate(shown):
        for j, each in enumerate(of_ensemble):
            if isinstance(each, Shown):
                values[i, j] = of(each)


def _status(
    states: Sequence[State | None], shown: Sequence[Sequence[Shown | str | None]]
) -> tuple[list[str], list[str]]:
    status, reason = [], []
    for state, last in zip(states, shown[-1], strict=True):
        if isinstance(last, str) and state is not None and state.status != RUNNING:
            status.append(FAILED)
            reason.append(f"simulated closely at its end: {last}")
        else:
            status.append(RUNNING if state is None else state.status)
            reason.append("has not begun" if state is None else state.reason)
    return status, reason


def _add_observations(dataset: xr.Dataset, case: MatchCase) -> None:
    of = case.observations
    if not len(of):
        return
    note = {"comment": "Pa or m3 s-1, as observation_quantity says"}
    columns: dict[str, tuple[Any, Mapping[str, str]]] = {
        "observation_time": (of.time, {"units": "s", "long_name": "time since the start"}),
        "observation_well": (list(of.well), {"long_name": "name of the well"}),
        "observation_quantity": (list(of.quantity), {"long_name": "bhp, water_rate or oil_rate"}),
        "observed": (of.value, {"long_name": "measured value", **note}),
        "sigma": (of.sigma, {"long_name": "standard deviation of the measured value", **note}),
    }
    for name, (values, attributes) in columns.items():
        dataset[name] = ("observation", values, dict(attributes))


def _add_wells(dataset: xr.Dataset, case: MatchCase) -> None:
    wells = case.case.wells
    places = {
        "perforation": [(*place[:2], i) for i, well in enumerate(wells) for place in well.cells],
        "facies_cell": [
            (*place, int(is_sand)) for place, is_sand in zip(case.facies.cells, case.facies.is_sand, strict=True)
        ],
    }
    for dim, rows in places.items():
        if not rows:
            continue
        i, j, what = np.array(rows).T
        dataset[f"{dim}_i"] = (dim, i, {"long_name": "place of its cell along 'x', from 0"})
        dataset[f"{dim}_j"] = (dim, j, {"long_name": "place of its cell along 'y', from 0"})
        if dim == "perforation":
            dataset["perforation_well"] = (dim, what, {"long_name": "place of its well along 'well', from 0"})
        else:
            dataset["facies_is_sand"] = (dim, what.astype(bool), {"long_name": "whether sand was seen there"})


def _add_histories(dataset: xr.Dataset, run: Run, states: Sequence[State | None]) -> None:
    records = [() if state is None or state.status == FAILED else state.records for state in states]
    n = max(1, *map(len, records))
    parts = np.full((len(fields(Parts)), len(states), n), np.nan)
    counts = np.full((len(COST), len(states), n), np.nan)
    paths = np.full((len(states), n, run.objective.n_latent), np.nan, dtype=np.float32)
    for i, of in enumerate(records):
        for k, record in enumerate(of):
            parts[:, i, k], counts[:, i, k] = astuple(record.parts), astuple(record.cost)
            paths[i, k] = record.z
    dims = ("member", "iteration")
    for (name, meaning), values in zip(_OF_PARTS.items(), parts, strict=True):
        whose = "" if name in ("time_mean", "accuracy") else ", as the member's own search saw it"
        dataset[f"history_{name}"] = (dims, values, {"units": "1", "long_name": f"{meaning}{whose}"})
    for name, values in zip(COST, counts, strict=True):
        dataset[f"cost_{name}"] = (dims, values, {"units": "1", "long_name": f"number of {name} so far"})
    total = np.tensordot(list(COST.values()), counts, axes=1)
    dataset["history_cost"] = (
        dims,
        total,
        {"units": "1", "long_name": "cost so far in forward runs", "comment": json.dumps(COST)},
    )
    n_starts = [0 if state is None else int(state.memory.get("i_start", 0)) + 1 for state in states]
    dataset["n_starts"] = (
        "member",
        np.minimum(n_starts, N_STARTS),
        {"units": "1", "long_name": "draws of the prior that the member began from"},
    )
    dataset["z_path"] = ((*dims, "latent"), paths, {"units": "1", "long_name": "latent after each iteration"})


def _add_truth(dataset: xr.Dataset, run: Run, each: Each) -> None:
    geology, rock = run.case.geology, run.case.case.rock
    p = (rock.components[0].numpy() - geology.least_permeability) / geology.permeability_range
    dataset["truth_facies"] = (
        ("y", "x"),
        p.clip(0, 1).T,
        {"units": "1", "long_name": "probability of sand in the truth"},
    )
    (curves,) = each(show_truth, [None])
    for name in QUANTITIES if curves else ():
        _, unit, meaning = _MEMBERS[name]
        dataset[f"truth_{name}"] = (
            ("time", "well"),
            curves[name],
            {"units": unit, "long_name": f"{meaning}, in the truth"},
        )


def _add_evolution(dataset: xr.Dataset, run: Run, state: State | None, member: int) -> None:
    if state is None or len(state.records) < 2:
        return
    last = len(state.records) - 1
    at = np.unique(np.linspace(0, last, min(_N_EVOLUTION, last + 1)).round().astype(int))
    with torch.no_grad():
        facies = run.rock(torch.as_tensor(np.array([state.records[i].z for i in at]))).facies.mT.numpy()
    dataset["facies_path"] = (
        ("evolution", "y", "x"),
        facies,
        {"units": "1", "long_name": "probability of sand of the member of least loss", "member": member},
    )
    dataset.coords["evolution_iteration"] = ("evolution", at, {"long_name": "iteration of facies_path"})


def _add_legs(dataset: xr.Dataset, run: Run, each: Each, best: Sequence[tuple[int, Any]]) -> None:
    """From the best member to the second, on to the third, and back."""
    ends = list(zip(best, (*best[1:], best[0]), strict=True))
    t = np.linspace(0, 1, _N_POINTS)
    between = iter(each(show, [slerp(a.z, b.z, at) for (_, a), (_, b) in ends for at in t[1:-1]]))
    legs = [[a, *(next(between) for _ in t[1:-1]), b] for (_, a), (_, b) in ends]
    shape = (len(legs), _N_POINTS)
    total, time_mean = np.full(shape, np.nan), np.full(shape, np.nan)
    facies = np.full((*shape, dataset.sizes["y"], dataset.sizes["x"]), np.nan)
    _fill(total, legs, attrgetter("parts.total"))
    _fill(time_mean, legs, attrgetter("parts.time_mean"))
    _fill(facies, legs, attrgetter("facies"))
    where = "on the great circle between two members"
    dataset["leg_members"] = (
        ("leg", "end"),
        [[i, j] for (i, _), (j, _) in ends],
        {"long_name": "number of the member at each end"},
    )
    dataset["interpolation_total"] = (("leg", "point"), total, {"units": "1", "long_name": f"objective {where}"})
    dataset["interpolation_time_mean"] = (("leg", "point"), time_mean, {"units": "1", "long_name": f"J {where}"})
    dataset["interpolation_facies"] = (
        ("leg", "point", "y", "x"),
        facies,
        {"units": "1", "long_name": f"probability of sand {where}"},
    )


def _provenance(run: Run) -> dict[str, Any]:
    asked, card = run.settings, run.card
    settings = asdict(asked) | {"case": Path(asked.case).name}
    return {
        "Conventions": CONVENTIONS,
        "title": run.case.case.title,
        "source": f"rockbank {version('rockbank')}, matching",
        # That of the code, wherever the command is run.
        "git_commit": git_commit(Path(__file__).parent) or "unknown",
        "method": asked.method,
        "seed": asked.seed,
        "generator": f"{asked.generator} ({card.generator}, {card.network})",
        "generator_sha256": run.card_sha256,
        "case": settings["case"],
        "case_sha256": asked.case_sha256,
        "settings": json.dumps({key: value for key, value in settings.items() if key != "inputs"}),
        "inputs": json.dumps(dict(asked.inputs)),
        "checkpoints_sha256": fingerprint(run),
    }
