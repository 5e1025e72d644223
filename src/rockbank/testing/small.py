"""A history match small enough for long Markov chains: a smooth random generator, two wells, a few report steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rockbank.flow.case import Case
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.simulate import Result, simulate
from rockbank.matching.problem.geology import Geology, RockGenerator, WellFacies
from rockbank.matching.problem.objective import Objective, Scaling
from rockbank.matching.problem.observations import Observations, Quantity, observables
from rockbank.matching.problem.point import Vector

DAY = 86400.0
# Ten times between shale and sand; the published thousand would make several modes of a few numbers.
GEOLOGY = Geology(least_permeability=1e-13)
SIGMA = {"bhp": 8e4, "water_rate": 2.0 / DAY}


class SmoothGenerator(nn.Module):
    """tanh of random sums of the lowest cosines: facies and porosity of sections without corners."""

    def __init__(self, n_latent: int, shape: tuple[int, int], *, n_waves: int = 4, seed: int = 3) -> None:
        """Of (i, j) cells."""
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        across, down = (
            torch.cos(torch.pi * torch.arange(n_waves)[:, None] * (torch.arange(n) + 0.5) / n) for n in shape
        )
        waves = torch.einsum("ai,bj->abji", across, down).flatten(0, 1)[1:]
        weights = torch.randn(2, n_latent, len(waves), generator=random)
        fields = torch.einsum("cnw,wji->ncji", weights, waves)
        self.fields = nn.Parameter(fields / (n_latent**0.5 * fields.std(dim=(2, 3), keepdim=True)))

    def forward(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b 2 j i"]:
        """Images of latents, in [-1, 1]."""
        return torch.tanh(torch.einsum("bn,ncji->bcji", z, self.fields))


def small_objective(
    *,
    shape: tuple[int, int] = (16, 8),
    n_latent: int = 6,
    days: tuple[float, ...] = (60, 120, 120),
    n_facies: int = 3,
    seed: int = 0,
    flow: bool = True,
    wells: bool = True,
    scaling: Scaling = "posterior",
) -> tuple[Objective, Vector]:
    """The objective of a case, and the truth that its observations were made of.

    Args:
        shape: cells along i and j.
        n_latent: numbers of the generator's latent.
        days: lengths of the report steps.
        n_facies: cells of each well where the facies is known.
        seed: of the truth and the noise.
        flow: whether the observations count.
        wells: whether the wells' facies count.
        scaling: of the three parts.
    """
    rng = np.random.default_rng(seed)
    rock = RockGenerator(SmoothGenerator(n_latent, shape), (n_latent,), ((-1.0, 1.0), (-1.0, 1.0)), GEOLOGY)
    truth = rng.standard_normal(n_latent)
    case = _case(rock, truth, shape, days)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    observations = _observed(case, result, rng)
    places = tuple(
        (i, j) for i in (1, shape[0] - 2) for j in np.linspace(0, shape[1] - 1, n_facies).round().astype(int)
    )
    facies = WellFacies(cells=places, is_sand=torch.zeros(len(places), dtype=torch.bool))
    with torch.no_grad():
        section = rock(torch.as_tensor(truth))
    facies = replace(facies, is_sand=facies.at(section.facies) > 0.5)
    return Objective(rock, case, observations, facies, flow=flow, wells=wells, scaling=scaling), truth


def _case(rock: RockGenerator, truth: Vector, shape: tuple[int, int], days: tuple[float, ...]) -> Case:
    with torch.no_grad():
        section = rock(torch.as_tensor(truth))
    rows = range(shape[1])
    return Case(
        title="a small case",
        rock=Rock(
            grid=Grid(shape=shape, spacing=(20.0, 20.0, 10.0)),
            permeability=section.permeability,
            porosity=section.porosity,
        ),
        fluid=Fluid(
            water=Phase(viscosity=3e-4, density=1000.0),
            oil=Phase(viscosity=2e-3, density=700.0),
            curves=BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78)),
        ),
        wells=(
            Well(name="INJ", kind="injector", cells=[(1, j) for j in rows], axis=1),
            Well(name="PROD", kind="producer", cells=[(shape[0] - 2, j) for j in rows], axis=1),
        ),
        schedule=Schedule(
            steps=[day * DAY for day in days],
            controls={"INJ": Control(kind="rate", target=100 / DAY), "PROD": Control(kind="bhp", target=1.5e7)},
        ),
        initial=State(pressure=2e7, saturation=0.15),
        options=Options(tolerance=1e-8),
    )


def _observed(case: Case, truth: Result, rng: np.random.Generator) -> Observations:
    """The injector's pressure and the producer's water at the end of every report step, with noise."""
    names: tuple[tuple[str, Quantity], ...] = (("INJ", "bhp"), ("PROD", "water_rate"))
    time = np.cumsum(case.schedule.steps)
    keys = [(well, quantity, end) for well, quantity in names for end in time]
    sigma = np.array([SIGMA[quantity] for _, quantity, _ in keys])
    clean = Observations(
        time=np.array([end for *_, end in keys]),
        well=tuple(well for well, *_ in keys),
        quantity=tuple(quantity for _, quantity, _ in keys),
        value=np.zeros(len(keys)),
        sigma=sigma,
    )
    shown = observables(truth, clean.places(case.schedule.steps, [well.name for well in case.wells])).numpy()
    return replace(clean, value=shown + clean.sigma * rng.standard_normal(len(keys)))
