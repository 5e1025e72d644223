"""Pressures and saturations of cells as observables: their values are the run's, and their gradients are exact."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from rockbank.core.errors import InputError
from rockbank.flow import CellStates, Control, Options, State, jacobian
from rockbank.flow.adjoint import observables
from rockbank.flow.simulate import InterruptedRunError

CUTTING = Options(method="newton", solver="direct", cnv=1e-9, mb=1e-11, max_iterations=4)
SEQUENTIAL = Options(method="sequential", tolerance=1e-12)
CASES = {
    "newton": {},
    "sequential": {"options": SEQUENTIAL},
    "sequential, compressible": {"options": SEQUENTIAL, "compressible": True},
    "cut": {"options": CUTTING},
    "report steps cut beforehand": {
        "options": Options(method="newton", solver="direct", cnv=1e-11, mb=1e-13, first_step=5e4, growth=2.0)
    },
    "held by a limit": {"I": Control(kind="rate", target=8e-4, limit=1.6e7)},
    "gravity and capillary pressure": {
        "compressible": True,
        "gravity": True,
        "curves": "capillary",
        "shape": (3, 2, 2),
    },
}
PARAMETERS = ("permeability", "porosity", "targets", "initial pressure", "initial saturation")
SIZES = {"pressure": 1e7, "saturation": 1.0}


def some(n_cells, n_reports=3):
    """Of each report step two cells by either quantity, one of them twice, in no order of time."""
    asked = [(r, (2 * r + c) % n_cells, of) for r in range(n_reports) for c in (0, 3) for of in SIZES]
    asked = [*asked[::-1], asked[0]]
    report, cell, quantity = zip(*asked, strict=True)
    return CellStates(report=np.array(report), cell=np.array(cell), quantity=quantity)


class Shown:
    """States of cells, of order 1, as a function of what they are differentiable in."""

    def __init__(self, reservoir, tight, states=None, **keywords):
        self.options = keywords.pop("options", tight)
        self.model = reservoir(**keywords)
        n_steps, shape = len(self.model.steps), self.model.grid.shape
        self.states = some(math.prod(shape)) if states is None else states
        self.size = torch.tensor([SIZES[of] for of in self.states.quantity], dtype=torch.float64)
        self.at = {
            "permeability": self.model.permeability.log(),
            "porosity": self.model.porosity.clone(),
            "targets": torch.ones(2, n_steps, dtype=torch.float64),
            # Uneven, so that a small change of it changes no Newton iteration, and with it no cut of a step.
            "initial pressure": 1.2 + 0.1 * self.model.porosity.clone(),
            "initial saturation": torch.full(shape, 0.25, dtype=torch.float64),
        }

    def result(self, permeability, porosity, targets, pressure, saturation):
        controls = {
            name: [Control(kind=of.kind, target=of.target * factor, limit=of.limit) for factor in factors]
            for (name, of), factors in zip(self.model.controls.items(), targets, strict=True)
        }
        return self.model.run(
            rock=self.model.rock(permeability.exp(), porosity),
            controls=controls,
            initial=State(pressure=1e7 * pressure, saturation=saturation),
            states=self.states,
            options=self.options,
        )

    def __call__(self, *at):
        return self.result(*at).states / self.size


def misfit(shown):
    weights = torch.randn(shown.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (weights * shown + shown**2).sum()


@pytest.fixture(scope="module", params=CASES)
def shown(request, reservoir, tight):
    return Shown(reservoir, tight, **CASES[request.param])


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_the_taylor_remainder_of_the_gradient_is_of_second_order(shown, parameter):
    inputs = {name: of.clone().requires_grad_() for name, of in shown.at.items()}
    value = misfit(shown(*inputs.values()))
    (slope,) = torch.autograd.grad(value, inputs[parameter])
    size = 0.1 if parameter in ("porosity", "initial saturation") else 1.0
    generator = torch.Generator().manual_seed(5)
    along = size * torch.randn(slope.shape, generator=generator, dtype=torch.float64)

    def remainder(h):
        moved = shown.at | {parameter: shown.at[parameter] + h * along}
        return abs(misfit(shown(*moved.values())) - value - h * (slope * along).sum()).item()

    # What is left of a function that does not see a parameter, or is linear in it, is round-off.
    remainders = [max(remainder(h), 1e-300) for h in (0.02, 0.01, 0.005)]
    rates = [math.log2(coarse / fine) for coarse, fine in pairwise(remainders)]
    assert min(rates) > 1.9 or max(remainders) < 1e-10 * abs(value.item())


def test_the_cases_do_what_their_names_say(reservoir, tight):
    def trajectory(name):
        shown = Shown(reservoir, tight, **CASES[name])
        return shown.result(*shown.at.values()).trajectories[0]

    assert {of.method for of in trajectory("sequential").reports} == {"sequential"}
    assert {of.method for of in trajectory("newton").reports} == {"newton"}
    assert trajectory("cut").report.tolist().count(0) > 1
    assert len(trajectory("report steps cut beforehand").steps) > 3
    assert trajectory("held by a limit").held_by_limit[:, 0].all()


@pytest.mark.parametrize("case", ["newton", "sequential, compressible", "cut", "gravity and capillary pressure"])
def test_every_derivative_is_the_difference_quotient(reservoir, tight, case):
    shape = (2, 2, 2) if CASES[case].get("gravity") else (2, 2)
    of = Shown(reservoir, tight, some(math.prod(shape), 2), **(CASES[case] | {"shape": shape, "steps": (2e5, 4e5)}))
    at = tuple(each.requires_grad_() for each in of.at.values())
    assert torch.autograd.gradcheck(of, at, eps=1e-5, atol=1e-6, rtol=1e-4)


def test_they_are_the_states_of_the_run_at_the_ends_of_its_report_steps(shown):
    result = shown.result(*shown.at.values())
    (trajectory,) = result.trajectories
    states = {name: getattr(trajectory, name)[trajectory.ends + 1] for name in SIZES}
    asked = zip(shown.states.report, shown.states.cell, shown.states.quantity, strict=True)
    assert result.states.tolist() == [states[name][report, cell].item() for report, cell, name in asked]


def test_asking_for_states_changes_neither_the_wells_curves_nor_their_gradients(shown):
    def seen(states):
        whole, shown.states = shown.states, states
        inputs = [of.clone().requires_grad_() for of in shown.at.values()]
        result = shown.result(*inputs)
        shown.states = whole
        curves = torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])
        return [curves, *torch.autograd.grad(curves.square().sum(), inputs)]

    assert all(torch.equal(with_, without) for with_, without in zip(seen(shown.states), seen(None), strict=True))


@pytest.mark.parametrize("case", ["newton", "sequential", "cut"])
def test_one_sweep_for_wells_and_states_gives_the_gradient_of_each(reservoir, tight, case):
    of = Shown(reservoir, tight, **CASES[case])
    at = [each.requires_grad_() for each in of.at.values()]
    result = of.result(*at)
    outputs = torch.cat([(result.bhp / 1e7).flatten(), result.states / of.size])
    for_each = [torch.autograd.grad(one, at, retain_graph=True) for one in outputs]
    for whole, rows in zip(jacobian(outputs, at), zip(*for_each, strict=True), strict=True):
        # The iterated multipliers of one right-hand side are within 1e-10 of the eliminated ones of many.
        torch.testing.assert_close(whole, torch.stack(rows), rtol=1e-7, atol=1e-9)


def test_a_jacobian_in_several_sweeps_is_that_of_one(reservoir, tight, monkeypatch):
    of = Shown(reservoir, tight)
    at = [each.requires_grad_() for each in of.at.values()]
    outputs = of(*at)
    whole = jacobian(outputs, at)
    monkeypatch.setattr(observables, "MOST_AT_ONCE", 5)
    for one, several in zip(whole, jacobian(outputs, at), strict=True):
        assert one.shape[0] == len(outputs) == 13
        torch.testing.assert_close(several, one, rtol=1e-9, atol=1e-12)  # round-off of the solves


@pytest.mark.parametrize("solver", ["slabs", "cpr", "block", "auto"])
def test_every_linear_solver_gives_the_same_gradients(reservoir, solver):
    def slopes(name):
        of = Shown(reservoir, Options(method="newton", solver=name, cnv=1e-11, mb=1e-13), compressible=True)
        at = [each.requires_grad_() for each in of.at.values()]
        return torch.autograd.grad(misfit(of(*at)), at)

    for found, exact in zip(slopes(solver), slopes("direct"), strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-8 * exact.abs().max().item())


@pytest.mark.parametrize("options", [{}, {"solver": "block"}, {"max_iterations": 4, "cnv": 1e-9, "mb": 1e-11}])
@pytest.mark.parametrize("workers", [1, 2])
def test_members_have_the_states_and_gradients_that_they_have_alone(reservoir, options, workers):
    # Cut steps differ from member to member, so that one stage of the sweep is at different report steps.
    options = Options(**({"method": "newton", "solver": "direct", "cnv": 1e-11, "mb": 1e-13} | options))
    model, states = reservoir(members=3), some(12)
    k, phi = (of.requires_grad_() for of in (model.permeability, model.porosity))
    size = torch.tensor([SIZES[of] for of in states.quantity], dtype=torch.float64)

    def run(k, phi, workers=1):
        return model.run(rock=model.rock(k, phi), states=states, options=options, workers=workers).states / size

    together = run(k, phi, workers)
    g_k, g_phi = torch.autograd.grad(sum(misfit(of) for of in together), (k, phi))
    for i in range(3):
        alone = run(k[i], phi[i])
        a_k, a_phi = torch.autograd.grad(misfit(alone), (k, phi))
        torch.testing.assert_close(together[i], alone, rtol=1e-9, atol=0)
        torch.testing.assert_close(g_k[i], a_k[i], rtol=1e-7, atol=1e-9 * a_k.abs().max().item())
        torch.testing.assert_close(g_phi[i], a_phi[i], rtol=1e-7, atol=1e-9 * a_phi.abs().max().item())


def test_a_state_of_the_first_step_does_not_see_later_controls(reservoir, tight):
    first = CellStates(report=np.zeros(2, dtype=int), cell=np.array([5, 6]), quantity=("pressure", "saturation"))
    of = Shown(reservoir, tight, first, compressible=True)
    at = [each.requires_grad_() for each in of.at.values()]
    (slope,) = torch.autograd.grad(of(*at).sum(), at[2])
    assert (slope[:, 0] != 0).all()
    assert (slope[:, 1:] == 0).all()


def test_an_interrupted_run_has_the_states_of_the_steps_that_were_done(reservoir, tight):
    model, done = reservoir(), []

    def stop(n):
        done.append(n)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as stopped:
        model.run(states=some(12), progress=stop)
    whole = model.run(states=some(12)).states
    assert stopped.value.result.states.tolist() == whole[some(12).report < 2].tolist()


@pytest.mark.parametrize(
    ("report", "cell", "quantity", "said"),
    [
        ([3], [0], ["pressure"], "got report step 3; there are 3, numbered from 0"),
        ([0, 0], [0, 12], ["pressure"] * 2, "got cell 12; there are 12, numbered from 0"),
        ([0], [-1], ["saturation"], "got cell -1"),
        ([0], [0], ["temperature"], r"got \['temperature'\]; known are \['pressure', 'saturation'\]"),
        ([0, 1], [0], ["pressure"], "got 2 report steps, 1 cells and 1 quantities"),
    ],
)
def test_states_that_a_run_does_not_have_are_refused(reservoir, report, cell, quantity, said):
    with pytest.raises(InputError, match=said):
        reservoir().run(states=CellStates(report=np.array(report), cell=np.array(cell), quantity=quantity))
