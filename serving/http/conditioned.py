"""Samples that meet a condition, by rejection: those of the seed in their order, within bounds of work and time."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.core.errors import InputError
from rockbank.generator.conditional import Condition, Rejection
from serving.base.errors import DeadlineExceeded, Unmet
from serving.inference.models import Served
from serving.service import Service

# Segmenting takes as long as the conversion of so many times as many values: 1.5 ms for 16 of 64 x 64, which is 0.4.
_COST = 4


async def conditioned(
    service: Service, served: Served, route: str, condition: Condition, *, n: int, **how: Any
) -> tuple[list[int], Float32[np.ndarray, "n c h w"]]:
    """The first `n` samples of a seed that meet a condition as intensity in [0, 1], and their places among all of it.

    They have the generator's own distribution, given the condition. What is tried is counted and watched like what is
    served; a cancellation stops the computation.

    Args:
        service: whose settings bound what is tried.
        served: by what.
        route: the part that `served` plays, for the counts.
        condition: what is kept.
        n: how many.
        how: seed and so on, as of `Sampling.blocks`.

    Raises:
        Unmet: where no held-out rock meets it, or too few of the settings' `max_tries` samples do.
        QueueFull: before the first block only.
        DeadlineExceeded: where they are not found within the settings' deadline, one for all of them.
        NotReady: as by the queue.
    """
    try:
        condition.check(served.reference)
    except InputError as error:
        raise Unmet(str(error)) from error
    settings, sampling, count = service.settings, service.sampling, service.metrics.tried_samples_total
    rejection = Rejection(condition, served.card.segmentation, n)
    deadline = time.monotonic() + settings.deadline_seconds
    blocks = sampling.blocks(served, route, n=settings.max_tries, deadline=deadline, **how)
    places: list[int] = []
    samples: list[Float32[np.ndarray, "c h w"]] = []
    try:
        async for block in blocks:
            found = await sampling.in_thread(partial(rejection.take, block), _COST * block.size)
            places += [place for place, _ in found]
            # Copies, so that what is thrown away is not kept with them.
            samples += [sample.copy() for _, sample in found]
            for is_kept, n_samples in (("true", len(found)), ("false", len(block) - len(found))):
                count.labels(served.name, served.version, is_kept).inc(n_samples)
            if rejection.is_done:
                return places, np.stack(samples)
    except DeadlineExceeded as error:
        raise DeadlineExceeded(
            f"{rejection}, after {settings.deadline_seconds:g} s; widen the interval, or ask for fewer"
        ) from error
    finally:
        await blocks.aclose()
    raise Unmet(str(rejection.too_rare()))
