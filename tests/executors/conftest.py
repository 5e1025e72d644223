"""Other processes, on a cluster too, import the tasks by their name alone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """By what they find in their environment: a machine of a cluster has rockbank installed."""
    with pytest.MonkeyPatch.context() as patch:
        here = [HERE, *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(here))
        yield
