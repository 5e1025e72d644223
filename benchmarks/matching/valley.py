"""Where Gauss-Newton creeps, and what corrections do there.

    python -m benchmarks.matching.valley matches/published-gauss-newton

At iterates of the run's members, as its posterior.nc holds them, far from the observations, where a Jacobian's first
step took off less than 5 % of the objective, and where it took off more than 30 %: singular values of the residuals'
Jacobian, the part that pressures have in its first singular vector, and what the best step takes off where steps are
straight, and where they may be corrected. Writes reports/deepflow/valley.json, which `python -m tools.deepflow`
reads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from rockbank.core.files import write_json
from rockbank.core.terminal import progress
from rockbank.matching.methods.gauss_newton.method import GaussNewton
from rockbank.matching.methods.gauss_newton.trust_region import TrustRegion
from rockbank.matching.problem.point import Vector
from rockbank.matching.results.diagnostics import LOSS_THRESHOLD, loss_history
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import Run

VALLEY = Path("reports/deepflow/valley.json")
CREEPS, GOES = "creeps", "goes"
_KINDS: dict[str, Callable[[float], bool]] = {CREEPS: lambda took: took < 0.05, GOES: lambda took: took > 0.3}
# Of the singular values, counted from 1.
RANKS = (1, 2, 6, 40)
# The flow term, by half the number of observations, above which an iterate is far from them.
_FAR = 2.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of gauss-newton with flow and wells")
    parser.add_argument("--iterates", type=int, default=6, help="of each kind at most, each of another member")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run = Run(arguments.run)
        dataset = read_posterior(run.folder)
        rows = measured(run, dataset, arguments.iterates)
    except ValueError as error:
        sys.exit(f"error {error}")
    about = {"run": run.folder.name, "checkpoints_sha256": dataset.attrs["checkpoints_sha256"], "ranks": RANKS}
    write_json(VALLEY, {**about, "iterates": rows})
    print(VALLEY)


def measured(run: Run, dataset: xr.Dataset, n: int) -> list[dict[str, Any]]:
    """A row for each iterate: what the Jacobian is there, and the part of the objective that a step takes off."""
    far = _FAR * run.objective.noise_floor
    chosen = [(kind, *of) for kind, fits in _KINDS.items() for of in list(iterates(dataset, far, fits))[:n]]
    if not chosen:
        raise ValueError(f"{run.folder}: no iterate of its members is far from the observations; let more of them end")
    straight, corrected = (
        GaussNewton(max_secants=0, trust_region=TrustRegion(max_corrections=n))
        for n in (0, TrustRegion.max_corrections)
    )
    is_pressure = np.array([quantity == "bhp" for quantity in run.objective.observations.quantity])
    rows = []
    with progress("steps, straight and corrected", len(chosen)) as advance:
        for kind, member, iterate, z, flow in chosen:
            target = replace(run.member(member).target, starts=())
            point = run.objective.at(z, target, straight.near)
            of_residuals, values, _ = np.linalg.svd(point.linearise().jacobian, full_matrices=False)
            row: dict[str, Any] = {"kind": kind, "member": member, "iterate": iterate, "flow": flow}
            row["singular_values"] = [float(values[rank - 1]) for rank in RANKS]
            row["pressure"] = float(np.sum(of_residuals[is_pressure, 0] ** 2))
            for name, method in (("straight", straight), ("corrected", corrected)):
                before = method.restarts.first(run.objective, target, z)
                after = method.step(run.objective, target, before)
                row[name] = 1 - after.last.parts.total / before.last.parts.total
            rows.append(row)
            print(f"{kind:7} member {member:2}, iterate {iterate:2}: flow {flow:6.0f}, singular values "
                  f"{row['singular_values'][0]:.0f} to {row['singular_values'][2]:.1f}, a step takes off "
                  f"{row['straight']:.1%} straight, {row['corrected']:.1%} corrected")  # fmt: skip
            advance(1)
    return rows


def iterates(
    dataset: xr.Dataset, far: float, fits: Callable[[float], bool]
) -> Iterator[tuple[int, int, Vector, float]]:
    """Of each member the first one that is far, and whose Jacobian's first step took off what `fits`.

    Yields:
        Member, iterate, its latent, to single precision, and its flow term.
    """
    dims = ("member", "iterate")
    totals, flow = loss_history(dataset), dataset.history_flow.transpose(*dims).values
    n_jacobians = (dataset.cost_jacobians + dataset.cost_reduced).transpose(*dims).values
    took = 1 - totals[:, 1:] / totals[:, :-1]
    is_there = (np.diff(n_jacobians) > 0) & (flow[:, :-1] > far) & (totals[:, :-1] <= LOSS_THRESHOLD)
    paths = dataset.z_path.transpose(*dims, "latent").values
    for i, member in enumerate(dataset.member.values):
        for k in np.flatnonzero(is_there[i]):
            if fits(took[i, k]):
                yield int(member), int(k), paths[i, k].astype(float), float(flow[i, k])
                break


if __name__ == "__main__":
    main()
