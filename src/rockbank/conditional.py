"""Samples of a wanted porosity or specific surface, by rejection.

Samples of a seed are drawn in their order, and those are kept whose statistic lies in an interval. So what is kept has
the generator's own law, given that interval: nothing is searched in the latent space, and nothing is made less likely
or more by it. The price is the samples that are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.morphology import Segmentation, porosity, segment, specific_surface

STATISTICS = {"porosity": porosity, "specific_surface": specific_surface}
# Half the interval about a single wanted value.
TOLERANCE = {"porosity": 0.01, "specific_surface": 0.01}
# Samples that are drawn for each that is wanted, before it is given up.
MAX_TRIES = 2000


class TooRare(RuntimeError):
    """The generator gives too few samples in the interval."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """An interval of a statistic of the phase of interest.

    Attributes:
        statistic: of `STATISTICS`; the specific surface in 1/pixel.
        low: least value that is kept.
        high: greatest value that is kept.
    """

    statistic: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise ValueError(f"{self.statistic}: got {self.low:g} to {self.high:g}; use 0 <= low < high")

    def __str__(self) -> str:
        return f"{self.statistic.replace('_', ' ')} of {self.low:g} to {self.high:g}"

    def check(self, reference: Mapping[str, Any]) -> None:
        """Refuse what the rock itself does not have.

        Args:
            reference: statistics of held-out rock, as `morphology.describe` gives them.

        Raises:
            ValueError: with the range that the rock has.
        """
        values = reference[self.statistic]["values"]
        if not any(self.low <= value <= self.high for value in values):
            raise ValueError(
                f"no crop of the rock has a {self}; its {len(values)} held-out crops have {values[0]:.3g} to "
                f"{values[-1]:.3g}: ask for a value in that range"
            )


def parse_condition(statistic: str, text: str) -> Condition:
    """`0.12`, which means that value give or take its tolerance, or an interval `0.05..0.15`.

    Raises:
        ValueError: for anything else.
    """
    try:
        numbers = [float(part) for part in text.split("..")]
        low, high = numbers if len(numbers) == 2 else (numbers[0], numbers[0])
        if len(numbers) > 2 or not np.isfinite(numbers).all():
            raise ValueError(text)
    except ValueError:
        raise ValueError(
            f"{statistic}: got '{text}'; give a number, such as 0.12, or an interval, such as 0.05..0.15"
        ) from None
    if len(numbers) == 1:
        low, high = max(0.0, low - TOLERANCE[statistic]), high + TOLERANCE[statistic]
    return Condition(statistic=statistic, low=low, high=high)


def accepted(
    batches: Iterable[Float32[np.ndarray, "b c h w"]],
    condition: Condition,
    segmentation: Segmentation,
    n: int,
    *,
    told: Callable[[int, int], None] = lambda n_found, n_tried: None,
) -> Iterator[tuple[int, Float32[np.ndarray, "c h w"]]]:
    """The first `n` samples that meet the condition, each with its place among the seed's samples.

    Args:
        batches: samples in their order, as intensity.
        condition: what is kept.
        segmentation: how the phase of interest is found.
        n: how many.
        told: called after each batch with what was found and tried.

    Raises:
        TooRare: where they run out before; with what the samples had instead.
    """
    measure = STATISTICS[condition.statistic]
    n_found = n_tried = 0
    seen: list[float] = []
    for batch in batches:
        values = measure(segment(batch, segmentation))
        for i_sample in np.flatnonzero((condition.low <= values) & (values <= condition.high)):
            yield n_tried + int(i_sample), batch[i_sample]
            n_found += 1
            if n_found == n:
                return
        seen += values.tolist()
        n_tried += len(batch)
        told(n_found, n_tried)
    least, greatest = np.quantile(seen, [0.05, 0.95]) if seen else (np.nan, np.nan)
    raise TooRare(
        f"{n_found} of {n} samples with a {condition} among {n_tried}; nine of ten have {least:.3g} to {greatest:.3g}: "
        "widen the interval, or ask for fewer"
    )
