"""Load for minutes while versions are promoted, and while the tracking server dies: python -m benchmarks.soak

A real tracking server, the real service that follows it, a client process of four connections, one of clients that are
slow or send what is no request, and every ten seconds a promotion among three versions of the same generator, each
third of which is taken back. In the second half the tracking server is killed (SIGKILL) and started again, every
minute. Writes reports/soak.md, and fails where a well-formed request did, or where memory, file handles or threads
grew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.progress import track

from benchmarks.serving import free_port, process, service, wait_for
from rockbank.core.files import read_json, sha256, write_json, write_text
from rockbank.generator.card import CARD, SAMPLES, VERDICT, ModelCard, fingerprints
from rockbank.mlops import registry, store

REPORT = Path("reports/soak.md")
NAME, N_VERSIONS = "soak", 3
# Promotions for one that is taken back.
ROLLBACK_EVERY = 3
# Between an answer and the next request of a connection: busy, with room for a version that warms up beside.
PAUSE_SECONDS = 0.02
KILL_SECONDS, DEAD_SECONDS = 60, 15
# Medians of two minutes are compared: those after the second, once everything has been loaded, and the last ones.
SETTLED_SECONDS, LAST_SECONDS = 120, 120
LEAST_MINUTES = 6
MEMORY_BAR = 1.03
# A version that warms up beside has its own.
HANDLES_BAR = THREADS_BAR = 2


@dataclass
class Watched:
    """What happened meanwhile, and by second the service's memory in MB, file handles and threads."""

    promotions: int = 0
    rollbacks: int = 0
    missed: int = 0
    kills: int = 0
    process: list[tuple[float, float, int, int]] = field(default_factory=list)

    def medians(self, begin: float, end: float) -> Medians:
        """Of what was seen of the process between two seconds."""
        seen = [each for second, *each in self.process if begin <= second <= end]
        return Medians(*(statistics.median(of) for of in zip(*seen, strict=True)))


class Medians(NamedTuple):
    """Memory in MB, file handles and threads."""

    memory: float
    handles: float
    threads: float


def main() -> None:
    """Run, print, write the report; exit status 1 where a request failed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shale@champion")
    parser.add_argument("--minutes", type=float, default=30.0, help="half of them with the tracking server killed")
    parser.add_argument("--every", type=int, default=10, help="seconds between two promotions")
    options = parser.parse_args()
    if options.minutes < LEAST_MINUTES:
        parser.error(f"--minutes: got {options.minutes:g}; use {LEAST_MINUTES} or more, for the medians compared")
    with tempfile.TemporaryDirectory() as temporary:
        folders = some_versions(options.model, Path(temporary))
        with ExitStack() as stack:
            tracking = Tracking(Path(temporary))
            stack.callback(tracking.kill)
            tracking.start()
            store.connect(tracking.url, timeout=5.0)
            versions = [registry.push(NAME, folder).version for folder in folders]
            registry.set_alias(NAME, registry.CHAMPION, versions[0])
            url = stack.enter_context(
                service(f"{NAME}@champion", 1, tracking_uri=tracking.url, poll_seconds=1, log_level="ERROR")
            )
            text, is_good = soak(url, tracking, versions, 60 * options.minutes, options.every)
    write_text(REPORT, text)
    print(text)
    sys.exit(not is_good)


def soak(url: str, tracking: Tracking, versions: list[str], seconds: float, every: int) -> tuple[str, bool]:
    """The report, and whether all went well."""
    body = '{"n": 4, "seed": SEED, "format": "npy"}'
    path = f"{url}/v2/models/{NAME}/generate"
    load = [sys.executable, "-m", "benchmarks.load", path, body]
    command = [*load, f"--seconds={seconds}", f"--pause={PAUSE_SECONDS}"]
    watched, served = Watched(), serving_process()
    start = time.monotonic()
    rude = [sys.executable, "-m", "benchmarks.rude", path, f"--seconds={seconds}"]
    with process(command, {}) as client, process(rude, {}) as others:
        for second in track(range(int(seconds)), "soaking"):
            time.sleep(max(0.0, start + second + 1 - time.monotonic()))
            if second % 5 == 0:
                memory = served.memory_info().rss / 1e6
                watched.process.append((second, memory, served.num_fds(), served.num_threads()))
            in_minute = second % KILL_SECONDS
            if second >= seconds / 2 and in_minute == KILL_SECONDS // 2:
                tracking.kill()
                watched.kills += 1
            if not tracking.is_up and in_minute == KILL_SECONDS // 2 + DEAD_SECONDS:
                tracking.start(wait=False)
            if second % every == every - 1:
                move(versions, watched)
        seen, rude_seen = (json.loads(each.communicate()[0]) for each in (client, others))
    return to_markdown(seen, rude_seen, watched, versions, seconds, every)


def move(versions: list[str], watched: Watched) -> None:
    """Move the alias to the next version, or back to the one before, if the tracking server is there."""
    is_back = watched.rollbacks < watched.promotions // ROLLBACK_EVERY
    at = watched.promotions - watched.rollbacks + (-1 if is_back else 1)
    try:
        registry.set_alias(NAME, registry.CHAMPION, versions[at % N_VERSIONS])
        watched.promotions += not is_back
        watched.rollbacks += is_back
    # MLflow's and its client's errors have no base in common; while the server is dead there are several.
    except Exception as error:
        watched.missed += 1
        print(f"not promoted: {type(error).__name__}", file=sys.stderr)


class Tracking:
    """A tracking server on a store of its own, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._running: subprocess.Popen[str] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it was started and not killed since."""
        return self._running is not None

    def start(self, *, wait: bool = True) -> None:
        """Begin, or begin again on the same store."""
        command = [shutil.which("mlflow") or "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        store = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        artifacts = ["--artifacts-destination", str(self._folder / "artifacts"), "--workers", "1"]
        self._running = subprocess.Popen(
            [*command, *store, *artifacts],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if wait:
            wait_for(f"{self.url}/health")

    def kill(self) -> None:
        """SIGKILL to it and to its workers."""
        if self._running is None:
            return
        try:
            parent = psutil.Process(self._running.pid)
            for each in [*parent.children(recursive=True), parent]:
                each.kill()
        except psutil.NoSuchProcess:
            pass
        self._running.wait()
        self._running = None


def some_versions(model: str, folder: Path) -> list[Path]:
    """Generators that differ in their cards alone, so that a swap is seen and costs what it costs.

    There is one more than a service keeps loaded, so that each promotion loads one anew.
    """
    registry.pull(model, folder / "0")
    folders = [folder / str(i) for i in range(N_VERSIONS)]
    for i, other in enumerate(folders[1:]):
        shutil.copytree(folders[0], other)
        (other / SAMPLES).write_bytes((other / SAMPLES).read_bytes() + b"\n" * (i + 1))
        replace(ModelCard.load(other), files=fingerprints(other)).save(other)
        write_json(other / VERDICT, {**read_json(other / VERDICT), "card_sha256": sha256(other / CARD)})
    return folders


def serving_process() -> psutil.Process:
    """The service, a child of this process."""
    (found,) = [each for each in psutil.Process().children() if "serving" in each.cmdline()]
    return found


def to_markdown(
    seen: dict[str, Any], rude: dict[str, int], watched: Watched, versions: list[str], seconds: float, every: int
) -> tuple[str, bool]:
    """The report, and whether all went well."""
    statuses, answered = Counter(seen["statuses"]), Counter(seen["versions"])
    failed = sum(n for status, n in statuses.items() if status != "200")
    settled = watched.medians(SETTLED_SECONDS, SETTLED_SECONDS + LAST_SECONDS)
    last = watched.medians(seconds - LAST_SECONDS, seconds)
    broken = sum(n for kind, n in rude.items() if kind.endswith((": 500", ": 502", ": 504")))
    is_flat = (
        last.memory <= MEMORY_BAR * settled.memory
        and last.handles <= settled.handles + HANDLES_BAR
        and last.threads <= settled.threads + THREADS_BAR
    )
    is_good = not failed and not broken and is_flat and set(versions) <= set(answered)
    moves = f"{watched.promotions}, {watched.rollbacks}, {watched.missed}"
    lines = [
        "# Load while versions are promoted",
        "",
        f"Written by `python -m benchmarks.soak`: {seconds / 60:g} minutes of `generate`, n = 4, npy, four "
        "connections; beside them, from another address, clients that are slow or send what is no request; a "
        f"promotion every {every} s, one in {ROLLBACK_EVERY} taken back; in the second half the tracking server is "
        f"killed every {KILL_SECONDS} s and is away for {DEAD_SECONDS} s. Memory, file handles and threads are medians "
        "of two minutes: the third and fourth, and the last two.",
        "",
        "| | got | bar |",
        "|---|---:|---:|",
        f"| requests answered | {statuses['200']} | |",
        f"| well-formed requests failed | {failed} | 0 |",
        f"| promotions, rollbacks, and tries while the tracking server was dead | {moves} | |",
        f"| kills of the tracking server | {watched.kills} | |",
        *(f"| answered by version {version} | {answered[version]} | > 0 |" for version in versions),
        f"| memory at the end, of {settled.memory:.0f} MB | {last.memory / settled.memory:.3f} | <= {MEMORY_BAR} |",
        f"| more file handles at the end than {settled.handles:g} | {last.handles - settled.handles:g} | "
        f"<= {HANDLES_BAR} |",
        f"| more threads at the end than {settled.threads:g} | {last.threads - settled.threads:g} | <= {THREADS_BAR} |",
        f"| slow and malformed requests | {sum(rude.values())} | |",
        f"| of them answered by an error of the service's own | {broken} | 0 |",
        "",
        "Memory by minute, MB: " + ", ".join(f"{each[1]:.0f}" for each in watched.process if each[0] % 60 == 0) + ".",
        "",
        "Slow and malformed requests, by what they were answered with:",
        "",
        *(f"- {kind}, {n} times" for kind, n in sorted(rude.items())),
    ]
    return "\n".join(lines) + "\n", is_good


if __name__ == "__main__":
    main()
