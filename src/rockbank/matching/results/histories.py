"""The members' ways, and the ways between them, for the dataset of a match."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from rockbank.matching.methods.state import FAILED, State
from rockbank.matching.methods.workers import Each
from rockbank.matching.problem.objective import COST, Parts
from rockbank.matching.results.forecast import Shown, show, slerp
from rockbank.matching.run import N_STARTS, Run

# Dimensions, values and attributes.
Variable = tuple[tuple[str, ...], Any, Mapping[str, Any]]
N_LEGS, N_POINTS = 3, 9
_N_EVOLUTION = 8
OF_PARTS = {
    "flow": "flow term of the objective",
    "wells": "wells' facies term of the objective",
    "prior": "prior term of the objective",
    "time_mean": "J, the published time mean of the flow's misfit",
    "accuracy": "part of the wells' cells whose facies is right",
}


def histories(run: Run, states: Sequence[State | None]) -> dict[str, Variable]:
    """The objective's parts, the cost and the latent after each iteration of each member."""
    found: dict[str, Variable] = {}
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
    for (name, meaning), values in zip(OF_PARTS.items(), parts, strict=True):
        whose = "" if name in ("time_mean", "accuracy") else ", as the member's own search saw it"
        found[f"history_{name}"] = (dims, values, {"units": "1", "long_name": f"{meaning}{whose}"})
    for name, values in zip(COST, counts, strict=True):
        found[f"cost_{name}"] = (dims, values, {"units": "1", "long_name": f"number of {name} so far"})
    total = np.tensordot(list(COST.values()), counts, axes=1)
    found["history_cost"] = (
        dims,
        total,
        {"units": "1", "long_name": "cost so far in forward runs", "comment": json.dumps(COST)},
    )
    n_starts = [0 if state is None else int(state.memory.get("i_start", 0)) + 1 for state in states]
    found["n_starts"] = (
        ("member",),
        np.minimum(n_starts, N_STARTS),
        {"units": "1", "long_name": "draws of the prior that the member began from"},
    )
    found["z_path"] = ((*dims, "latent"), paths, {"units": "1", "long_name": "latent after each iteration"})
    return found


def evolution(run: Run, state: State | None, member: int) -> dict[str, Variable]:
    """One member's facies on its way."""
    if state is None or len(state.records) < 2:
        return {}
    last = len(state.records) - 1
    at = np.unique(np.linspace(0, last, min(_N_EVOLUTION, last + 1)).round().astype(int))
    with torch.no_grad():
        facies = run.rock(torch.as_tensor(np.array([state.records[i].z for i in at]))).facies.mT.numpy()
    meaning = "probability of sand of the member of least loss"
    return {
        "facies_path": (("evolution", "y", "x"), facies, {"units": "1", "long_name": meaning, "member": member}),
        "evolution_iteration": (("evolution",), at, {"long_name": "iteration of facies_path"}),
    }


def legs(run: Run, each: Each, best: Sequence[tuple[int, Any]]) -> dict[str, Variable]:
    """From the best member to the second, on to the third, and back."""
    ends = list(zip(best, (*best[1:], best[0]), strict=True))
    t = np.linspace(0, 1, N_POINTS)
    between = iter(each(show, [slerp(a.z, b.z, at) for (_, a), (_, b) in ends for at in t[1:-1]]))
    shown = [[a, *(next(between) for _ in t[1:-1]), b] for (_, a), (_, b) in ends]
    where, of_leg = "on the great circle between two members", ("leg", "point")
    of = {
        "total": ("parts.total", (), f"objective {where}"),
        "time_mean": ("parts.time_mean", (), f"J {where}"),
        "facies": ("facies", ("y", "x"), f"probability of sand {where}"),
    }
    shape = ends[0][0][1].facies.shape
    found: dict[str, Variable] = {
        f"interpolation_{name}": (
            (*of_leg, *dims),
            stacked(shown, attrgetter(attribute), shape if dims else ()),
            {"units": "1", "long_name": meaning},
        )
        for name, (attribute, dims, meaning) in of.items()
    }
    members = [[i, j] for (i, _), (j, _) in ends]
    return found | {"leg_members": (("leg", "end"), members, {"long_name": "number of the member at each end"})}


def stacked(
    shown: Sequence[Sequence[Shown | str | None]], of: Callable[[Shown], Any], shape: tuple[int, ...] = ()
) -> Float[np.ndarray, "e m ..."]:
    """Something of all that could be simulated; NaN of the rest."""
    nothing = np.full(shape, np.nan)
    return np.array([[of(each) if isinstance(each, Shown) else nothing for each in row] for row in shown])
