"""Kill `make run` at random moments, run it again, and compare where it ends:  python -m tools.faults FOLDER

FOLDER is a clone of the project in which nothing has been run; every run is of a fresh copy of it. The command and what
it starts are killed by SIGKILL. The moments follow from a seed, within the time of an undisturbed run.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from rockbank.core.files import sha256

OUTPUTS = ("artifacts", "data", "reports")
LOCK, HISTORY = "dvc.lock", "history.csv"
# Columns of a training's history that no two runs have alike.
_CLOCK = {"time", "images_per_second"}
_REGISTRY = """
import json
from rockbank.mlops import registry
print(json.dumps({
    name: [(each.version, each.aliases, each.tags["card_sha256"]) for each in registry.versions(name)]
    for name in registry.names()
}, sort_keys=True))
"""


def main() -> None:
    """Print a line for each kill; exit with status 1 where one ended elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--command", default="make run", help="what is run, by the shell")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--begin", type=int, default=1, help="the first of them, where those before it were made already"
    )
    parser.add_argument("--seed", type=int, default=2019)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rockbank-faults-") as scratch:
        work = Path(scratch) / "project"
        _fresh(arguments.folder, work)
        started = time.monotonic()
        _run(arguments.command, work)
        seconds = time.monotonic() - started
        wanted = _state(work)
        print(f"undisturbed: {seconds:.0f} s, {len(wanted)} outputs", flush=True)
        n_differing = 0
        draws = random.Random(arguments.seed)
        for i in range(arguments.kills):
            after = draws.uniform(0, seconds)
            if i + 1 < arguments.begin:
                continue
            _fresh(arguments.folder, work)
            _kill(arguments.command, work, after)
            _run(arguments.command, work)
            found = _state(work)
            differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            n_differing += bool(differing)
            print(f"{i + 1} of {arguments.kills}: killed after {after:.1f} s: {differing or 'the same'}", flush=True)
    sys.exit(n_differing > 0)


def _fresh(folder: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder, work, symlinks=True)


def _run(command: str, work: Path) -> None:
    done = subprocess.run(command, shell=True, cwd=work, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _kill(command: str, work: Path, after: float) -> None:
    process = subprocess.Popen(
        command, shell=True, cwd=work, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _state(work: Path) -> dict[str, str]:
    """SHA-256 of each output and what the registry has, without the clock's part of a history."""
    paths = [path for name in OUTPUTS for path in sorted((work / name).rglob("*")) if path.is_file()]
    state = {
        str(path.relative_to(work)): _without_clock(path) if path.name == HISTORY else sha256(path) for path in paths
    }
    registered = subprocess.run([sys.executable, "-c", _REGISTRY], cwd=work, capture_output=True, text=True, check=True)
    return (
        state
        | _stages(work)
        | {f"registered {name}": json.dumps(each) for name, each in json.loads(registered.stdout).items()}
    )


def _without_clock(history: Path) -> str:
    with history.open(newline="") as file:
        rows = [[each for name, each in row.items() if name not in _CLOCK] for row in csv.DictReader(file)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _stages(work: Path) -> dict[str, str]:
    """What dvc.lock says of each stage, without the hash of an output that is a history or has one in it."""
    stages = yaml.safe_load((work / LOCK).read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        stage["outs"] = [
            out["path"] if Path(out["path"]).name == HISTORY or (work / out["path"] / HISTORY).is_file() else out
            for out in stage.get("outs", ())
        ]
    return {f"{LOCK} {name}": json.dumps(stage, sort_keys=True) for name, stage in stages.items()}


if __name__ == "__main__":
    main()
