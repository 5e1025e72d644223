"""Load for minutes while versions are promoted, and while the tracking server dies: python -m benchmarks.soak

A real tracking server, the real service that follows it, a client process of four connections, and a promotion every
ten seconds among three versions of the same generator. In the second half the tracking server is killed (SIGKILL)
and started again, every minute. Writes reports/soak.md, and fails where a request did.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from rich.progress import track

from benchmarks.serving import free_port, process, service, wait_for
from rockbank.core.files import read_json, sha256, write_json, write_text
from rockbank.generator.card import CARD, SAMPLES, VERDICT, ModelCard, fingerprints
from rockbank.mlops import registry, store

REPORT = Path("reports/soak.md")
NAME, N_VERSIONS = "soak", 3
# Between an answer and the next request of a connection: busy, with room for a version that warms up beside.
PAUSE_SECONDS = 0.02
KILL_SECONDS, DEAD_SECONDS = 60, 15
# Memory is held against what it is after this, once everything has been loaded.
SETTLED_SECONDS = 120
MEMORY_BAR = 1.05


@dataclass
class Watched:
    """What happened meanwhile: promotions, kills, and the service's memory in MB by second."""

    promotions: int = 0
    missed: int = 0
    kills: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)


def main() -> None:
    """Run, print, write the report; exit status 1 where a request failed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shale@champion")
    parser.add_argument("--minutes", type=float, default=20.0, help="half of them with the tracking server killed")
    parser.add_argument("--every", type=int, default=10, help="seconds between two promotions")
    options = parser.parse_args()
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
    with process(command, {}) as client:
        for second in track(range(int(seconds)), "soaking"):
            time.sleep(max(0.0, start + second + 1 - time.monotonic()))
            if second % 5 == 0:
                watched.memory.append((second, served.memory_info().rss / 1e6))
            in_minute = second % KILL_SECONDS
            if second >= seconds / 2 and in_minute == KILL_SECONDS // 2:
                tracking.kill()
                watched.kills += 1
            if not tracking.is_up and in_minute == KILL_SECONDS // 2 + DEAD_SECONDS:
                tracking.start(wait=False)
            if second % every == every - 1:
                promote(versions[(watched.promotions + 1) % N_VERSIONS], watched)
        seen = json.loads(client.communicate()[0])
    return to_markdown(seen, watched, versions, seconds, every)


def promote(version: str, watched: Watched) -> None:
    """Move the alias, if the tracking server is there."""
    try:
        registry.set_alias(NAME, registry.CHAMPION, version)
        watched.promotions += 1
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
    seen: dict[str, object], watched: Watched, versions: list[str], seconds: float, every: int
) -> tuple[str, bool]:
    """The report, and whether all went well."""
    statuses, answered = Counter(seen["statuses"]), Counter(seen["versions"])
    failed = sum(n for status, n in statuses.items() if status != "200")
    settled = next((mb for second, mb in watched.memory if second >= SETTLED_SECONDS), watched.memory[0][1])
    end = watched.memory[-1][1]
    is_good = not failed and end <= MEMORY_BAR * settled and set(versions) <= set(answered)
    lines = [
        "# Load while versions are promoted",
        "",
        f"Written by `python -m benchmarks.soak`: {seconds / 60:g} minutes of `generate`, n = 4, npy, four "
        f"connections; a promotion every {every} s; in the second half the tracking server is killed every "
        f"{KILL_SECONDS} s and is away for {DEAD_SECONDS} s.",
        "",
        "| | got | bar |",
        "|---|---:|---:|",
        f"| requests answered | {statuses['200']} | |",
        f"| requests failed | {failed} | 0 |",
        f"| promotions, and tries while the tracking server was dead | {watched.promotions}, {watched.missed} | |",
        f"| kills of the tracking server | {watched.kills} | |",
        *(f"| answered by version {version} | {answered[version]} | > 0 |" for version in versions),
        f"| memory at the end, of minute two's {settled:.0f} MB | {end / settled:.3f} | <= {MEMORY_BAR} |",
        "",
        "Memory by minute, MB: " + ", ".join(f"{mb:.0f}" for second, mb in watched.memory if second % 60 == 0) + ".",
    ]
    return "\n".join(lines) + "\n", is_good


if __name__ == "__main__":
    main()
