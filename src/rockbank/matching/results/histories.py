"""The members' histories, for the dataset of a match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, fields

import numpy as np
import torch

from rockbank.matching.methods.gauss_newton.search_state import n_starts
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED
from rockbank.matching.problem.cost import COST
from rockbank.matching.problem.point import Parts
from rockbank.matching.results.variable import Variable
from rockbank.matching.run import N_STARTS, Run

_N_EVOLUTION = 8
OF_PARTS = {
    "flow": "flow term of the objective",
    "wells": "wells' facies term of the objective",
    "prior": "prior term of the objective",
    "time_mean": "J, the published time mean of the flow's misfit",
    "accuracy": "part of the wells' cells whose facies is right",
}


def histories(run: Run, states: Sequence[State | None]) -> dict[str, Variable]:
    """The objective's parts, the iterations, the cost and the latent at each iterate of each member."""
    found: dict[str, Variable] = {}
    records = [() if state is None or state.status == FAILED else state.records for state in states]
    n = max(1, *map(len, records))
    parts = np.full((len(fields(Parts)), len(states), n), np.nan)
    counts = np.full((len(COST), len(states), n), np.nan)
    iterations = np.full((len(states), n), np.nan)
    paths = np.full((len(states), n, run.objective.n_latent), np.nan, dtype=np.float32)
    for i, of in enumerate(records):
        for k, record in enumerate(of):
            parts[:, i, k], counts[:, i, k] = astuple(record.parts), astuple(record.cost)
            iterations[i, k] = run.spec.n_iterations(k, record.cost)
            paths[i, k] = record.z
    dims = ("member", "iterate")
    for (name, meaning), values in zip(OF_PARTS.items(), parts, strict=True):
        whose = "" if name in ("time_mean", "accuracy") else ", as the member's own method saw it"
        found[f"history_{name}"] = (dims, values, {"units": "1", "long_name": f"{meaning}{whose}"})
    for name, values in zip(COST, counts, strict=True):
        found[f"cost_{name}"] = (dims, values, {"units": "1", "long_name": f"number of {name} so far"})
    total = np.tensordot(list(COST.values()), counts, axes=1)
    found["history_cost"] = (
        dims,
        total,
        {"units": "1", "long_name": "cost so far in forward runs", "comment": json.dumps(COST)},
    )
    each = f"so far, each a {run.spec.iteration}" if run.spec.iteration else "so far: the method makes none"
    found["history_iterations"] = (dims, iterations, {"units": "1", "long_name": f"number of iterations {each}"})
    started = [0 if state is None else n_starts(state) for state in states]
    found["n_starts"] = (
        ("member",),
        np.minimum(started, N_STARTS),
        {"units": "1", "long_name": "draws of the prior that the member started from"},
    )
    found["z_path"] = ((*dims, "latent"), paths, {"units": "1", "long_name": "latent at each iterate"})
    return found


def evolution(run: Run, state: State | None, member: int) -> dict[str, Variable]:
    """One member's facies from its start to its end, where the grid has two axes and facies."""
    if state is None or len(state.records) < 2:
        return {}
    last = len(state.records) - 1
    at = np.unique(np.linspace(0, last, min(_N_EVOLUTION, last + 1)).round().astype(int))
    with torch.no_grad():
        of_all = run.rock.facies(run.rock.variables(torch.as_tensor(np.array([state.records[i].z for i in at]))))
    if of_all is None or of_all.ndim != 3:
        return {}
    facies = of_all.mT.numpy()
    meaning = "probability of sand of the member of least loss"
    return {
        "facies_path": (("evolution", "y", "x"), facies, {"units": "1", "long_name": meaning, "member": member}),
        "evolution_iterate": (("evolution",), at, {"long_name": "iterate of facies_path"}),
    }
