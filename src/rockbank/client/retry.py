"""How often, and after how long, a request is made again."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rockbank.core.errors import InputError

# The server says these where the same request may well succeed a little later.
PASSING = (429, 503)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
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

    def wait(self, i_retry: int, retry_after: float | None = None) -> float | None:
        """Seconds before retry `i_retry`, counted from 0; None to give up.

        Args:
            i_retry: how many were made before.
            retry_after: seconds that the server asks for; None where it does not.
        """
        if i_retry >= self.retries or (retry_after is not None and retry_after > self.longest):
            return None
        ceiling = min(self.longest, self.first * 2.0 ** min(i_retry, 60))
        if retry_after is None:
            # Half of it is certain: a draw near 0 would be no back-off.
            return self.rng.uniform(ceiling / 2, ceiling)
        return min(self.longest, retry_after + self.rng.uniform(0.0, ceiling))


def choose_policy(retry: RetryPolicy | None, patience: RetryPolicy | None) -> RetryPolicy:
    """The policy of a client.

    Args:
        retry: as given; None for the default.
        patience: given by the argument's old name.
    """
    if patience is not None:
        warnings.warn("patience= is now retry=; 0.2 has the new name alone", DeprecationWarning, stacklevel=3)
    return retry or patience or RetryPolicy()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header Retry-After asks for, be it a number or a date; None where it says nothing usable."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date without a zone is in UTC (RFC 5322, sec. 3.3).
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
