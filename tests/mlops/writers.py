"""Processes that write to one MLflow store at the same moment."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import mlflow

from tests import warm
from tests.mlops import writer


def at_once(work: Callable[..., str], n: int, *arguments: str) -> list[str]:
    """What `work(i, start, *arguments)`, a function of `writer`, returns in each of `n` processes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [writer.__file__, mlflow.get_tracking_uri(), folder, str(n), work.__name__]
        processes = [warm.Process([*words, str(i), *arguments], Path.cwd(), warm.environment()) for i in range(n)]
        said = [process.communicate(writer.SECONDS) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(out.splitlines()[-1]) for out, _ in said]
