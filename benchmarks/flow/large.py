"""The flow simulator in three dimensions against OPM Flow, in one run: python -m benchmarks.flow.large

CPU seconds of one thread of the same decks, OPM Flow with its defaults, each case in a process of its own; how closely
the wells agree; memory of a gradient; and what `benchmarks.flow.growth` measures. Writes reports/flow_speed_large.md.
The Egg model (Jansen et al. 2014) is run where ../shared/data has it.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import memory
from benchmarks.flow import growth
from benchmarks.flow.linear_solvers import THREADS, box_of
from rockbank.core.files import write_text
from rockbank.flow import Grid, Rock, Schedule, Well
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.summary import WellCurves, read_summary
from rockbank.flow.eclipse.tuning import DEFAULT
from rockbank.flow.eclipse.writer import flow_options, write_deck
from rockbank.flow.equations.problem import State
from rockbank.flow.simulate import Result, simulate
from rockbank.flow.units import BAR, DAY, MILLIDARCY

EGG, OWN = Path("../shared/data/egg/EGG.DATA"), Path("cases/deepflow.yaml")
REPORT = Path("reports/flow_speed_large.md")
# Runs of both, in turn; the medians count.
REPEATS = 3
# At most so much of OPM Flow's forward run, forwards, and with one gradient.
BARS: dict[str, tuple[float, float | None]] = {"Egg": (1.0, 2.5), "layer": (0.3, None), "box": (0.5, None)}


@dataclass(frozen=True)
class Measured:
    """CPU seconds and agreement of one case.

    Attributes:
        flow: OPM Flow, forwards.
        forward: ours.
        gradient: ours, forwards and back for one number.
        memory: MB by which a run, and another with its gradient, let their process grow.
        n_cut: report steps that were cut.
        pressure: largest difference of the wells' pressures, bar.
        rate: of their rates, by the largest of them.
    """

    flow: float
    forward: float
    gradient: float
    memory: float
    n_cut: int
    pressure: float
    rate: float


def main() -> None:
    """Measure and print."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when the libraries are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.flow.large", *sys.argv[1:]], environment)
    if shutil.which("flow") is None:
        sys.exit("OPM Flow is not installed; on Debian: apt install libopm-simulators-bin")
    print(written())


def written() -> str:
    """Measures, and writes the report."""
    text = "\n".join([
        "# How fast the flow simulator is on larger cases", "",
        "Written by `python -m benchmarks.flow.large`, also as a part of `python -m benchmarks.flow`; every number is "
        f"of one run, in CPU seconds of one thread, on {platform.machine()} with {os.cpu_count()} cores. Each case has "
        f"a process of its own, and each number is the median of {REPEATS}.", "",
        section(measured()), growth.section(growth.measured()),
        f"The machine's load was {os.getloadavg()[2]:.1f} at the end.", "",
    ])  # fmt: skip
    write_text(REPORT, text)
    return text


def measured() -> dict[str, Measured]:
    """Of each case, in a process of its own, as OPM Flow has one for each."""
    names = [name for name in CASES if name != EGG_NAME or EGG.is_file()]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return dict(zip(names, pool.map(measure, names), strict=True))


def measure(name: str) -> Measured:
    """One case, by both."""
    torch.set_num_threads(1)
    once(box_of((12, 10, 10), 1)[0], lambda _: None)  # compiles
    of_case, deck = CASES[name]
    case = replace(of_case(), options=DEFAULT)  # a deck's own options: then both take about the same steps
    permeability = case.rock.components[0].detach().clone().requires_grad_()
    ratio = [of.detach() / case.rock.components[0].detach() for of in case.rock.components]
    rock = replace(case.rock, permeability=tuple(permeability * of for of in ratio) if len(ratio) > 1 else permeability)
    tracked, times, grown, before = replace(case, rock=rock), [], 0.0, memory.begin()
    for _ in range(REPEATS):
        flow, theirs = opm(case, deck)
        result, forward = once(case, lambda _: None)
        _, gradient = once(tracked, lambda of: torch.autograd.grad(
            of.oil_rate.square().sum(), permeability, retain_graph=True))  # fmt: skip
        times.append((flow, forward, gradient))
        grown = grown or memory.peak() - before  # later rounds would have two results at once
    flow, forward, gradient = (statistics.median(of) for of in zip(*times, strict=True))
    order = [theirs.wells.index(well.name) for well in case.wells]
    ours = (result.bhp, result.water_rate, result.oil_rate)
    bhp, water, oil = (of.detach().numpy() for of in ours)
    # Of an injector's oil a summary may have nothing.
    rates = [np.nanmax(np.abs(a - b[:, order])) / np.nanmax(np.abs(b)) for a, b in
             ((water, theirs.water_rate), (oil, theirs.oil_rate))]  # fmt: skip
    return Measured(
        flow=flow,
        forward=forward,
        gradient=gradient,
        memory=grown,
        n_cut=sum(of.n_steps > 1 for of in result.reports[0]),
        pressure=float(np.abs(bhp - theirs.bhp[:, order]).max() / BAR),
        rate=float(max(rates)),
    )


def once(case: Case, then: Callable[[Result], object]) -> tuple[Result, float]:
    """A run and its CPU seconds, with those of what is then done to it."""
    start = time.process_time()
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    then(result)
    return result, time.process_time() - start


def opm(case: Case, deck: Path | None) -> tuple[float, WellCurves]:
    """CPU seconds of OPM Flow with its defaults, and what the wells did."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--output-dir={folder}", "--threads-per-process=1"]
        if deck is None:
            deck = Path(folder) / "CASE.DATA"
            write_deck(deck, case)
            options += flow_options(case)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["flow", str(deck), *options], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        curves = read_summary(Path(folder) / f"{deck.stem}.SMSPEC")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, curves


def layer() -> Case:
    """DeepFlow's case on 60 x 220 cells of a rough rock, flooded along the longer side."""
    case, shape = load_case(OWN), (220, 60)
    grid = Grid(shape=shape, spacing=(3.0, 6.0, 3.0))
    noise = np.random.default_rng(10).standard_normal((2, *shape))
    rough = sum(np.cumsum(noise[0], axis=axis) / np.sqrt(shape[axis]) for axis in (0, 1)) + 0.5 * noise[1]
    rough = (rough - rough.mean()) / rough.std()
    rock = Rock(grid=grid, permeability=torch.as_tensor(50 * MILLIDARCY * 10 ** rough.clip(-3, 3)),
                porosity=torch.as_tensor(0.2 + 0.03 * rough.clip(-3, 3)))  # fmt: skip
    wells = tuple(
        Well(name=well.name, kind=well.kind, cells=[(i, j) for j in range(shape[1])], axis=1)
        for well, i in zip(case.wells, (0, shape[0] - 1), strict=True)
    )
    rate = float(rock.porosity.mean()) * 660 * 360 * 3 * 0.5 / (600 * DAY)
    controls = {well.name: [replace(of, target=rate) if well.kind == "injector" else of
                            for of in case.schedule.of(well.name)] for well in wells}  # fmt: skip
    schedule = Schedule(steps=case.schedule.steps, controls=controls)
    return replace(case, title="rough layer", rock=rock, wells=wells, schedule=schedule, initial=State(pressure=200e5))


EGG_NAME = "Egg model, 18,553 cells, 120 steps"
# How each is made, and the deck that it is read from.
CASES: dict[str, tuple[Callable[[], Case], Path | None]] = {
    EGG_NAME: (lambda: load_case(EGG), EGG),
    "layer of 60 x 220 cells, six decades of permeability, 37 steps": (layer, None),
    "box of 40 x 40 x 5 cells with gravity, 20 steps": (lambda: box_of((40, 40, 5), 20)[0], None),
    "20 x 20 x 5 cells likewise": (lambda: box_of((20, 20, 5), 20)[0], None),
    "40 x 40 x 1 cells likewise": (lambda: box_of((40, 40, 1), 20)[0], None),
    "20 x 20 x 1 cells likewise": (lambda: box_of((20, 20, 1), 20)[0], None),
}


def section(measured: Mapping[str, Measured]) -> str:
    """A part of the report, as Markdown."""
    bars = {name: next((of for start, of in BARS.items() if name.startswith(start)), (None, None)) for name in measured}
    times = [f"| {name} | {of.flow:.2f} | {of.forward:.2f} | {of.forward / of.flow:.2f} | {bars[name][0] or ''} "
             f"| {of.gradient:.2f} | {of.gradient / of.flow:.2f} | {bars[name][1] or ''} |"
             for name, of in measured.items()]  # fmt: skip
    close = [f"| {name} | {of.pressure:.3f} | {100 * of.rate:.2f} | {of.n_cut} | {of.memory:.0f} |"
             for name, of in measured.items()]  # fmt: skip
    return "\n".join([
        "## Larger cases, and three dimensions", "",
        "The same decks by both with their defaults; differences have those of the steps in them.", "",
        "| | Flow, CPU s | forward | of Flow | bar | forward + gradient | of Flow | bar |",
        "|---|---:|---:|---:|---:|---:|---:|---:|", *times, "",
        "| | largest difference of a pressure, bar | of a rate, % of the largest | steps cut | memory, MB |",
        "|---|---:|---:|---:|---:|", *close, "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
