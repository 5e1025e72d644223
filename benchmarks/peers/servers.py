"""What the HTTP server beneath the service costs, beside others: python -m benchmarks.peers.servers

    python -m venv /tmp/peers/servers
    /tmp/peers/servers/bin/pip install uvicorn uvloop httptools granian hypercorn

Each serves the same bare ASGI application by one process on uvloop, and all are measured in turn. Writes
docs/validation/servers.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.peers.__main__ import CONNECTIONS, HERE, START_SECONDS, N, measure
from benchmarks.serving import free_port, load
from rockbank.core.files import write_text

REPORT = Path("docs/validation/servers.md")
_COMMANDS = {
    "uvicorn": "uvicorn asgi_app:app --port {port} --loop uvloop --http httptools --no-access-log --log-level warning",
    "granian": "granian asgi_app:app --interface asgi --port {port} --loop uvloop --workers 1 --log-level warning",
    "hypercorn": "hypercorn asgi_app:app --bind 127.0.0.1:{port} --worker-class uvloop --workers 1",
}


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path("/tmp/peers/servers"))
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with ExitStack() as stack:
        targets = {}
        for name, command in _COMMANDS.items():
            port = free_port()
            first, *rest = command.format(port=port).split()
            process = subprocess.Popen([options.environment / "bin" / first, *rest], cwd=HERE)
            stack.callback(_end, process)
            url = f"http://127.0.0.1:{port}/"
            _wait(name, url)
            targets[name] = (url, '{"seed": SEED, "n": %d}', process.pid)
        found = measure(targets, options.seconds, options.rounds)
    text = to_markdown(found, {name: _version(options.environment, name) for name in found}, options)
    write_text(REPORT, text)
    print(text)


def to_markdown(found: dict[str, dict[str, float]], versions: dict[str, str], options: argparse.Namespace) -> str:
    """The page."""
    lines = [
        "# The server beneath the service",
        "",
        f"Written by `python -m benchmarks.peers.servers`, on {platform.machine()} with {os.cpu_count()} cores, "
        f"medians of {options.rounds} rounds of {options.seconds:g} s, measured in turn. The load average was "
        f"{os.getloadavg()[2]:.1f}: where that is more than servers and client make, the CPU's numbers are to be "
        "compared. Each serves the same ASGI application, which reads a body and answers with the bytes of one sample, "
        "by one process on uvloop.",
        "",
        f"| | version | CPU of a request, ms ({CONNECTIONS} connections) | requests/s by the clock "
        "| p50 of a lone request, ms | p99, ms | memory, MiB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {versions[name]} | {of['cpu']:.3f} | {of['rate'] / N:.0f} | {of['p50']:.2f} | {of['p99']:.2f} "
        f"| {of['memory']:.0f} |"
        for name, of in found.items()
    ]
    lines += [
        "",
        "The service uses uvicorn. What it refuses early (connections beyond a limit, requests that two readers would "
        "take apart differently, slow heads) is refused in uvicorn's protocol, for which the others have no place: "
        "another server would have to save far more than uvicorn's row to be worth that.",
    ]
    return "\n".join(lines) + "\n"


def _wait(name: str, url: str) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS:
        try:
            load(url, "{}", 1, 5.0, requests=1)
        except SystemExit:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{name} does not answer")


def _end(process: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    process.terminate()
    for each in psutil.wait_procs(family, timeout=10)[1]:
        each.kill()


def _version(environment: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    done = subprocess.run([environment / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
