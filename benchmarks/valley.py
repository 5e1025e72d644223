"""Where Gauss-Newton creeps, and what corrections do there: python -m benchmarks.valley matches/published-gauss-newton

At iterates of the run's members, far from the observations, where a Jacobian's first step took off less than 5 % of the
objective, and where it took off more than 30 %: singular values of the residuals' Jacobian, the part that pressures
have in its first singular vector, and what the best step takes off where steps are straight, and where they may be
corrected. Writes reports/deepflow/valley.json, which `python -m tools.deepflow` reads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rockbank.core.files import write_json
from rockbank.core.terminal import progress
from rockbank.matching.methods.gauss_newton import GaussNewton
from rockbank.matching.methods.state import Record
from rockbank.matching.methods.trust_region import TrustRegion
from rockbank.matching.results.diagnostics import LOSS_THRESHOLD
from rockbank.matching.results.posterior import fingerprint
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
        rows = measured(run, arguments.iterates)
    except ValueError as error:
        sys.exit(f"error {error}")
    about = {"run": run.folder.name, "checkpoints_sha256": fingerprint(run), "ranks": RANKS}
    write_json(VALLEY, {**about, "iterates": rows})
    print(VALLEY)


def measured(run: Run, n: int) -> list[dict[str, Any]]:
    """A row for each iterate: what the Jacobian is there, and the part of the objective that a step takes off."""
    chosen = [(kind, *of) for kind, fits in _KINDS.items() for of in list(_iterates(run, fits))[:n]]
    if not chosen:
        raise ValueError(f"{run.folder}: no iterate of its members is far from the observations; let more of them end")
    straight, corrected = (
        GaussNewton(max_secants=0, trust_region=TrustRegion(max_corrections=n))
        for n in (0, TrustRegion.max_corrections)
    )
    is_pressure = np.array([quantity == "bhp" for quantity in run.objective.observations.quantity])
    rows = []
    with progress("steps, straight and corrected", len(chosen)) as advance:
        for kind, member, iterate, record in chosen:
            target = replace(run.member(member).target, starts=())
            point = run.objective.at(record.z, target, straight.near)
            of_residuals, values, _ = np.linalg.svd(point.linearise().jacobian, full_matrices=False)
            row: dict[str, Any] = {"kind": kind, "member": member, "iterate": iterate, "flow": record.parts.flow}
            row["singular_values"] = [float(values[rank - 1]) for rank in RANKS]
            row["pressure"] = float(np.sum(of_residuals[is_pressure, 0] ** 2))
            for name, method in (("straight", straight), ("corrected", corrected)):
                before = method.restarts.first(run.objective, target, record.z)
                after = method.step(run.objective, target, before)
                row[name] = 1 - after.last.parts.total / before.last.parts.total
            rows.append(row)
            print(f"{kind:7} member {member:2}, iterate {iterate:2}: flow {record.parts.flow:6.0f}, singular values "
                  f"{row['singular_values'][0]:.0f} to {row['singular_values'][2]:.1f}, a step takes off "
                  f"{row['straight']:.1%} straight, {row['corrected']:.1%} corrected")  # fmt: skip
            advance(1)
    return rows


def _iterates(run: Run, fits: Callable[[float], bool]) -> Iterator[tuple[int, int, Record]]:
    """Of each member the first one that is far, and whose Jacobian's first step took off what `fits`."""
    far = _FAR * run.objective.noise_floor
    for member, state in enumerate(run.states()):
        records = () if state is None else state.records
        for i, (here, then) in enumerate(pairwise(records)):
            has_new_jacobian = then.cost.n_jacobians > here.cost.n_jacobians
            is_far = here.parts.flow > far and here.parts.total <= LOSS_THRESHOLD
            if has_new_jacobian and is_far and fits(1 - then.parts.total / here.parts.total):
                yield member, i, here
                break


if __name__ == "__main__":
    main()
