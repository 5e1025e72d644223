"""Samples of a wanted porosity or specific surface, by rejection.

Samples of a seed are drawn in their order, and those are kept whose statistic lies in an interval. So what is kept has
the generator's own distribution, given that interval: nothing is searched in the latent space, and nothing is made
less likely or more by it. The price is the samples that are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.core.errors import InputError, UserError
from rockbank.generator.card import REFERENCE
from rockbank.rock.descriptors import porosity, specific_surface
from rockbank.rock.segmentation import Segmentation, segment

STATISTICS = {"porosity": porosity, "specific_surface": specific_surface}
# Half the interval about a single wanted value.
TOLERANCE = {"porosity": 0.01, "specific_surface": 0.01}
_MAX_SHOWN = 60
# Samples that are drawn for each that is wanted, before it is given up.
MAX_TRIES = 2000


class TooRare(UserError, RuntimeError):
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
            raise InputError(f"{self.statistic}: got {self.low:g} to {self.high:g}; use 0 <= low < high")

    def __str__(self) -> str:
        return f"{self.statistic.replace('_', ' ')} of {self.low:g} to {self.high:g}"

    def check(self, reference: Mapping[str, Any]) -> None:
        """Refuse what lies outside of what the rock itself has; within, samples may be rare (`TooRare`), not wrong.

        Args:
            reference: statistics of held-out rock, as `morphology.describe` gives them.

        Raises:
            InputError: with the range that the rock has, or where the reference does not say it.
        """
        values = reference.get(self.statistic, {}).get("values")
        if not values:
            raise InputError(
                f"{REFERENCE} has no values of the rock's {self.statistic.replace('_', ' ')}, so a {self} cannot be "
                "checked: register the generator again, or sample it without"
            )
        if self.high < values[0] or self.low > values[-1]:
            raise InputError(
                f"no crop of the rock has a {self}; its {len(values)} held-out crops have {values[0]:.3g} to "
                f"{values[-1]:.3g}: ask for a value in that range"
            )


def parse_condition(statistic: str, wanted: str | float | Sequence[float]) -> Condition:
    """A wanted value, which is meant give or take its tolerance, or an interval.

    Args:
        statistic: of `STATISTICS`.
        wanted: a number, two of them, or a text: `0.12`, `0.05..0.15`.

    Raises:
        InputError: for anything else.
    """
    numbers, got = _numbers(wanted), repr(wanted)
    got = got if len(got) <= _MAX_SHOWN else got[: _MAX_SHOWN - 3] + "..."
    if numbers is None:
        raise InputError(f"{statistic}: got {got}; give a number, such as 0.12, or an interval, such as 0.05..0.15")
    if min(numbers) < 0:
        raise InputError(f"{statistic}: got {got}; use numbers of at least 0")
    if len(numbers) == 1:
        tolerance = TOLERANCE[statistic]
        numbers = [max(0.0, numbers[0] - tolerance), numbers[0] + tolerance]
    low, high = numbers
    return Condition(statistic=statistic, low=low, high=high)


def _numbers(wanted: object) -> list[float] | None:
    """The one or two numbers that are meant; None where they are none."""
    if isinstance(wanted, str):
        parts: Sequence[object] = wanted.split("..")
        if len(parts) > 2:
            return None
    else:
        is_pair = isinstance(wanted, list | tuple) and len(wanted) == 2
        parts = wanted if is_pair else [wanted]  # type: ignore[assignment]
        if not all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts):
            return None
    try:
        numbers = [float(part) for part in parts]  # type: ignore[arg-type]
    # Of a whole number beyond all floats, the latter.
    except (ValueError, OverflowError):
        return None
    return numbers if np.isfinite(numbers).all() else None


class Rejection:
    """Takes samples of a seed, batch after batch in their order, and keeps the first that meet a condition.

    Attributes:
        n_found: kept so far.
        n_tried: taken so far.
    """

    def __init__(self, condition: Condition, segmentation: Segmentation, n: int) -> None:
        """Keep `n` of them; the phase of interest is found by `segmentation`."""
        self.n_found = self.n_tried = 0
        self._condition = condition
        self._segmentation = segmentation
        self._n = n
        self._seen: list[float] = []

    @property
    def is_done(self) -> bool:
        """Whether all that are wanted have been found."""
        return self.n_found == self._n

    def take(self, batch: Float32[np.ndarray, "b c h w"]) -> list[tuple[int, Float32[np.ndarray, "c h w"]]]:
        """Those of the next samples that are kept, each with its place among the seed's samples.

        Args:
            batch: as intensity.
        """
        condition = self._condition
        values = STATISTICS[condition.statistic](segment(batch, self._segmentation))
        met = np.flatnonzero((condition.low <= values) & (values <= condition.high))[: self._n - self.n_found]
        kept = [(self.n_tried + int(i_sample), batch[i_sample]) for i_sample in met]
        self._seen += values.tolist()
        self.n_found += len(kept)
        self.n_tried += len(batch)
        return kept

    def __str__(self) -> str:
        """What was found, and what the samples have instead."""
        about = f"{self.n_found} of {self._n} samples with a {self._condition} among {self.n_tried}"
        if not self._seen:
            return about
        least, greatest = np.quantile(self._seen, [0.05, 0.95])
        return f"{about}; nine of ten have {least:.3g} to {greatest:.3g}"

    def too_rare(self) -> TooRare:
        """The error where no more are drawn."""
        return TooRare(f"{self}: widen the interval, or ask for fewer")


def accepted(
    batches: Iterable[Float32[np.ndarray, "b c h w"]],
    condition: Condition,
    segmentation: Segmentation,
    n: int,
    *,
    on_batch: Callable[[int, int], None] = lambda n_found, n_tried: None,
) -> Iterator[tuple[int, Float32[np.ndarray, "c h w"]]]:
    """The first `n` samples that meet the condition, each with its place among the seed's samples.

    Args:
        batches: samples in their order, as intensity.
        condition: what is kept.
        segmentation: how the phase of interest is found.
        n: how many.
        on_batch: called after each batch with what was found and tried.

    Raises:
        TooRare: where they run out before; with what the samples had instead.
    """
    rejection = Rejection(condition, segmentation, n)
    for batch in batches:
        yield from rejection.take(batch)
        on_batch(rejection.n_found, rejection.n_tried)
        if rejection.is_done:
            return
    raise rejection.too_rare()
