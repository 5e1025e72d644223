"""The service beside MLServer, BentoML, LitServe and Triton on the same graph, in one run: python -m benchmarks.peers

    for peer in mlserver bentoml litserve nvidia-pytriton; do
        python -m venv /tmp/peers/$peer && /tmp/peers/$peer/bin/pip install $peer onnxruntime numpy psutil
    done

Each peer has an environment of its own (--environments /tmp/peers), one process or worker, one thread of onnxruntime,
and the same endpoint: a seed and n in, npy out; Triton's own server, as PyTriton brings it, answers with the same
numbers as its protocol has them, binary. They are measured in turn, A B C D A B C D; the medians of the rounds
count. A swap is what each has for it: a promotion in the registry, or a restart of the process on its port. Writes
docs/validation/peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.serving import PAUSE_SECONDS, N, free_port, load, python, service
from rockbank.core.files import write_text
from rockbank.mlops import registry

HERE = Path(__file__).parent
REPORT = Path("docs/validation/peers.md")
CONNECTIONS = 4
START_SECONDS = 120.0
PEERS = {"MLServer": "mlserver", "BentoML": "bentoml", "LitServe": "litserve", "Triton (PyTriton)": "nvidia-pytriton"}
BODY = '{"seed": SEED, "n": %d}'
# Of the Open Inference Protocol, with the images as bytes.
_NUMBER = '{"name": "%s", "shape": [1], "datatype": "INT64", "data": [%s]}'
_OF_TRITON = (
    f'{{"inputs": [{_NUMBER % ("seed", "SEED")}, {_NUMBER % ("n", "%d")}], '
    '"outputs": [{"name": "images", "parameters": {"binary_data": true}}]}'
)


class Peer:
    """A server that runs on a port."""

    def __init__(self, name: str, environments: Path, generator: Path, work: Path) -> None:
        """Not started yet."""
        self.name = name
        self.package = PEERS[name]
        self.port = free_port()
        is_triton = self.package == "nvidia-pytriton"
        self.url = f"http://127.0.0.1:{self.port}/{'v2/models/rock/infer' if is_triton else 'predict'}"
        self.body = _OF_TRITON if is_triton else BODY
        self.bin = environments / self.package / "bin"
        self._work = work / self.package
        self._work.mkdir()
        self._environment = {
            **os.environ, "PYTHONPATH": str(HERE), "GENERATOR": str(generator), "THREADS": "1",
            "BENTOML_DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> str:
        """Of its package."""
        code = f"import importlib.metadata as m; print(m.version('{self.package}'))"
        return subprocess.run(
            [self.bin / "python", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def start(self) -> float:
        """Start it; the seconds until it answers."""
        with (self._work / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self._work, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            try:
                load(self.url, self.body % 1, 1, 5.0, requests=1)
                return time.monotonic() - begun
            except SystemExit:
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not answer; see {self._work / 'log'}")

    def stop(self) -> None:
        """End it with all of its processes."""
        if self._process is None:
            return
        family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        self._process.terminate()
        _, left = psutil.wait_procs(family, timeout=15)
        for each in left:
            each.kill()
        self._process.wait(15)
        self._process = None

    def restart(self) -> None:
        """What a new version takes."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self._process is not None
        return self._process.pid

    def _command(self) -> list[str]:
        if self.package in ("litserve", "nvidia-pytriton"):
            app = "litserve_app.py" if self.package == "litserve" else "triton_app.py"
            return [str(self.bin / "python"), str(HERE / app), str(self.port)]
        if self.package == "bentoml":
            serve = [str(self.bin / "bentoml"), "serve", "bentoml_app:Samples"]
            return [*serve, "--port", str(self.port), "--working-dir", str(HERE)]
        ports = {"http_port": self.port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
        (self._work / "settings.json").write_text(json.dumps({**ports, "host": "127.0.0.1"}))
        (self._work / "model-settings.json").write_text(
            json.dumps({"name": "rock", "implementation": "mlserver_app.Runtime"})
        )
        return [str(self.bin / "mlserver"), "start", str(self._work)]


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shale@champion")
    parser.add_argument("--environments", type=Path, default=Path("/tmp/peers"))
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        entry, _ = registry.pull(options.model, work / "generator")
        begun = time.monotonic()
        url = stack.enter_context(service(options.model, 1, poll_seconds=0.5))
        name = entry.name
        targets: dict[str, tuple[str, str, int]] = {
            "rockbank": (f"{url}/v2/models/{name}/generate", BODY, _pid_at(url)),
        }
        found["rockbank"] = {"start": time.monotonic() - begun}
        versions, peers = {"rockbank": "this"}, []
        for peer_name in PEERS:
            peer = Peer(peer_name, options.environments, work / "generator", work)
            if not peer.bin.is_dir():
                print(f"{peer.bin}: not there, so {peer_name} is left out", file=sys.stderr)
                continue
            stack.callback(peer.stop)
            found[peer_name] = {"start": peer.start()}
            peers.append(peer)
            versions[peer_name] = peer.version
            targets[peer_name] = (peer.url, peer.body, peer.pid)
        for target, values in measure(targets, options.seconds, options.rounds).items():
            found[target] |= values
        found["rockbank"]["failed"] = swap(targets["rockbank"], lambda: _promote_another(name, entry.version))
        for peer in peers:
            found[peer.name]["failed"] = swap(targets[peer.name], peer.restart)
    text = to_markdown(f"{entry.name}/{entry.version}, {entry.tags.get('generator')}", found, versions, options)
    write_text(REPORT, text)
    print(text)


def measure(targets: dict[str, tuple[str, str, int]], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over the rounds, each target in its turn."""
    rows: dict[str, dict[str, list[float]]] = {name: {} for name in targets}
    for _ in range(rounds):
        for name, (url, body, pid) in targets.items():
            cpu = _cpu(pid)
            busy = load(url, body % N, CONNECTIONS, seconds)
            cpu = (_cpu(pid) - cpu) / len(busy["seconds"])
            lone = load(url, body % 1, 1, seconds, pause=PAUSE_SECONDS)
            values = {
                "rate": N * len(busy["seconds"]) / busy["wall"],
                "cpu": 1e3 * cpu,
                "p50": 1e3 * float(np.quantile(lone["seconds"], 0.5)),
                "p99": 1e3 * float(np.quantile(lone["seconds"], 0.99)),
                "memory": _memory(pid),
            }
            for what, value in values.items():
                rows[name].setdefault(what, []).append(value)
    return {name: {what: statistics.median(each) for what, each in of.items()} for name, of in rows.items()}


def swap(target: tuple[str, str, int], change: Callable[[], None]) -> float:
    """Requests that fail while another version comes, of ten seconds and as long as it takes."""
    url, body, _ = target
    seen: dict[str, Any] = {}

    def send() -> None:
        seen.update(
            python("benchmarks.load", url, body % 1, "--connections", "2", "--seconds", "20", "--pause", "0.01")
        )

    sending = threading.Thread(target=send)
    sending.start()
    time.sleep(3)
    change()
    sending.join()
    return float(sum(count for status, count in seen["statuses"].items() if status != "200"))


def _promote_another(name: str, version: str) -> None:
    """The alias goes to another version and back, so that both directions count."""
    others = [each.version for each in registry.versions(name) if each.version != version]
    if not others:
        print(f"'{name}' has one version only: its alias is set again, and nothing is swapped", file=sys.stderr)
    registry.set_alias(name, registry.CHAMPION, (others or [version])[0])
    time.sleep(6)
    registry.set_alias(name, registry.CHAMPION, version)


def _pid_at(url: str) -> int:
    port = int(url.rpartition(":")[2])
    return next(
        each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
    )


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _cpu(pid: int) -> float:
    return float(sum(each.cpu_times().user + each.cpu_times().system for each in _family(pid)))


def _memory(pid: int) -> float:
    """MiB of all of its processes, what they share counted once (PSS)."""
    return float(sum(each.memory_full_info().pss for each in _family(pid))) / 2**20


def to_markdown(
    what: str, found: dict[str, dict[str, float]], versions: dict[str, str], options: argparse.Namespace
) -> str:
    """The page."""
    lines = [
        "# Beside other servers",
        "",
        f"Written by `python -m benchmarks.peers`; every number is of one run, on {platform.machine()} with "
        f"{os.cpu_count()} cores, medians of {options.rounds} rounds of {options.seconds:g} s, measured in turn. The "
        f"client shares the cores with the servers. The load average was {os.getloadavg()[2]:.1f}: where that is more "
        "than the servers and the client make, other work took its part of the clock's numbers, and those of the CPU "
        "are to be compared.",
        "",
        f"The graph is that of {what}. Each server has one process or worker, one thread of onnxruntime, and the same "
        "endpoint: a seed and n in, npy out (of Triton the same numbers, as its protocol has them in bytes). Triton is "
        "the server that PyTriton packs, with a model in Python, since it has no back end for ONNX. Batches of several "
        "requests are the service's own; the peers compute each request by itself, as their applications here are "
        "written.",
        "",
        "| | version | images a second of CPU | images/s by the clock | p50 of a lone n = 1, ms | p99, ms "
        "| memory, MiB | start, s | requests failed in a swap |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {versions[name]} | {1e3 * N / of['cpu']:.0f} | {of['rate']:.0f} | {of['p50']:.1f} "
        f"| {of['p99']:.1f} | {of['memory']:.0f} | {of['start']:.1f} | {of['failed']:.0f} |"
        for name, of in found.items()
    ]
    lines += [
        "",
        "A swap of the service is a promotion and the way back; one of the others is a restart of the process on its "
        "port, which a load balancer and a second process would hide. The service's memory has MLflow's client and the "
        f"sample statistics in it; images are counted at n = {N} over {CONNECTIONS} connections; its start pulls the "
        "version, verifies it and draws its golden sample.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
