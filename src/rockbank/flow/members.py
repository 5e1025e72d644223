"""Members of a batch, each worked on by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from rockbank.core.errors import UserError

T = TypeVar("T")


def each_member(work: Callable[[int], T], n_members: int, workers: int) -> list[T]:
    """The work's results in the members' order, `workers` of them at a time; an error names its member.

    Threads do: the factorisations and the compiled kernels, where the time goes, leave Python to others.
    """

    def apart(i: int) -> T:
        with torch.no_grad():  # a thread of its own would record gradients, whatever its caller does
            try:
                return work(i)
            except UserError as error:
                if n_members > 1:
                    error.args = (f"member {i}: {error}",)
                raise

    if workers == 1 or n_members == 1:
        return [apart(i) for i in range(n_members)]
    with ThreadPoolExecutor(max_workers=min(workers, n_members)) as pool:
        return list(pool.map(apart, range(n_members)))
