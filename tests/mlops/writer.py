"""A process that writes to an MLflow store at the same moment as others: what `writers` runs, by its path."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rockbank.mlops import champion_log, registry, store, tracking
from rockbank.mlops.champion_log import Overtaken

N_RECORDS = 6
SECONDS = 300.0
# Waits until all the others are there too.
Start = Callable[[], None]


def log_steps(i: int, start: Start, parent: str) -> str:
    """A child run of its own with N_RECORDS misfits; its id."""
    start()
    run = tracking.Run(parent).child(f"member {i}")
    for step in range(N_RECORDS):
        run.log(step, {"misfit": float(100 * i + step)})
    run.end()
    return run.run_id


def begin(_: int, start: Start, experiment: str) -> str:
    """A run, maybe the experiment's first, begun and ended; its id."""
    start()
    with tracking.start(experiment, "member", {}) as run:
        return run.run_id


def log_data(_: int, start: Start, experiment: str) -> str:
    """A run that trains on what all the others train on; its id."""
    with tracking.start(experiment, "member", {}) as run:
        start()
        for i in range(N_RECORDS):
            run.data(f"crops {i}", Path("data"), "0" * 32)
        return run.run_id


def push(i: int, start: Start, name: str, *folders: str) -> str:
    """The version as which its folder is registered."""
    start()
    return registry.push(name, Path(folders[i])).version


def advance(i: int, start: Start, name: str) -> str:
    """Makes a version of its own the champion: that version, or nothing where another process came first."""
    before = champion_log.read(name)
    start()
    try:
        champion_log.advance(name, before, str(1 + i))
    except Overtaken:
        return ""
    return str(1 + i)


def main() -> None:
    """One of the processes; what its work returns is the last line of its output."""
    uri, folder, n, work, i, *arguments = sys.argv[1:]
    store.connect(uri)

    def start() -> None:
        (Path(folder) / i).touch()
        until = time.monotonic() + SECONDS
        while len(list(Path(folder).iterdir())) < int(n):
            assert time.monotonic() < until, "the other processes did not come"
            time.sleep(0.001)

    print(json.dumps(globals()[work](int(i), start, *arguments)))


if __name__ == "__main__":
    main()
