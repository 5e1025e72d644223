"""The prior of a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rockbank.core.errors import InputError
from rockbank.matching.problem.parameters.prior import Prior


@dataclass(frozen=True, kw_only=True)
class PriorSection:
    """A number's prior: `mean` and `deviation`, `median` and `log_deviation`, or `low` and `high`.

    Attributes:
        mean: of a normal law.
        deviation: its standard deviation.
        median: of a log-normal law.
        log_deviation: standard deviation of the logarithm.
        low: of a uniform law, from here.
        high: to here.
    """

    mean: float | None = None
    deviation: float | None = None
    median: float | None = None
    log_deviation: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if given not in (["mean", "deviation"], ["median", "log_deviation"], ["low", "high"]):
            raise InputError(f"mean: got {given}; give mean and deviation, median and log_deviation, or low and high")
        for name in ("deviation", "median", "log_deviation"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"{name}: got {value:g}; it must be positive")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"low: got {self.low:g}, which is not below high, {self.high:g}")

    def build(self) -> Prior:
        """The law."""
        if self.mean is not None and self.deviation is not None:
            return Prior(law="normal", a=self.mean, b=self.deviation)
        if self.median is not None and self.log_deviation is not None:
            return Prior(law="log-normal", a=self.median, b=self.log_deviation)
        assert self.low is not None
        assert self.high is not None
        return Prior(law="uniform", a=self.low, b=self.high)
