"""How often, and after how long, a request is made again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rockbank.core.errors import InputError

# The server says these where the same request may well succeed a little later.
PASSING = (429, 503)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Jittered exponential back-off, never sooner than the server asks for, bounded in count and in time.

    Attributes:
        retries: requests made again, at most; 0 makes none again.
        first: seconds; the longest wait before the first of them, doubled with each.
        longest: seconds; no wait is longer, and a server that asks for more is not waited for.
        rng: of the jitter; clients that were refused together do not come back together.
    """

    retries: int = 6
    first: float = 0.25
    longest: float = 30.0
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise InputError(f"retries: got {self.retries}; use a whole number of at least 0")
        if not 0 < self.first <= self.longest:
            raise InputError(f"first: got {self.first} with longest {self.longest}; use 0 < first <= longest, seconds")

    def wait(self, i_retry: int, asked: float | None = None) -> float | None:
        """Seconds before retry `i_retry`, counted from 0; None to give up.

        Args:
            i_retry: how many were made before.
            asked: seconds that the server asks for; None where it does not.
        """
        if i_retry >= self.retries or (asked is not None and asked > self.longest):
            return None
        ceiling = min(self.longest, self.first * 2.0 ** min(i_retry, 60))
        if asked is None:
            # Half of it is certain: a draw near 0 would be no back-off.
            return self.rng.uniform(ceiling / 2, ceiling)
        return min(self.longest, asked + self.rng.uniform(0.0, ceiling))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header Retry-After asks for, be it a number or a date; None where it says nothing usable."""
    told = headers.get("retry-after", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    # A date without a zone is in UTC (RFC 5322, sec. 3.3).
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
