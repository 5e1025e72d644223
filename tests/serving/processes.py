"""The service as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from rockbank.mlops import registry
from tests import warm
from tests.tiny_generators import write_generator

START_SECONDS = 60


@dataclass
class Process:
    """The service as a process of its own.

    Attributes:
        grpc: host:port for gRPC; empty where it does not listen.
        lines: that it has written to standard error: its log.
    """

    process: subprocess.Popen[str] | warm.Process
    url: str
    grpc: str = ""
    lines: list[str] = field(default_factory=list, repr=False)
    reader: threading.Thread | None = None

    def end(self) -> None:
        """End it at once, and let go of its pipes."""
        self.process.kill()
        self.process.wait(START_SECONDS)
        if self.reader is not None:
            self.reader.join(START_SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def address(self) -> str:
        """host:port, as tritonclient takes it."""
        return self.url.removeprefix("http://")

    def logged(self, mark: str) -> dict[str, Any]:
        """The first line of its log that has `mark`, once it is there."""
        end = time.monotonic() + START_SECONDS
        while not (lines := [each for each in self.lines if mark in each]):
            assert time.monotonic() < end, f"the log has no '{mark}'"
            time.sleep(0.05)
        return dict(json.loads(lines[0]))

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, by name and labels."""
        return read_metrics(httpx.get(f"{self.url}/metrics").text)


def launch(folder: Path, *, fresh: bool = False, **given: Any) -> Process:
    """`python -m serving` on a free port with the registry in `folder`, once it answers.

    Args:
        fresh: whether it is a fresh interpreter, so that its memory is its own.
    """
    usual = {
        "models": "shale", "port": 0, "cache": folder / "cache", "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "poll_seconds": 3600, "threads": 1, "shutdown_delay_seconds": 0, "statistics_window": 32,
        "trusted_hosts": "x",
    }  # fmt: skip
    environment = {f"ROCKBANK_{name.upper()}": str(value) for name, value in (usual | given).items()}
    root = Path(__file__).parents[2]
    path = f"{root}{os.pathsep}{root / 'src'}"
    environment = {**os.environ, **environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    if fresh:
        command = [sys.executable, "-m", "serving"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process: Any = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
    else:
        process = warm.Process(["-m", "serving"], folder, environment)
    running = Process(process, "")
    stdout, stderr = process.stdout, process.stderr
    # Read as it comes, so that a full pipe never holds the service up.
    running.reader = threading.Thread(target=lambda: running.lines.extend(stderr), daemon=True)
    running.reader.start()
    for line in stdout:
        if found := re.search(r"gRPC on port (\d+)", line):
            running.grpc = f"127.0.0.1:{found.group(1)}"
        if found := re.search(r"serving on (https?://\S+)", line):
            running.url = found.group(1)
            return running
    running.end()
    raise AssertionError(f"the service ended with {process.returncode}: {''.join(running.lines)}")


@contextmanager
def service_process(folder: Path, empty_store: Path, **given: Any) -> Iterator[Process]:
    """The service as a process, with one version of `shale` in a registry of its own, for a whole module."""
    import mlflow

    shutil.copyfile(empty_store, folder / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    with chdir(folder):
        registry.push("shale", write_generator(folder / "generator", weights_seed=1))
        registry.set_alias("shale", registry.CHAMPION, "1")
    mlflow.set_tracking_uri(None)
    running = launch(folder, **given)
    try:
        yield running
    finally:
        running.end()


def read_metrics(text: str) -> dict[str, float]:
    """Prometheus' text as values by `name{label=value,...}`, the labels in the order of their names."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values
