"""Limits on what a hostile file may take of this process."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GIB = 2**30
# Of a core, which no load of the machine lengthens; and by the clock, for a reader that waits.
_SECONDS, _WAITED_SECONDS = 10.0, 120.0


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """One GiB of memory beyond what the process has, so that a reader that believes a header fails; and seconds."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _GIB, before[1]))
    with _in_time():
        yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _in_time() -> Iterator[None]:
    def too_long(number: int, _: object) -> None:
        raise AssertionError(f"took more than {_SECONDS:g} s of a core, or waited for more than {_WAITED_SECONDS:g} s")

    timers = {signal.ITIMER_PROF: (signal.SIGPROF, _SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, _WAITED_SECONDS)}
    handlers = {number: signal.signal(number, too_long) for number, _ in timers.values()}
    for timer, (_, seconds) in timers.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0.0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
