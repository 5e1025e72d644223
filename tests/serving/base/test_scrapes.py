"""The metrics' text: made off the loop, once for all who ask at the same time, and never older than a request."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from serving.base.monitoring import OPENMETRICS
from serving.base.scrapes import Scrapes


class Slow:
    """Metrics whose text is made when it is let, and says which one it is."""

    def __init__(self) -> None:
        self.n, self.begun, self.may_end = 0, threading.Event(), threading.Event()

    def exposition(self, kind: str) -> tuple[bytes, str]:
        self.n += 1
        n = self.n
        self.begun.set()
        # On the loop, nobody would ever let it.
        assert self.may_end.wait(30)
        return str(n).encode(), kind or "text"


async def begun(metrics: Slow) -> None:
    while not metrics.begun.is_set():
        await asyncio.sleep(0.001)


async def test_who_asks_at_the_same_time_shares_one_text_and_who_asks_later_gets_a_later_one() -> None:
    metrics: Any = Slow()
    scrapes = Scrapes(metrics)
    first = [asyncio.create_task(scrapes.text()) for _ in range(4)]
    await begun(metrics)
    later = [asyncio.create_task(scrapes.text()) for _ in range(4)]
    await asyncio.sleep(0.01)
    assert metrics.n == 1
    metrics.may_end.set()
    assert await asyncio.gather(*first) == [(b"1", "text")] * 4
    assert await asyncio.gather(*later) == [(b"2", "text")] * 4
    assert metrics.n == 2


async def test_each_kind_has_its_own_text_and_one_that_gives_up_leaves_it_to_the_others() -> None:
    metrics: Any = Slow()
    scrapes = Scrapes(metrics)
    plain, impatient = (asyncio.create_task(scrapes.text()) for _ in range(2))
    opened = asyncio.create_task(scrapes.text(f"{OPENMETRICS}; version=1.0.0"))
    await begun(metrics)
    impatient.cancel()
    metrics.may_end.set()
    assert {(await plain)[1], (await opened)[1]} == {"text", OPENMETRICS}
    assert metrics.n == 2
