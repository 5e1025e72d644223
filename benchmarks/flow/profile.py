"""Where the flow simulator's time goes, before and after: python -m benchmarks.flow.profile

CPU seconds by function of a box with gravity, by Newton's method with sparse LU, which was all that there was, and by
the defaults; of the Egg model (Jansen et al. 2014) where ../shared/data has it; and of the command until it begins.
Writes reports/flow_profile.md.
"""

from __future__ import annotations

import cProfile
import os
import platform
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.flow.large import EGG, once
from benchmarks.flow.linear_solvers import THREADS, box_of
from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.tuning import DEFAULT
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import Result

REPORT = Path("reports/flow_profile.md")
BOX, N_STEPS = (40, 40, 5), 20
# Functions of each table.
N_SHOWN = 8
STARTS = {
    "`import torch` alone": ["-c", "import torch"],
    "`rockbank --help`": ["-m", "rockbank.cli.main", "--help"],
    "`rockbank simulate --dry-run`": [
        "-m",
        "rockbank.cli.main",
        "simulate",
        "cases/quarter_five_spot.yaml",
        "--dry-run",
    ],
}


def main() -> None:
    """Measure, print and write the report."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when the libraries are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.flow.profile", *sys.argv[1:]], environment)
    torch.set_num_threads(1)
    box = box_of(BOX, N_STEPS)[0]
    before = replace(box, options=Options(method="newton", solver="direct"))
    for options in (before.options, DEFAULT):
        once(replace(box_of((12, 10, 10), 1)[0], options=options), _gradient)  # compiles
    name = " x ".join(map(str, BOX))
    parts = [
        profiled(f"Before: {name} cells by Newton's method with sparse LU, forwards", before, None),
        profiled("After: the same by the defaults, forwards", replace(box, options=DEFAULT), None),
    ]
    if EGG.is_file():
        egg = replace(load_case(EGG), options=DEFAULT)
        parts += [
            profiled("The Egg model by the defaults, forwards", egg, None),
            profiled("The Egg model, forwards and one gradient in 18,553 permeabilities", egg, _gradient),
        ]
    text = "\n".join([
        "# Where the flow simulator's time goes", "",
        f"Written by `python -m benchmarks.flow.profile`, on {platform.machine()}, one thread. The profiler's own cost "
        "is in the figures: it is more where functions are short.", "", *parts, *_starts(),
    ])  # fmt: skip
    write_text(REPORT, text)
    print(text)


def profiled(title: str, case: Case, then: Callable[[Result], object] | None) -> str:
    """A part of the report: the functions in which a run spends most of its time."""
    k = case.rock.components[0].detach().requires_grad_(then is not None)
    ratios = [of.detach() / k.detach() for of in case.rock.components]
    rock = replace(case.rock, permeability=tuple(k * ratio for ratio in ratios) if len(ratios) > 1 else k)
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    once(replace(case, rock=rock), then or (lambda _: None))
    profile.disable()
    stats = pstats.Stats(profile)
    of_functions = {
        where: (calls, own)
        for where, (_, calls, own, _, _) in stats.stats.items()  # type: ignore[attr-defined]
    }
    whole = sum(own for _, own in of_functions.values())
    most = sorted(of_functions.items(), key=lambda of: -of[1][1])[:N_SHOWN]
    rows = [f"| {_named(where)} | {calls} | {own:.2f} | {100 * own / whole:.0f} % |" for where, (calls, own) in most]
    return "\n".join([
        f"## {title}", "", f"{whole:.2f} CPU seconds.", "",
        "| function | calls | CPU s | of all |", "|---|---:|---:|---:|", *rows, "",
    ])  # fmt: skip


def _gradient(result: Result) -> object:
    if not result.oil_rate.requires_grad:
        return None
    result.oil_rate.square().sum().backward()  # type: ignore[no-untyped-call]
    return None


def _named(where: tuple[str, int, str]) -> str:
    """A function by its module, from the last folder that says whose it is."""
    file, _, function = where
    if file == "~":
        return f"`{function.strip('<>')}`"
    path = Path(file).with_suffix("")
    parts = path.parts
    for root in ("site-packages", "src", "lib"):
        if root in parts:
            parts = parts[parts.index(root) + 1 :]
    return f"`{'.'.join(parts)}.{function}`"


def _starts() -> Sequence[str]:
    rows = []
    for name, arguments in STARTS.items():
        each = []
        for _ in range(4):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            each.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        rows.append(f"| {name} | {sorted(each[1:])[1]:.2f} |")
    return [
        "## Until the command begins", "",
        "CPU seconds of a process from start to end, medians of 3. A second was aimed at: a command that simulates "
        "cannot be there before torch is.", "",
        "| | CPU s |", "|---|---:|", *rows, "",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
