"""The one table of history-matching methods: a new method is one class and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rockbank.matching.methods.interface import EnsembleMethod, Method
    from rockbank.matching.problem.cost import Cost

JACOBIAN = "Jacobian"
# Samples of a posterior are what a match is mostly for.
DEFAULT_METHOD = "rml"


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method.

    Attributes:
        make: it, with so many iterations at most (None is its own number) and a seed of what it draws itself.
        help: what it does, in a few words for `rockbank match --help`.
        iteration: what `--iterations`, a dry run, a status, a table and a report count, in the singular: a Jacobian, or
            whatever else leads from an iterate to the next; None for a method that makes none.
        is_ensemble: whether it takes all members together, as an EnsembleMethod; else each by itself, as a Method.
        is_perturbed: whether members have observations and a prior mean of their own.
        is_optimiser: whether it goes to a minimum, of whatever scaling; else it samples the posterior.
    """

    make: Callable[[int | None, int], Method | EnsembleMethod]
    help: str
    iteration: str | None
    is_ensemble: bool = False
    is_perturbed: bool = False
    is_optimiser: bool = False

    def n_iterations(self, i_iterate: int, cost: Cost) -> int:
        """How many iterations led to an iterate.

        Args:
            i_iterate: of the member, counted from 0 at its start.
            cost: until then.
        """
        if self.iteration is None:
            return 0
        # A Jacobian serves several iterates, or none.
        return cost.n_jacobians if self.iteration == JACOBIAN else i_iterate


def counted(n: int, iteration: str) -> str:
    """So many iterations, in words."""
    return f"{n} {iteration}{'' if n == 1 else 's'}"


# The classes are imported when they are made: torch and a library of smoothers take seconds, which `--help` need not.
def _prior(n: int | None, seed: int) -> Method:
    from rockbank.matching.methods.prior import Prior

    return Prior()


def _adam(n: int | None, seed: int) -> Method:
    from rockbank.matching.methods.adam import Adam

    return Adam(**_limit(n))


def _gauss_newton(n: int | None, seed: int) -> Method:
    from rockbank.matching.methods.gauss_newton.method import GaussNewton

    return GaussNewton(seeks_fit=True, **_limit(n))


def _rml(n: int | None, seed: int) -> Method:
    from rockbank.matching.methods.gauss_newton.method import GaussNewton

    return GaussNewton(seeks_fit=False, **_limit(n))


def _chain(n: int | None, seed: int, *, is_guided: bool) -> Method:
    """Whose first quarter adapts its steps; the member's own result is its last sample."""
    from rockbank.matching.methods.mcmc import Chain

    n_samples = n or Chain.max_iterations
    return Chain(max_iterations=n_samples, burn_in=n_samples // 4, seed=seed, is_guided=is_guided)


def _es_mda(n: int | None, seed: int, *, is_localised: bool) -> EnsembleMethod:
    from rockbank.matching.methods.es_mda import EsMda

    return EsMda(is_localised=is_localised, **_limit(n))


def _limit(n: int | None) -> Mapping[str, Any]:
    return {} if n is None else {"max_iterations": n}


METHODS: dict[str, MethodSpec] = {
    "prior": MethodSpec(make=_prior, help="draws of the prior as they are", iteration=None, is_optimiser=True),
    "adam": MethodSpec(make=_adam, help="steps as in DeepFlow's code", iteration="gradient", is_optimiser=True),
    "gauss-newton": MethodSpec(
        make=_gauss_newton, help="a good fit for each member", iteration=JACOBIAN, is_optimiser=True
    ),
    "rml": MethodSpec(
        make=_rml, help="randomised maximum likelihood: samples by Gauss-Newton", iteration=JACOBIAN, is_perturbed=True
    ),
    "pcn": MethodSpec(
        make=lambda n, seed: _chain(n, seed, is_guided=False),
        help="a Markov chain for each member, without gradients",
        iteration="sample",
    ),
    "mala": MethodSpec(
        make=lambda n, seed: _chain(n, seed, is_guided=True),
        help="a Markov chain for each member, with gradients",
        iteration="sample",
    ),
    "es-mda": MethodSpec(
        make=lambda n, seed: _es_mda(n, seed, is_localised=False),
        help="ensemble smoother, all members together",
        iteration="assimilation",
        is_ensemble=True,
    ),
    "es-mda-localised": MethodSpec(
        make=lambda n, seed: _es_mda(n, seed, is_localised=True),
        help="the same, localised by correlation",
        iteration="assimilation",
        is_ensemble=True,
    ),
}


def methods_in_words() -> str:
    """All of them with what they do."""
    return "; ".join(f"{name}: {spec.help}" for name, spec in METHODS.items())


def iterations_in_words() -> str:
    """What each method's iterations are."""
    by_kind: dict[str, list[str]] = {}
    for name, spec in METHODS.items():
        if spec.iteration is not None:
            by_kind.setdefault(spec.iteration, []).append(name)
    return "; ".join(f"{kind}s of {', '.join(names)}" for kind, names in by_kind.items())
