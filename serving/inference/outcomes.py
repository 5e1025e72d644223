"""How a version's requests ended, for the comparison of a canary with the champion."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# Of the latest requests, whose times a quantile is taken of.
_N_KEPT = 2048


@dataclass
class Outcomes:
    """Since the version was loaded, or since it began to be compared; of the requests that name no version.

    Those that name one are not given to either by lot: who looks at the tiles of a canary would make it the slow one.

    Attributes:
        n: requests answered.
        n_failed: those of them with a status of 500 or more.
        seconds: of the latest.
    """

    n: int = 0
    n_failed: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_N_KEPT))

    def add(self, status: int, seconds: float) -> None:
        """Count a request; what the client did wrong says nothing of the version."""
        if 400 <= status < 500:
            return
        self.n += 1
        self.n_failed += status >= 500
        self.seconds.append(seconds)

    @property
    def error_rate(self) -> float:
        """Of the requests, those that failed."""
        return self.n_failed / self.n if self.n else 0.0

    def quantile(self, q: float) -> float:
        """Of the seconds; 0 without any."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
