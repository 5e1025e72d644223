"""Members of an ensemble on processes: by the simulator's own workers, and by processes that share nothing."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch

from rockbank.flow.case import Case
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import Result, simulate

LOOSE = Options(tolerance=1e-4)


def run(case: Case, options: Options = LOOSE, workers: int = 1) -> Result:
    """The case, forwards."""
    return simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options,
                    workers=workers)  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """How fast members went.

    Attributes:
        per_second: members, by the wall's clock.
        cpu: seconds of each.
    """

    per_second: float
    cpu: float


def together(case: Case, n_members: int, workers: int) -> Rate:
    """Forward and gradient of an ensemble about the case's rock."""
    begin, end, cpu = _run(case, range(n_members), workers)
    return Rate(n_members / (end - begin), cpu / n_members)


def apart(case: Case, n_members: int) -> Rate:
    """The same members by two processes of one worker each, half of them each: what the machine has to give."""
    halves = range(n_members // 2), range(n_members // 2, n_members)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        # The first round loads the libraries and compiled kernels.
        for parts in ([half[:1] for half in halves], halves):
            runs = [pool.submit(_run, case, part, 1) for part in parts]
            begins, ends, cpu = zip(*(run.result() for run in runs), strict=True)
    return Rate(n_members / (max(ends) - min(begins)), sum(cpu) / n_members)


def _run(case: Case, members: range, workers: int) -> tuple[float, float, float]:
    """Begin and end by a clock that all processes share, s, and CPU seconds."""
    noise = torch.randn(members.stop, *case.rock.grid.shape, dtype=torch.float64, generator=random(1))[members.start :]
    permeability = (case.rock.permeability * (0.3 * noise).exp()).requires_grad_()
    several = replace(case, rock=replace(case.rock, permeability=permeability))
    begin, cpu = time.monotonic(), time.process_time()
    result = run(several, workers=workers)
    torch.autograd.grad(result.water_rate.square().sum(), [permeability])
    return begin, time.monotonic(), time.process_time() - cpu


def random(seed: int) -> torch.Generator:
    """A generator of its own stream."""
    return torch.Generator().manual_seed(seed)
