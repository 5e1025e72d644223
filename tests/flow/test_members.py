"""Members at once by the block solver, on any device, against each alone by the direct one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.simulate import simulate
from tests.flow.linear.test_block import FLUID

DAY = 86400.0
THIN = Fluid(
    water=Phase(viscosity=3e-4, density=1000.0),
    oil=Phase(viscosity=5e-3, density=700.0),
    curves=BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78)),
)
CASES = {
    "incompressible": (THIN, Grid(shape=(9, 5), spacing=(4.0, 4.0, 10.0))),
    "compressible, gravity, capillary": (FLUID, Grid(shape=(5, 3, 4), spacing=(10.0, 10.0, 2.0), top=1000.0)),
}


class Members:
    """Eight rocks of one case, and what is measured of them."""

    def __init__(self, name, members=8):
        self.fluid, self.grid = CASES[name]
        generator = torch.Generator().manual_seed(3)
        shape = (members, *self.grid.shape)
        self.k = (1e-14 * 300 ** torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        self.phi = (0.1 + 0.3 * torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        self.rate = torch.linspace(2e-4, 6e-4, members, dtype=torch.float64)[:, None].requires_grad_()
        self.inputs = (self.k, self.phi, self.rate)

    def run(self, some, solver):
        """The members of the slice, in one batch."""
        last = tuple(n - 1 for n in self.grid.shape)
        wells = [
            Well(name="I", kind="injector", cells=[(0,) * len(last)]),
            Well(name="P", kind="producer", cells=[last]),
            Well(name="Q", kind="producer", cells=[(last[0], 0, *last[2:])]),
        ]
        controls = {
            "I": Control(kind="rate", target=self.rate[some], limit=8e7),
            "P": Control(kind="bhp", target=1e7),
            "Q": Control(kind="oil", target=2e-5, limit=1.5e7),
        }
        return simulate(
            Rock(grid=self.grid, permeability=self.k[some], porosity=self.phi[some]),
            self.fluid,
            wells,
            Schedule(steps=[DAY, 5 * DAY, 20 * DAY], controls=controls),
            initial=State(pressure=2e7),
            # few iterations, so that some members must cut steps
            options=Options(method="newton", solver=solver, max_iterations=7),
        )

    def gradients(self, result):
        """Of one weighing of all observables, in log permeability, porosity and log rate."""
        weights = torch.linspace(0.5, 1.5, 9, dtype=torch.float64).reshape(3, 3)
        seen = result.bhp / 1e7 + result.water_rate / 1e-4 - 2 * result.oil_rate / 1e-4
        by_k, by_phi, by_rate = torch.autograd.grad((weights * seen).sum(), self.inputs, retain_graph=True)
        return by_k * self.k.detach(), by_phi, by_rate * self.rate.detach()


@pytest.fixture(scope="module", params=CASES)
def runs(request):
    """A case, its eight members in one batch of the block solver, and each alone with the direct one."""
    members = Members(request.param)
    alone = [members.run(slice(i, i + 1), "direct") for i in range(8)]
    return members, members.run(slice(None), "block"), alone


def assert_same_runs(result, i, expected):
    """The members' steps, states and observables: the same iterations with other round-off."""
    one, other = result.trajectories[i], expected.trajectories[0]
    np.testing.assert_allclose(one.steps, other.steps, rtol=0)
    np.testing.assert_array_equal(one.kinds, other.kinds)
    assert [report.iterations for report in one.reports] == [report.iterations for report in other.reports]
    torch.testing.assert_close(one.pressure, other.pressure, rtol=1e-8, atol=0)
    torch.testing.assert_close(one.saturation, other.saturation, rtol=0, atol=1e-8)
    for name in ("bhp", "water_rate", "oil_rate"):
        here, there = getattr(result, name)[i].detach(), getattr(expected, name)[0].detach()
        torch.testing.assert_close(here, there, rtol=0, atol=1e-8 * float(there.abs().max()))


def test_the_members_keep_their_own_time(runs):
    _, together, _ = runs
    assert len({len(trajectory.steps) for trajectory in together.trajectories}) > 1


def test_eight_members_at_once_run_as_each_alone_with_the_direct_solver(runs):
    _, together, alone = runs
    for i, expected in enumerate(alone):
        assert_same_runs(together, i, expected)


def test_eight_members_at_once_have_the_gradients_of_each_alone_with_the_direct_solver(runs):
    members, together, alone = runs
    each = [members.gradients(result) for result in alone]
    for of, *parts in zip(members.gradients(together), *each, strict=True):
        expected = sum(parts)  # each is zero in the others' rows
        for i in range(8):
            assert (of[i] - expected[i]).norm() < 1e-8 * expected[i].norm()


def test_factors_in_single_precision_lead_to_the_same_runs_and_gradients(runs):
    members, _, alone = runs
    together = members.run(slice(6, 8), "block-single")
    of_single, *expected = (members.gradients(result) for result in (together, *alone[6:]))
    for i, other in enumerate(alone[6:]):
        assert_same_runs(together, i, other)
        for of, of_other in zip(of_single, expected[i], strict=True):
            assert (of[6 + i] - of_other[6 + i]).norm() < 1e-8 * of_other[6 + i].norm()


def test_a_members_run_does_not_depend_on_the_batch(runs):
    members, together, _ = runs
    two = members.run(slice(5, 7), "block")
    for i in range(2):
        one = members.run(slice(5 + i, 6 + i), "block")
        assert_same_runs(two, i, one)
        assert_same_runs(together, 5 + i, one)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize("solver", ["block", "block-single"])
def test_a_gpu_runs_the_members_that_the_processor_runs(reservoir, tight, solver):
    model = reservoir(members=3, gravity=True, compressible=True, curves="capillary")
    model.saturation = torch.full(model.grid.shape, 0.2)  # on the processor, whatever the rock's device
    found = []
    for device in ("cuda", "cpu"):
        given = [of.to(device, copy=True).requires_grad_() for of in (model.permeability, model.porosity)]
        result = model.run(rock=model.rock(*given), options=replace(tight, solver=solver))
        assert result.bhp.device.type == device
        shown = torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])
        found.append([of.cpu() for of in (shown.detach(), *torch.autograd.grad(shown.square().sum(), given))])
    for there, here in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=0, atol=1e-7 * float(here.abs().max()))
