"""Ensembles against long Markov chains on a small case: python -m benchmarks.calibration

16 x 8 cells, a latent of 6. The reference is pCN from draws of the prior; each of its steps is many steps through an
interpolation of runs, taken or refused together by the simulator, so that it samples the simulator's own posterior.
Beside it: plain pCN, rml and es-mda. Writes reports/calibration.md
and docs/pictures/calibration.png.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde

from rockbank.files import write_text
from rockbank.latents import draw_latents
from rockbank.matching.chains import Chain, Gaussian
from rockbank.matching.ensemble import Member, Method
from rockbank.matching.es_mda import EsMda
from rockbank.matching.gauss_newton import GaussNewton
from rockbank.matching.mixing import effective_sample_size, r_hat
from rockbank.matching.objective import Objective, Target, Vector
from rockbank.matching.run import N_STARTS
from rockbank.matching.small import small_objective
from rockbank.matching.state import FAILED, RUNNING, State
from rockbank.pictures import BLUE, GREY, ORANGE, drawing, tidy

REPORT, PICTURE = Path("reports/calibration.md"), Path("docs/pictures/calibration.png")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SEED, N_MEMBERS, N_LARGE = 7, 100, 500
# At 1e-3 the flow term is within 0.02 of the exact one, and a run takes two thirds of that at 1e-4.
TOLERANCE = 1e-3
N_CHAINS = 6
# Of the interpolation; more are nearer to the simulator, and take longer.
N_NODES = 1000
Samples = Float[np.ndarray, "m n"]


@dataclass(frozen=True)
class Ensemble:
    """What one method made of it, and what that took in forward-run equivalents."""

    name: str
    samples: Samples
    cost: float


@dataclass(frozen=True)
class Start:
    """What EsMda needs of a run."""

    objective: Objective
    folder: Path
    method: Method = field(default_factory=GaussNewton)

    def member(self, i: int) -> Member:
        """A draw of the prior, as a run's."""
        return Member(z=prior_draw(self.objective, i), target=self.objective.target())

    def checkpoint(self, i: int) -> Path:
        """In a folder that is thrown away."""
        return self.folder / f"{i:04d}.npz"


class Emulator:
    """The objective with an interpolation of runs in place of the simulator: cubes of distances, and a plane."""

    def __init__(self, objective: Objective, z: Samples, simulated: Float[np.ndarray, "m d"]) -> None:
        """Through runs."""
        of = objective.observations
        self.at, n = z, len(z)
        plane = np.concatenate([np.ones((n, 1)), z], axis=1)
        corner = np.zeros((plane.shape[1],) * 2)
        system = np.block([[cdist(z, z) ** 3, plane], [plane.T, corner]])
        values = np.concatenate([(simulated - of.value) / of.sigma, np.zeros((len(corner), len(of)))])
        self.weights = np.linalg.solve(system, values)
        # The generator's facies in the wells' cells are tanh of a linear map, whose rows are seen at small latents.
        small = 1e-6
        with torch.no_grad():
            sections = objective.rock(small * torch.eye(z.shape[1], dtype=torch.float64))
        self.slopes = (2 * objective.facies.at(sections.facies).numpy() - 1) / small
        self.sign = np.where(objective.facies.is_sand.numpy(), 1.0, -1.0)

    def __call__(self, z: Vector) -> float:
        """The objective, nearly."""
        cubes = np.sum((self.at - z) ** 2, axis=1) ** 1.5
        residual = np.concatenate([cubes, [1.0], z]) @ self.weights
        # -ln (1 + tanh x) / 2 = ln (1 + exp(-2 x))
        wells = np.logaddexp(0, -2 * self.sign * (z @ self.slopes)).sum()
        return float(0.5 * residual @ residual + wells + 0.5 * z @ z)


def main() -> None:
    """Sample by every method, compare, write the report and its picture."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when the libraries are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.calibration", *sys.argv[1:]], environment)
    torch.set_num_threads(1)
    begin = time.process_time()
    objective, truth = small_objective()
    rml = by_rml(objective)
    sizes = tuple((n, is_localised) for n in (N_MEMBERS, N_LARGE) for is_localised in (False, True))
    smoothers, runs = zip(*(by_es_mda(objective, *size) for size in sizes), strict=True)
    emulator = Emulator(objective, *(of[:N_NODES] for of in runs[-1]))
    method = Chain(
        max_iterations=600,
        burn_in=40,
        thinning=1,
        seed=SEED,
        reference=Gaussian.of(rml.samples, wider=1.2),
        surrogate=emulator,
        n_inner=60,
        tolerance=TOLERANCE,
    )
    reference, of_chains = by_chains(objective, method, N_CHAINS)
    plain, of_plain = by_chains(objective, Chain(max_iterations=300, burn_in=60, thinning=5, tolerance=TOLERANCE), 2)
    text = report(objective, reference, plain, [rml, *smoothers], [of_chains, of_plain], time.process_time() - begin)
    draw(reference, [rml, smoothers[0]], truth)
    write_text(REPORT, text)
    print(text)


def prior_draw(objective: Objective, i: int) -> Vector:
    """The i-th member's, as a run draws it."""
    return draw_latents(SEED, i + 1, (objective.n_latent,))[i].astype(float)


def by_rml(objective: Objective) -> Ensemble:
    """Randomised maximum likelihood: the optimum of perturbed observations about a draw of the prior."""
    method = GaussNewton(seeks_fit=False, far=TOLERANCE, near=TOLERANCE)
    of, found, cost = objective.observations, [], 0.0
    for i in range(N_MEMBERS):
        z = prior_draw(objective, i)
        noise = np.random.Generator(np.random.Philox(key=np.array([SEED, i + 1], dtype=np.uint64)))
        observed = of.value + of.sigma * noise.standard_normal(len(of))
        starts = tuple(noise.standard_normal((N_STARTS - 1, objective.n_latent)))
        target = replace(objective.target(centre=z, observed=observed), starts=starts)
        state = finished(method, objective, target, z)
        found.append(state.last.z)
        cost += equivalents(state)
    return Ensemble("rml", np.array(found), cost)


def by_es_mda(
    objective: Objective, n_members: int, is_localised: bool
) -> tuple[Ensemble, tuple[Samples, Float[np.ndarray, "m d"]]]:
    """The ensemble, and latents and simulated values of all its runs."""
    with tempfile.TemporaryDirectory() as folder:
        work = Start(objective, Path(folder))
        states = EsMda(is_localised=is_localised, tolerance=TOLERANCE).run(
            work, n_members, SEED, lambda function, arguments: [function(work, argument) for argument in arguments]
        )
    states = [state for state in states if state.status != FAILED]
    n_observed = len(objective.observations)
    z = np.array([record.z for state in states for record in state.records])
    simulated = np.concatenate([state.memory["data"][:, :n_observed] for state in states])
    name = f"es-mda, {'localised' if is_localised else 'not localised'}, {n_members} members"
    samples = np.array([state.last.z for state in states])
    return Ensemble(name, samples, sum(equivalents(state) for state in states)), (z, simulated)


def by_chains(
    objective: Objective, method: Chain, n_chains: int
) -> tuple[Float[np.ndarray, "c m n"], dict[str, float]]:
    """The chains after their burn-in, and what there is to say of them."""
    states = [finished(method, objective, objective.target(), prior_draw(objective, 1000 + i)) for i in range(n_chains)]
    chains = np.array([method.samples(state) for state in states])
    of = [chains[..., k] for k in range(chains.shape[2])]
    return chains, {
        "steps": float(sum(state.last.cost.forward for state in states)),
        "acceptance": float(np.mean([method.acceptance(state) for state in states])),
        "r_hat": max(map(r_hat, of)),
        "ess": min(map(effective_sample_size, of)),
        "ess of squares": min(effective_sample_size((x - x.mean()) ** 2) for x in of),
        "failed": float(sum(state.memory["n_failed"] for state in states)),
    }


def finished(method: Method, objective: Objective, target: Target, z: Vector) -> State:
    """A member's last state."""
    state = method.start(objective, target, z)
    while state.status == RUNNING:
        state = method.step(objective, target, state)
    return state


def equivalents(state: State) -> float:
    """Forward runs; a Jacobian of a few observables or a gradient counts as one more."""
    cost = state.last.cost
    return cost.forward + cost.gradients + cost.n_jacobians


def sliced_wasserstein(one: Samples, other: Samples, *, n_directions: int = 200) -> float:
    """Root of the mean square of the 1-d 2-Wasserstein distances along random directions (Bonneel et al. 2015)."""
    directions = np.random.default_rng(0).standard_normal((n_directions, one.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    levels = (np.arange(1000) + 0.5) / 1000
    at = [np.quantile(samples @ directions.T, levels, axis=0) for samples in (one, other)]
    return float(np.sqrt(np.mean((at[0] - at[1]) ** 2)))


def energy_distance(one: Samples, other: Samples) -> float:
    """Root of 2 E|X - Y| - E|X - X'| - E|Y - Y'|, without bias by the pairs of equal draws (Szekely and Rizzo 2013)."""
    n, m = len(one), len(other)
    within = cdist(one, one).sum() / (n * (n - 1)) + cdist(other, other).sum() / (m * (m - 1))
    return float(np.sqrt(max(2 * cdist(one, other).mean() - within, 0.0)))


def distances(samples: Samples, reference: Samples) -> Mapping[str, float]:
    """In the reference's standard deviations."""
    mean, sd = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    off, ratio = (samples.mean(axis=0) - mean) / sd, samples.std(axis=0, ddof=1) / sd
    scaled = [(each - mean) / sd for each in (samples, reference)]
    return {
        "mean": float(np.abs(off).mean()),
        "worst": float(np.abs(off).max()),
        "ratio": float(np.exp(np.log(ratio).mean())),
        "least": float(ratio.min()),
        "most": float(ratio.max()),
        "wasserstein": sliced_wasserstein(*scaled),
        "energy": energy_distance(*scaled),
    }


def report(
    objective: Objective,
    chains: Float[np.ndarray, "c m n"],
    plain: Float[np.ndarray, "c m n"],
    ensembles: Sequence[Ensemble],
    said: Sequence[Mapping[str, float]],
    seconds: float,
) -> str:
    """The comparison in Markdown."""
    samples = chains.reshape(-1, chains.shape[2])
    names = [f"z{k + 1}" for k in range(samples.shape[1])]
    rows = [
        [ensemble.name, f"{ensemble.cost:.0f}", *_told(distances(ensemble.samples, samples))] for ensemble in ensembles
    ]
    rng = np.random.default_rng(SEED)
    for n in (N_MEMBERS, N_LARGE):
        drawn = [rng.choice(len(samples), n, replace=False) for _ in range(10)]
        told = [distances(samples[each], np.delete(samples, each, axis=0)) for each in drawn]
        rows.append(
            [f"{n} samples of the chains", "", *_told({key: np.mean([of[key] for of in told]) for key in told[0]})]
        )
    prior = rng.standard_normal(samples.shape)
    rows.append(["the prior", "0", *_told(distances(prior, samples))])
    moments = [
        [name, *_moments(of)] for name, of in [("chains", samples), *((of.name, of.samples) for of in ensembles)]
    ]
    apart = [
        abs(chains[..., k].mean() - plain[..., k].mean())
        / np.hypot(*(of[..., k].std() / effective_sample_size(of[..., k]) ** 0.5 for of in (chains, plain)))
        for k in range(samples.shape[1])
    ]
    steps = "; ".join(
        f"{name}: {of['steps']:.0f} runs, {of['acceptance']:.0%} accepted, R-hat at most {of['r_hat']:.3f}, effective "
        f"sample size at least {of['ess']:.0f} for means and {of['ess of squares']:.0f} for variances, "
        f"{of['failed']:.0f} runs failed"
        for name, of in zip(("the reference", "plain pCN"), said, strict=True)
    )
    n_observed, n_steps = len(objective.observations), len(objective.case.schedule.steps)
    return "\n".join([
        "# Are the ensembles as uncertain as they should be?",
        "",
        f"Written by `python -m benchmarks.calibration`, in {seconds / 60:.0f} CPU minutes of one thread; every "
        "number is of one run.",
        "",
        f"Case: 16 x 8 cells, a smooth random generator with a latent of {objective.n_latent}, an injector and a "
        f"producer, {n_observed} observations (pressure and water at the end of {n_steps} report steps) and "
        f"{len(objective.facies.cells)} facies at the wells. Sand lets through ten times as much as the rest, where "
        "DeepFlow's channels let through a thousand times as much: a mild case, so that chains can mix, and the "
        "distances are those of a mild case.",
        "",
        f"Chains, from {len(chains)} and {len(plain)} draws of the prior. {steps[0].upper()}{steps[1:]}. The two "
        f"differ in the posterior's mean by at most {max(apart):.1f} standard errors. By the bar of R-hat < 1.01 the "
        f"reference {_converged(said[0])} and plain pCN {_converged(said[1])}; of chains that are not, standard errors "
        "are too small.",
        "Its steps are many through an interpolation of es-mda's runs, about rml's mean and covariance, taken or "
        "refused together by the simulator (delayed acceptance): what it samples is the simulator's own posterior, "
        "whatever the interpolation and rml are like; they only let it go faster.",
        "",
        "Distances from the chains, in standard deviations of the chains: of the means over the latent's numbers in "
        "the mean and at worst; ratio of the standard deviations in the (geometric) mean, the least and the most; "
        "sliced 2-Wasserstein and energy distance. The last rows are what as many samples of the posterior itself "
        "would show, and the prior. Runs are forward runs; a Jacobian counts as one more. rml is biased where "
        "the observables bend within the posterior, es-mda where they bend within the prior.",
        "",
        *_table(["", "runs", "mean", "worst", "sd ratio", "least", "most", "Wasserstein", "energy"], rows),
        "",
        "Posterior mean +- standard deviation of each of the latent's numbers:",
        "",
        *_table(["", *names], moments),
        "",
        "![Posterior densities](../docs/pictures/calibration.png)",
        "",
    ])  # fmt: skip


def _converged(of: Mapping[str, float]) -> str:
    return "is converged" if of["r_hat"] < 1.01 else "is **not** converged"


def _told(of: Mapping[str, float]) -> list[str]:
    return [f"{value:.2f}" for value in of.values()]


def _moments(samples: Samples) -> list[str]:
    return [f"{x.mean():.2f} +- {x.std(ddof=1):.2f}" for x in samples.T]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def draw(chains: Float[np.ndarray, "c m n"], ensembles: Sequence[Ensemble], truth: Vector) -> None:
    """Density of each of the latent's numbers."""
    samples = chains.reshape(-1, chains.shape[2])
    at = np.linspace(-3.5, 3.5, 300)
    n_columns = 3
    n_rows = -(-len(truth) // n_columns)
    with drawing(PICTURE, (9.0, 2.6 * n_rows)) as figure:
        axes = np.ravel(figure.subplots(n_rows, n_columns))
        for k, axis in enumerate(axes):
            axis.plot(at, np.exp(-0.5 * at**2) / np.sqrt(2 * np.pi), ":", color=GREY, label="prior")
            axis.fill_between(at, gaussian_kde(samples[:, k])(at), color=GREY, alpha=0.3, lw=0, label="chains")
            for ensemble, colour in zip(ensembles, (BLUE, ORANGE), strict=True):
                axis.plot(at, gaussian_kde(ensemble.samples[:, k])(at), color=colour, label=ensemble.name)
            axis.axvline(truth[k], color="black", lw=0.8, label="truth")
            axis.set(xlabel=f"z{k + 1}", ylim=(0, None), xlim=(-3.5, 3.5), yticks=[])
            tidy(axis)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))


if __name__ == "__main__":
    main()
