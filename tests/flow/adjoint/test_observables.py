"""The adjoint's gradients against the function itself, and against each other."""

import math
from itertools import pairwise

import pytest
import torch

from rockbank.flow import Control, Options, jacobian

# Newton on a leash: the first step does not converge in four iterations and is cut, the others do.
CUTTING = Options(method="newton", solver="direct", cnv=1e-9, mb=1e-11, max_iterations=4)
CASES = {
    "rate": {},
    "bhp": {"I": Control(kind="bhp", target=1.5e7)},
    "held by a limit": {"I": Control(kind="rate", target=8e-4, limit=1.6e7)},
    "back from its limit": {"I": Control(kind="rate", target=3e-4, limit=1.46e7)},
    "pressure with a most rate": {"I": Control(kind="bhp", target=1.8e7, limit=2e-4)},
    "oil": {"I": Control(kind="bhp", target=1.5e7), "P": Control(kind="oil", target=5e-5)},
    "water": {"I": Control(kind="bhp", target=1.6e7), "P": Control(kind="water", target=1e-5)},
    "liquid": {"I": Control(kind="bhp", target=1.6e7), "P": Control(kind="rate", target=1e-4)},
    "shut in between": {
        "compressible": True,
        "I": [Control(kind="rate", target=3e-4), Control(kind="shut"), Control(kind="rate", target=1e-4)],
    },
    "cut": {"options": CUTTING},
    "table": {"curves": "table"},
    "compressible": {"compressible": True},
    "gravity": {"gravity": True, "shape": (3, 2, 2)},
    "capillary": {"curves": "capillary"},
    "all": {"compressible": True, "gravity": True, "curves": "capillary", "shape": (3, 2, 2)},
}
PARAMETERS = ("permeability", "porosity", "index", "targets")


class Observed:
    """The observables of a small reservoir, of order 1, as a function of all that they are differentiable in."""

    def __init__(self, reservoir, tight, **keywords):
        self.options = keywords.pop("options", tight)
        self.model = reservoir(**keywords)
        steps = len(self.model.steps)
        controls = {name: [of] * steps if isinstance(of, Control) else of for name, of in self.model.controls.items()}
        self.controls = controls
        self.at = {
            "permeability": self.model.permeability.log(),
            "porosity": self.model.porosity.clone(),
            "index": torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64),
            "targets": torch.ones(2, steps, dtype=torch.float64),
        }

    def result(self, permeability, porosity, index, targets):
        """With log permeability, log well index over 1e-12 m^3, and targets in parts of the model's own."""
        controls = {
            name: [
                Control(kind=of.kind, target=of.target * factor, limit=of.limit)
                for of, factor in zip(of_well, factors, strict=True)
            ]
            for (name, of_well), factors in zip(self.controls.items(), targets, strict=True)
        }
        index = 1e-12 * index.exp()
        rock = self.model.rock(permeability.exp(), porosity)
        return self.model.run(
            rock=rock, index={"I": index[:2], "P": index[2:]}, controls=controls, options=self.options
        )

    def __call__(self, *at):
        result = self.result(*at)
        return torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])


class Misfit:
    """A function of the observables of a case, with its gradient in all parameters."""

    def __init__(self, observed):
        self.observed, generator = observed, torch.Generator().manual_seed(7)
        inputs = {name: of.clone().requires_grad_() for name, of in observed.at.items()}
        observables = observed(*inputs.values())
        self.weights = torch.randn(observables.shape, generator=generator, dtype=torch.float64)
        value = self.of(observables)
        self.value = value.detach()
        self.gradient = dict(zip(inputs, torch.autograd.grad(value, list(inputs.values())), strict=True))
        state = generator.get_state()
        self.along = {}
        for name, of in inputs.items():
            generator.set_state(state)  # so that no direction depends on which others there are
            size = 0.1 if name == "porosity" else 1.0
            self.along[name] = size * torch.randn(of.shape, generator=generator, dtype=torch.float64)

    def of(self, observables):
        return (self.weights * observables + observables**2).sum()

    def taylor_remainder(self, parameter, h):
        """What the gradient leaves unexplained of a change by h of one parameter."""
        at = self.observed.at
        moved = at | {parameter: at[parameter] + h * self.along[parameter]}
        slope = (self.gradient[parameter] * self.along[parameter]).sum()
        return abs(self.of(self.observed(*moved.values())) - self.value - h * slope).item()


@pytest.fixture(scope="module", params=CASES)
def misfit(request, reservoir, tight):
    return Misfit(Observed(reservoir, tight, **CASES[request.param]))


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_the_taylor_remainder_of_the_gradient_is_of_second_order(misfit, parameter):
    remainders = [misfit.taylor_remainder(parameter, h) for h in (0.02, 0.01, 0.005)]
    # 2 where the gradient is right.
    assert min(math.log2(coarse / fine) for coarse, fine in pairwise(remainders)) > 1.9


def test_the_cases_do_what_their_names_say(reservoir, tight):
    def trajectory(case):
        observed = Observed(reservoir, tight, **CASES[case])
        return observed.result(*observed.at.values()).trajectories[0]

    assert trajectory("held by a limit").held_by_limit[:, 0].all()
    assert trajectory("pressure with a most rate").held_by_limit[:, 0].all()
    assert trajectory("back from its limit").held_by_limit[:, 0].tolist() == [True, False, False]
    assert trajectory("cut").report.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("case", ["rate", "back from its limit", "cut", "all"])
def test_every_derivative_is_the_difference_quotient(reservoir, tight, case):
    shape = (2, 2, 2) if CASES[case].get("gravity") else (2, 2)
    observed = Observed(reservoir, tight, **(CASES[case] | {"shape": shape, "steps": (2e5, 4e5)}))
    at = tuple(of.requires_grad_() for of in observed.at.values())
    assert torch.autograd.gradcheck(observed, at, eps=1e-5, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("case", ["rate", "back from its limit", "cut", "all"])
def test_one_sweep_for_all_observables_gives_the_gradient_of_each(reservoir, tight, case):
    observed = Observed(reservoir, tight, **CASES[case])
    at = [of.requires_grad_() for of in observed.at.values()]
    observables = observed(*at)
    for_each = [torch.autograd.grad(one, at, retain_graph=True) for one in observables.flatten()]
    for whole, rows in zip(jacobian(observables, at), zip(*for_each, strict=True), strict=True):
        expected = torch.stack(rows).reshape(whole.shape)
        torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-12)  # round-off of the solves


def test_the_jacobian_of_a_later_function_is_that_of_the_observables_by_the_chain_rule(reservoir, tight):
    observed = Observed(reservoir, tight)
    at = [of.requires_grad_() for of in observed.at.values()]
    observables = observed(*at)
    (of_sum,) = jacobian((observables**2).sum(dim=0), at[:1])
    (of_each,) = jacobian(observables, at[:1])
    expected = (2 * observables.detach()[..., None, None] * of_each).sum(dim=0)
    torch.testing.assert_close(of_sum, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"solver": "block"}, {"max_iterations": 4, "cnv": 1e-9, "mb": 1e-11}])
@pytest.mark.parametrize("workers", [1, 2])
def test_members_have_the_gradients_that_they_have_alone(reservoir, tight, options, workers):
    # Cut steps differ from member to member, and with them what the sweep of all together has to go back through.
    options = Options(**({"method": "newton", "solver": "direct", "cnv": 1e-11, "mb": 1e-13} | options))
    model = reservoir(members=3)
    k, phi = (of.requires_grad_() for of in (model.permeability, model.porosity))

    def misfit(result):
        return (result.bhp / 1e7).square().sum() + (result.water_rate * result.oil_rate / 1e-8).sum()

    together = model.run(rock=model.rock(k, phi), options=options, workers=workers)
    g_k, g_phi = torch.autograd.grad(misfit(together), (k, phi))
    for i in range(3):
        alone = model.run(rock=model.rock(k[i], phi[i]), options=options)
        a_k, a_phi = torch.autograd.grad(misfit(alone), (k, phi))
        torch.testing.assert_close(together.bhp[i], alone.bhp, rtol=1e-9, atol=0)
        torch.testing.assert_close(g_k[i], a_k[i], rtol=1e-7, atol=1e-9 * a_k.abs().max().item())
        torch.testing.assert_close(g_phi[i], a_phi[i], rtol=1e-7, atol=1e-9 * a_phi.abs().max().item())


def test_what_is_the_same_for_all_members_has_the_sum_of_their_gradients(reservoir, tight):
    model = reservoir(members=2)
    target = torch.tensor(2e-4, dtype=torch.float64, requires_grad=True)
    controls = model.controls | {"I": Control(kind="rate", target=target)}
    result = model.run(controls=controls)
    (whole,) = torch.autograd.grad(result.bhp.sum(), target, retain_graph=True)
    parts = [torch.autograd.grad(of.sum(), target, retain_graph=True)[0] for of in result.bhp]
    torch.testing.assert_close(whole, sum(parts), rtol=1e-12, atol=0)


def test_a_misfit_of_the_first_step_does_not_see_later_controls(reservoir, tight):
    observed = Observed(reservoir, tight)
    at = [of.requires_grad_() for of in observed.at.values()]
    (slope,) = torch.autograd.grad(observed(*at)[:, 0].sum(), at[3])
    assert (slope[:, 0] != 0).all()
    assert (slope[:, 1:] == 0).all()


def test_the_adjoint_cannot_be_differentiated_again(reservoir, tight):
    observed = Observed(reservoir, tight)
    at = [of.requires_grad_() for of in observed.at.values()]
    (slope,) = torch.autograd.grad(observed(*at).sum(), at[0], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate `simulate` once"):
        slope.sum().backward()
