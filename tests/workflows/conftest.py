"""A match to be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matching.tiny import register, write_case


@pytest.fixture
def case(store: Path) -> Path:
    """A case in a working folder with the tiny generator in its registry."""
    register(store / "generator")
    return write_case(store)
