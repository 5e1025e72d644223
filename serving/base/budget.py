"""The memory that the bodies and answers of all requests may hold together: what does not fit is refused for now."""

from __future__ import annotations

from prometheus_client import Gauge

from serving.base.errors import Busy, TooLarge


class Budget:
    """Bytes for the whole process.

    Attributes:
        limit: bytes.
        held: by all requests, now.
        peak: the most that was held since it was last set.
    """

    def __init__(self, limit: int, gauge: Gauge) -> None:
        """Nothing is held; `gauge` shows what is."""
        self.limit = limit
        self.held = self.peak = 0
        self._gauge = gauge

    def add(self, n_bytes: int) -> None:
        """Hold more, or less where it is negative.

        Raises:
            Busy: where it does not fit; nothing more is held then.
        """
        if n_bytes > 0 and self.held + n_bytes > self.limit:
            raise Busy(
                f"the requests that are being answered hold {self.held} bytes, and {n_bytes} more are above the "
                f"{self.limit} of this service; ask again after the seconds of Retry-After, or for less at once"
            )
        self.held += n_bytes
        self.peak = max(self.peak, self.held)
        self._gauge.set(self.held)


class Share:
    """What one request holds of the budget; a context that gives all of it back."""

    def __init__(self, budget: Budget) -> None:
        """Nothing yet."""
        self._budget = budget
        self.held = 0

    def add(self, n_bytes: int) -> None:
        """Hold more, or less where it is negative.

        Raises:
            Busy: where it does not fit now.
            TooLarge: where it never will.
        """
        if self.held + n_bytes > self._budget.limit:
            raise TooLarge(
                f"this request would hold {self.held + n_bytes} bytes at once, and all requests together may hold "
                f"{self._budget.limit}; ask for less at once, as for a narrower window"
            )
        self._budget.add(n_bytes)
        self.held += n_bytes

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.add(-self.held)
        self.held = 0
