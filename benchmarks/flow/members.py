"""Members of an ensemble on processes: by the simulator's own workers, and by processes that share nothing."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch

from rockbank.flow.case import Case
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import Result, simulate

LOOSE = Options(tolerance=1e-4)


def run(case: Case, options: Options = LOOSE, workers: int = 1) -> Result:
    """The case, forwards."""
    return simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options,
                    workers=workers)  # fmt: skip


def members_per_second(case: Case, n_members: int, workers: int) -> float:
    """Forward and gradient of an ensemble about the case's rock, by the wall's clock."""
    noise = torch.randn(n_members, *case.rock.grid.shape, dtype=torch.float64, generator=random(1))
    permeability = (case.rock.permeability * (0.3 * noise).exp()).requires_grad_()
    several = replace(case, rock=replace(case.rock, permeability=permeability))
    start = time.perf_counter()
    result = run(several, workers=workers)
    torch.autograd.grad(result.water_rate.square().sum(), [permeability])
    return n_members / (time.perf_counter() - start)


def apart_per_second(case: Case, n_members: int) -> float:
    """Members a second of two processes of one worker each, side by side: what the machine has to give."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for n in (1, n_members):  # the first round loads the libraries and compiled kernels
            rates = [pool.submit(members_per_second, case, n, 1) for _ in range(2)]
            together = sum(rate.result() for rate in rates)
    return together


def random(seed: int) -> torch.Generator:
    """A generator of its own stream."""
    return torch.Generator().manual_seed(seed)
