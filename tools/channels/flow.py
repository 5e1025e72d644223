"""What sections of channels give at the wells of a case, and how far two sets of such responses are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist
from torch import nn

from rockbank.core.errors import InputError
from rockbank.core.terminal import progress
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import MatchCase
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.observations import observables

# Members of a run; they bound the memory of the states that it keeps.
BATCH = 10
N_PERMUTATIONS = 1000
Responses = Float[np.ndarray, "n m"]


def flow_responses(case: MatchCase, intensity: Float[np.ndarray, "n c h w"], name: str) -> Responses:
    """Pressures and rates where the case has observations, in units of the observations' standard deviation.

    Args:
        case: lends wells, fluids, schedule and geology; each section is its rock.
        intensity: of sections in [0, 1], rows down.
        name: of the sections, for the progress bar.

    Raises:
        NewtonError: a run does not converge.
    """
    flow, observations = case.case, case.observations
    places = observations.places(flow.schedule.steps, [well.name for well in flow.wells])
    # A section is its own latent.
    as_rock = RockGenerator(nn.Identity(), intensity.shape[1:], ((0.0, 1.0),) * intensity.shape[1], case.geology)
    found = []
    with torch.no_grad(), progress(f"flow through {name}", len(intensity)) as advance:
        for start in range(0, len(intensity), BATCH):
            members = torch.from_numpy(intensity[start : start + BATCH]).double().flatten(1)
            section = as_rock(members)
            rock = replace(flow.rock, permeability=section.permeability, porosity=section.porosity)
            result = simulate(rock, flow.fluid, flow.wells, flow.schedule, initial=flow.initial, options=flow.options)
            found.append(observables(result, places).numpy() / observations.sigma)
            advance(len(members))
    return np.concatenate(found)


def parts_of(case: MatchCase) -> dict[str, Bool[np.ndarray, " m"]]:
    """Which of the responses are taken together: all of them, and pressures and rates by themselves."""
    is_pressure = np.array([quantity == "bhp" for quantity in case.observations.quantity])
    return {"all": np.ones_like(is_pressure), "pressures": is_pressure, "rates": ~is_pressure}


def distances(real: Responses, other: Responses, parts: Mapping[str, Bool[np.ndarray, " m"]]) -> dict[str, float]:
    """The energy distance of each part; a part that the case does not observe is left out."""
    return {name: energy_distance(real[:, part], other[:, part]) for name, part in parts.items() if part.any()}


def energy_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """The energy distance between two laws, unbiased, of samples of each.

        2 E|X - Y| - E|X - X'| - E|Y - Y'|        (Szekely and Rizzo 2013, eq. 5)

    0 for two equal laws, about which an estimate lies on both sides. At least 2 samples of each.
    """
    for samples in (x, y):
        if len(samples) < 2:
            raise InputError(f"energy distance: got {len(samples)} samples; give at least 2 of each law")
    n = len(x)
    pooled = np.concatenate([x, y])
    return _energy(cdist(pooled, pooled), np.arange(len(pooled)) < n)


def chance(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], rng: np.random.Generator, level: float = 0.95
) -> float:
    """What the energy distance of two sets of one law stays below with the probability `level`.

    The quantile over permutations of the pooled samples; the two sets have to be of one law.
    """
    pooled = np.concatenate([x, y])
    between = cdist(pooled, pooled)
    is_first = np.arange(len(pooled)) < len(x)
    permuted = [_energy(between, rng.permutation(is_first)) for _ in range(N_PERMUTATIONS)]
    return float(np.quantile(permuted, level))


def _energy(between: Float[np.ndarray, "k k"], is_first: Bool[np.ndarray, " k"]) -> float:
    first, second = is_first.astype(float), (~is_first).astype(float)
    n, m = first.sum(), second.sum()
    to_first, to_second = between @ first, between @ second
    return float(
        2 * (first @ to_second) / (n * m) - (first @ to_first) / (n * (n - 1)) - (second @ to_second) / (m * (m - 1))
    )
