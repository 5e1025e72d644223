"""Everything that the observables are differentiable in, by Taylor's remainder, of one member and of a batch."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rockbank.flow import (
    GRAVITY,
    BrooksCorey,
    Control,
    Corey,
    Fluid,
    Grid,
    Options,
    Phase,
    Rock,
    Schedule,
    State,
    Well,
    simulate,
)
from rockbank.flow.equations.rock import fault_multiplier

SHAPE = (3, 2, 2)
PHASES = {
    "viscosity": (5e-4, 2e-3),
    "density": (1000.0, 800.0),
    "compressibility": (1e-9, 2e-9),
    "viscosibility": (2e-8, -1e-8),
}
CURVES = {"exponent": (2.2, 2.5), "end": (0.6, 0.9), "residual": (0.1, 0.2), "span": (0.65, 0.6)}
# Each as 1 + x of what it is, so that one size of step suits all; the limit holds the injector, the target does not.
PARAMETERS = [
    "permeability",
    "porosity",
    "well index",
    "targets",
    "limit",
    "initial pressure",
    "initial saturation",
    "net to gross",
    "pore multiplier",
    "face multiplier",
    "fault multiplier",
    *(f"{phase} {name}" for phase in ("water", "oil") for name in (*PHASES, *CURVES)),
]
KINDS = {
    # Gravity, compressible, bores of 60 m, an injector that its limit holds.
    "newton": (Options(method="newton", solver="direct", cnv=1e-12, mb=1e-14), GRAVITY),
    "sequential": (Options(method="sequential", tolerance=1e-12), 0.0),
    # From step to step nothing changes but the limit that holds the injector.
    "sequential, one pressure": (Options(method="sequential", tolerance=1e-12), 0.0),
}


def uniform(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FIELDS = {
    "permeability": 1e-13 * (0.3 + uniform(SHAPE, 1)),
    "porosity": 0.2 + 0.1 * uniform(SHAPE, 2),
    "well index": 1e-12 * (0.5 + uniform(4, 3)),
    "targets": torch.tensor([[8e-3, 8e-3], [1e7, 1.05e7]], dtype=torch.float64),
    "limit": torch.tensor([1.6e7, 1.7e7], dtype=torch.float64),
    "initial pressure": 1.2e7 + 2e5 * uniform(SHAPE, 4),
    "initial saturation": 0.25 + 0.2 * uniform(SHAPE, 5),
    "net to gross": 0.6 + 0.2 * uniform(12, 6),
    "pore multiplier": 0.9 + 0.5 * uniform(12, 7),
    "face multiplier": 0.4 + uniform(20, 12),
    "fault multiplier": torch.tensor(0.3, dtype=torch.float64),
    **{
        f"{phase} {name}": torch.tensor(values[i], dtype=torch.float64)
        for i, phase in enumerate(("water", "oil"))
        for name, values in (PHASES | CURVES).items()
    },
}


def observables(kind, factors):
    """Pressures and rates, of order 1, with each field times its factor."""
    options, gravity = KINDS[kind]
    of = {name: field * factors.get(name, 1.0) for name, field in FIELDS.items()}
    columns = {"I": [(0, 0, 0), (0, 0, 1)], "P": [(2, 1, 0), (2, 1, 1)]}
    index = dict(zip("IP", of["well index"].split(2, dim=-1), strict=True))
    i_target, p_target = of["targets"].unbind(dim=-2)
    if kind == "sequential, one pressure":
        p_target = p_target[..., :1]
    rock = Rock(
        grid=Grid(shape=SHAPE, spacing=(10.0, 10.0, 15.0), top=1000.0),
        permeability=of["permeability"],
        porosity=of["porosity"],
        compressibility=np.linspace(0.5e-9, 1.5e-9, 12),
        reference_pressure=np.linspace(1e5, 2e7, 12),
        net_to_gross=of["net to gross"],
        pore_multiplier=of["pore multiplier"],
        face_multiplier=of["face multiplier"],
        faults={"F": np.arange(4)},
    )
    rock = replace(rock, face_multiplier=fault_multiplier(rock, {"F": of["fault multiplier"]}))

    def phase(name):
        numbers = {each: of[f"{name} {each}"] for each in PHASES if each != "viscosibility" or kind == "newton"}
        return Phase(**numbers, reference_pressure=2e7, viscosity_pressure=1.2e7)

    def curve(name):
        return Corey(**{each: of[f"{name} {each}"] for each in CURVES})

    result = simulate(
        rock,
        Fluid(
            water=phase("water"),
            oil=phase("oil"),
            curves=BrooksCorey(water_curve=curve("water"), oil_curve=curve("oil")),
            gravity=gravity,
        ),
        [
            Well(name="I", kind="injector", cells=columns["I"], index=index["I"], datum=970.0),
            Well(name="P", kind="producer", cells=columns["P"], index=index["P"], datum=970.0),
        ],
        Schedule(
            steps=(2e5, 4e5),
            controls={
                "I": Control(kind="rate", target=i_target, limit=of["limit"]),
                "P": Control(kind="bhp", target=p_target),
            },
        ),
        initial=State(pressure=of["initial pressure"], saturation=of["initial saturation"]),
        options=options,
    )
    assert all(of.held_by_limit[:, 0].all() for of in result.trajectories)
    return torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4], dim=-1)


def misfit(seen):
    return (uniform(seen.shape[-3:], 9) * seen + 0.1 * seen**2).sum(dim=(-3, -2, -1))


def along(name):
    return 0.02 * (uniform(FIELDS[name].shape, 8) + 0.5)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("newton", name) for name in PARAMETERS]
    + [("sequential", name) for name in ("limit", "initial pressure", "oil viscosity", "water exponent")]
    + [("sequential, one pressure", name) for name in ("limit", "permeability")],
)
def test_the_taylor_remainder_is_of_second_order(kind, name):
    direction, x = along(name), torch.ones_like(FIELDS[name], requires_grad=True)
    value = misfit(observables(kind, {name: x}))
    (slope,) = torch.autograd.grad(value, x)
    assert (slope != 0).any()

    def remainder(h):
        moved = misfit(observables(kind, {name: 1 + h * direction}))
        return abs(moved - value - h * (slope * direction).sum()).item()

    # What is left of a function that is linear in a number is round-off.
    remainders = [max(remainder(h), 1e-300) for h in (1.0, 0.5, 0.25)]
    rates = [math.log2(coarse / fine) for coarse, fine in pairwise(remainders)]
    assert min(rates) > 1.9 or max(remainders) < 1e-9 * abs(value.item())


@pytest.mark.parametrize("kind", KINDS)
def test_members_have_the_values_and_gradients_that_they_have_alone(kind):
    # Newton's method alone takes viscosities that change with pressure.
    fields = {name: of for name, of in FIELDS.items() if kind == "newton" or "viscosibility" not in name}
    members = {name: torch.stack([torch.ones_like(of), 1 + along(name)]) for name, of in fields.items()}
    inputs = {name: of.clone().requires_grad_() for name, of in members.items()}
    together = misfit(observables(kind, inputs))
    of_all = dict(zip(inputs, torch.autograd.grad(together.sum(), inputs.values()), strict=True))
    for i in range(2):
        own = {name: of[i].clone().requires_grad_() for name, of in members.items()}
        alone = misfit(observables(kind, own))
        assert together[i].item() == pytest.approx(alone.item(), rel=1e-9)
        for name, slope in zip(own, torch.autograd.grad(alone, own.values()), strict=True):
            torch.testing.assert_close(of_all[name][i], slope, rtol=1e-7, atol=1e-9 * slope.abs().max().item() + 1e-12)
