"""Processes that do not outlive their test."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process that is killed where the block leaves it running."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()
