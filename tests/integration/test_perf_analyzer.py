"""Triton's perf_analyzer, as it comes, at the real service: it ends well only where it reads all that it asks for."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.processes import Process, service_process

pytestmark = pytest.mark.slow
# As `make test-integration` sets it; else one that is installed.
COMMAND = os.environ.get("ROCKBANK_PERF_ANALYZER") or shutil.which("perf_analyzer")
N_REQUESTS = 40
SECONDS = 120


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Process]:
    with service_process(tmp_path_factory.mktemp("perf_analyzer"), empty_store, grpc_port=0) as process:
        yield process


@pytest.fixture(scope="module")
def perf_analyzer() -> tuple[list[str], dict[str, str]]:
    """The command and its environment, where it can be run."""
    if COMMAND is None:
        pytest.skip("perf_analyzer is not installed; 'make test-integration' brings it")
    libraries = Path(COMMAND).parents[1] / "nvidia" / "cuda_runtime" / "lib"
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    tried = subprocess.run(
        [COMMAND, "--version"], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if "shared libraries" in tried.stderr or "GLIBC" in tried.stderr:
        pytest.skip(f"perf_analyzer cannot be loaded here: {tried.stderr.strip()}; on Debian: apt install libb64-0d")
    assert tried.returncode == 0, tried.stderr
    return [COMMAND], environment


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize(("batch", "concurrency"), [(1, 1), (3, 4)])
def test_perf_analyzer_measures_the_service_and_reads_its_statistics(
    perf_analyzer: tuple[list[str], dict[str, str]],
    running: Process,
    tmp_path: Path,
    transport: str,
    batch: int,
    concurrency: int,
) -> None:
    command, environment = perf_analyzer
    place = running.address if transport == "http" else running.grpc
    options = {
        "-m": "shale", "-u": place, "-i": transport, "--shape": "latent:4", "-b": str(batch),
        "--concurrency-range": str(concurrency), "--request-count": str(N_REQUESTS), "-f": str(tmp_path / "of.csv"),
    }  # fmt: skip
    arguments = [part for option in options.items() for part in option]
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Request count: {N_REQUESTS}" in done.stdout
    # What it says of the server it has from ModelStatistics.
    counted = {
        name.strip(): int(value)
        for name, _, value in (line.partition(":") for line in done.stdout.partition("Server:")[2].splitlines())
        if value.strip().isdecimal()
    }
    # Those in flight as it reads the statistics are in neither.
    least = N_REQUESTS - concurrency
    assert least <= counted["Successful request count"] <= N_REQUESTS + concurrency
    assert counted["Inference count"] >= batch * least
    assert 0 < counted["Execution count"] <= counted["Inference count"]
    (row,) = csv.DictReader((tmp_path / "of.csv").read_text().splitlines())
    assert float(row["Server Compute Infer"]) > 0
