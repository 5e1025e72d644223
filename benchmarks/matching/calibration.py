"""Ensembles against long Markov chains on a small case: python -m benchmarks.matching.calibration

16 x 8 cells, a latent of 6. The reference is pCN from draws of the prior; each of its steps is many steps through an
interpolation of runs, taken or refused together by the simulator, so that it samples the simulator's own posterior.
Beside it: plain pCN, rml and es-mda. Writes reports/calibration.md and docs/pictures/calibration.png.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde

from benchmarks.matching.samplers import (
    N_MEMBERS,
    PLAIN,
    SEED,
    Chains,
    Ensemble,
    Samples,
    by_chains,
    by_es_mda,
    by_rml,
    guided,
)
from rockbank.core.files import write_text
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Vector
from rockbank.plot.figures import BLUE, GREY, ORANGE, drawing, tidy
from rockbank.testing.small import small_objective

REPORT, PICTURE = Path("reports/calibration.md"), Path("docs/pictures/calibration.png")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
N_LARGE, N_CHAINS, N_PLAIN = 500, 6, 4
# Of the interpolation; more are nearer to the simulator, and take longer.
N_NODES = 1000


def main() -> None:
    """Sample by every method, compare, write the report and its picture."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when the libraries are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.matching.calibration", *sys.argv[1:]], environment)
    torch.set_num_threads(1)
    begin = time.process_time()
    objective, truth = small_objective()
    of_flow, _ = small_objective(wells=False)
    rml, rml_of_flow = by_rml(objective), by_rml(of_flow)
    sizes = tuple((n, is_localised) for n in (N_MEMBERS, N_LARGE) for is_localised in (False, True))
    smoothers, runs = zip(*(by_es_mda(objective, *size) for size in sizes), strict=True)
    nodes = [of[:N_NODES] for of in runs[-1]]
    reference = by_chains(objective, guided(objective, rml, nodes), N_CHAINS, "the reference")
    plain = by_chains(objective, PLAIN, N_PLAIN, "plain pCN")
    chains_of_flow = by_chains(of_flow, guided(of_flow, rml_of_flow, nodes), N_CHAINS, "without the wells")
    ensembles, seconds = [rml, *smoothers], time.process_time() - begin
    text = report(objective, reference, plain, ensembles, (chains_of_flow, rml_of_flow), seconds)
    draw(reference.flat, [rml, smoothers[0]], truth)
    write_text(REPORT, text)
    print(text)


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
    reference: Chains,
    plain: Chains,
    ensembles: Sequence[Ensemble],
    of_flow: tuple[Chains, Ensemble],
    seconds: float,
) -> str:
    """The comparison in Markdown; `of_flow` are chains and rml without the wells' facies."""
    samples = reference.flat
    names = [f"z{k + 1}" for k in range(samples.shape[1])]
    rows = [
        [ensemble.name, f"{ensemble.cost:.0f}", *_digits(distances(ensemble.samples, samples))]
        for ensemble in ensembles
    ]
    chains_of_flow, rml_of_flow = of_flow
    of_flow_digits = _digits(distances(rml_of_flow.samples, chains_of_flow.flat))
    rows.insert(
        1, ["rml without the wells' facies, of chains without them", f"{rml_of_flow.cost:.0f}", *of_flow_digits]
    )
    rng = np.random.default_rng(SEED)
    for n in (N_MEMBERS, N_LARGE):
        chosen = [rng.choice(len(samples), n, replace=False) for _ in range(10)]
        apart = [distances(samples[each], np.delete(samples, each, axis=0)) for each in chosen]
        rows.append(
            [f"{n} samples of the chains", "", *_digits({key: np.mean([of[key] for of in apart]) for key in apart[0]})]
        )
    prior = rng.standard_normal(samples.shape)
    rows.append(["the prior", "0", *_digits(distances(prior, samples))])
    moments = [
        [name, *_moments(of)] for name, of in [("chains", samples), *((of.name, of.samples) for of in ensembles)]
    ]
    n_observed, n_steps = len(objective.observations), len(objective.case.schedule.steps)
    return "\n".join([
        "# Are the ensembles as uncertain as they should be?",
        "",
        f"Written by `python -m benchmarks.matching.calibration`, in {seconds / 60:.0f} CPU minutes of one thread; "
        "every number is of one run.",
        "",
        f"Case: 16 x 8 cells, a smooth random generator with a latent of {objective.n_latent}, an injector and a "
        f"producer, {n_observed} observations (pressure and water at the end of {n_steps} report steps) and "
        f"{len(objective.facies.cells)} facies at the wells. Sand lets through ten times as much as the rest, where "
        "DeepFlow's channels let through a thousand times as much: a mild case, so that chains can mix, and the "
        "distances are those of a mild case.",
        "",
        f"Chains: the reference, {_like(reference)}; plain pCN, {_like(plain)}; the reference without the wells' "
        f"facies, {_like(chains_of_flow)}. The first two differ in the posterior's mean by at most "
        f"{reference.apart(plain):.1f} standard errors. Converged is what has an R-hat below 1.01; of chains that are "
        "not, standard errors are too small.",
        "",
        "The reference's steps are many through an interpolation of es-mda's runs, about rml's mean and covariance, "
        "taken or refused together by the simulator (delayed acceptance): what it samples is the simulator's own "
        "posterior, whatever the interpolation and rml are like; they only let it go faster.",
        "",
        "Distances from the chains, in standard deviations of the chains: of the means over the latent's numbers in "
        "the mean and at worst; ratio of the standard deviations in the (geometric) mean, the least and the most; "
        "sliced 2-Wasserstein and energy distance. The last rows are what as many samples of the posterior itself "
        "would show, and the prior. Runs are forward runs; a Jacobian counts as one more. rml is biased where "
        "the observables are nonlinear within the posterior, es-mda where they are within the prior; and rml draws "
        "noise for the observations and not for the wells' facies, which narrows it. Its second row is of the "
        "posterior without the facies, against that one's own chains: there only the nonlinearity is left.",
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


def _like(of: Chains) -> str:
    of_means, of_variances = of.sizes
    return (
        f"{len(of.samples)} from draws of the prior, {of.n_runs} runs, {of.acceptance:.0%} accepted, R-hat at most "
        f"{of.r_hat:.3f} ({'' if of.r_hat < 1.01 else '**not** '}converged), effective sample size at least "
        f"{of_means:.0f} for means and {of_variances:.0f} for variances"
        f"{f', {of.n_failed} runs failed' if of.n_failed else ''}"
    )


def _digits(of: Mapping[str, float]) -> list[str]:
    return [f"{value:.2f}" for value in of.values()]


def _moments(samples: Samples) -> list[str]:
    return [f"{x.mean():.2f} +- {x.std(ddof=1):.2f}" for x in samples.T]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def draw(samples: Samples, ensembles: Sequence[Ensemble], truth: Vector) -> None:
    """Density of each of the latent's numbers."""
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
