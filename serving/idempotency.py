"""Requests with an idempotency key: a repeated one is answered as the first was.

A sample is a function of version and seed, so these two are kept, and not the answer.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving.base.errors import BadRequest, Conflict

_SECONDS = 24 * 3600.0
# Of all clients; the oldest is forgotten first.
_N_KEPT = 10_000
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass
class Answer:
    """What has answered a request.

    Attributes:
        request: its content, so that another request is not taken for it.
        since: on the monotonic clock.
        version: that answered; None before it did.
        seed: likewise.
        is_open: whether it is being answered now.
    """

    request: str
    since: float
    version: str | None = None
    seed: int = 0
    is_open: bool = False


class Answers:
    """Kept for a day, in this process."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    @contextmanager
    def begun(self, who: str, key: str, request: str) -> Iterator[Answer]:
        """The answer to a request, while it is given; what fails leaves none.

        Args:
            who: has sent it; keys of others are not theirs.
            key: the client's.
            request: its content.

        Raises:
            BadRequest: for a key that is none.
            Conflict: where the same request is being answered, or the key has come with another request.
        """
        if not _KEY.fullmatch(key):
            raise BadRequest(
                f"Idempotency-Key: got '{key[:40]}'; send 1 to 128 characters without spaces, such as a UUID"
            )
        now = time.monotonic()
        self._forget(now)
        answer = self._kept.setdefault((who, key), Answer(request, now))
        if answer.request != request:
            raise Conflict(f"Idempotency-Key '{key[:40]}' has come with another request; send a new one with each")
        if answer.is_open:
            raise Conflict(
                f"the request with the Idempotency-Key '{key[:40]}' is being answered; ask again in a second",
                {"Retry-After": "1"},
            )
        answer.is_open, is_new = True, answer.version is None
        try:
            yield answer
        except BaseException:
            if is_new:
                self._kept.pop((who, key), None)
            raise
        finally:
            answer.is_open = False

    def _forget(self, now: float) -> None:
        while self._kept:
            first = next(iter(self._kept))
            if now - self._kept[first].since < _SECONDS and len(self._kept) < _N_KEPT:
                return
            del self._kept[first]
