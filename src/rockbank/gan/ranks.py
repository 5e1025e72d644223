"""Data-parallel training: each process takes its part of every batch, and all take the same step.

    grad = 1/R sum_r grad_r,    r of R ranks, each of the mean over its 1/R of the batch

which is the gradient of the mean over the batch. Whatever depends on the batch as a whole is found over all ranks:
batch norm's moments, the energy distance, the random draws, the losses that are logged. The result is that of one
process, up to the rounding of sums in another order.

Gradients are averaged after the backward pass and not by torch's DistributedDataParallel: that one expects each
forward pass of a network to be followed by its own backward pass, where a penalty differentiates twice, and the
generator's step goes through a critic that does not learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.nn import functional as collectives

from rockbank.core.errors import InputError

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes of a training, and which of them this one is.

    Attributes:
        rank: number of this one.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is this one that writes files and logs."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """InputError for a batch that cannot be divided among them."""
        if batch % self.world:
            raise InputError(f"batch: got {batch} for {self.world} processes; use a multiple, or other processes")

    def part(self, whole: Tensor) -> Tensor:
        """This rank's rows of what all ranks have alike."""
        n = len(whole) // self.world
        return whole[self.rank * n : (self.rank + 1) * n]

    def like_whole(self, part: Tensor) -> Tensor:
        """Something of the shape that the whole batch has."""
        return part if self.world == 1 else torch.cat([part.detach()] * self.world)

    def mean(self, part: Tensor) -> Tensor:
        """The mean over the ranks, which can be differentiated, twice too."""
        if self.world == 1:
            return part
        mean: Tensor = collectives.all_reduce(part) / self.world  # type: ignore[no-untyped-call]
        return mean

    def gather(self, part: Tensor) -> Tensor:
        """The rows of all ranks, which can be differentiated."""
        if self.world == 1:
            return part
        return torch.cat(collectives.all_gather(part))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Puts the mean over the ranks in place of each gradient."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        if self.world == 1 or not gradients:
            return
        flat = torch.cat([each.flatten() for each in gradients])
        dist.all_reduce(flat)
        means = torch.split(flat.div_(self.world), [each.numel() for each in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def from_first(self, find: Callable[..., Value], *arguments: object) -> Value:
        """What find(*arguments) is on the first rank; the others wait for it."""
        if self.world == 1:
            return find(*arguments)
        found = [find(*arguments) if self.is_first else None]
        dist.broadcast_object_list(found)
        return found[0]  # type: ignore[return-value]

    def synchronise(self, module: nn.Module) -> None:
        """Makes the batch norms in `module` take their moments over all ranks."""
        if self.world == 1:
            return
        for each in module.modules():
            if type(each) is nn.BatchNorm2d:
                synced: Any = each
                synced.__class__, synced.ranks = SyncedBatchNorm2d, self


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by the moments of the whole batch; torch's own is for GPUs, and cannot be differentiated twice."""

    ranks: Ranks

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """As nn.BatchNorm2d of the rows of all ranks."""
        if not self.training:
            return super().forward(x)
        wide, axes = x.float(), (0, 2, 3)
        mean = self.ranks.mean(wide.mean(axes))
        centred = wide - mean[:, None, None]
        variance = self.ranks.mean(centred.square().mean(axes))
        n = self.ranks.world * x.numel() // x.shape[1]
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


@contextmanager
def torchrun_ranks() -> Iterator[Ranks]:
    """Those that torchrun began; one where it did not. GPUs talk by NCCL, CPUs by Gloo."""
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size())
    finally:
        dist.destroy_process_group()
