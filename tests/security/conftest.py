"""A limit on what a hostile file may take of this process."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

_GIB = 2**30


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """One GiB of address space beyond what the process has: a reader that believes a header fails at once."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
