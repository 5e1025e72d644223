"""A match to be tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rockbank.workflows import match
from tests.matching.quick import pool_here, rough_pictures
from tests.matching.tiny import register, write_case


@pytest.fixture
def case(store: Path) -> Path:
    """A case in a working folder with the tiny generator in its registry."""
    register(store / "generator")
    return write_case(store)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is run in this process takes no others, and draws quickly; a command of its own does as it does."""
    monkeypatch.setattr(match, "pool", pool_here)
    with rough_pictures():
        yield
