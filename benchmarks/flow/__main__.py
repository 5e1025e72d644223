"""The flow simulator against OPM Flow on the same deck, in one run: python -m benchmarks.flow

CPU seconds of one thread, medians, and their ratios; also memory, members side by side and the cost against cells. Then
runs `benchmarks.flow.large`. Writes reports/flow_speed.md and docs/pictures/flow_scaling.png. The rock is DeepFlow's
published reference where ../shared/data has it, else our own of cases/deepflow.yaml.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import memory
from benchmarks.flow import large
from benchmarks.flow.linear_solvers import THREADS
from benchmarks.flow.members import LOOSE, Rate, apart, random, run, together
from rockbank.core.files import replacing, write_text
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.writer import flow_options, write_deck
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Well
from rockbank.flow.simulate import jacobian

PUBLISHED, OWN = Path("cases/deepflow_published.yaml"), Path("cases/deepflow.yaml")
ROCK = Path("../shared/data/deepflow/reference_vertcase3.nc")
REPORT, PICTURE = Path("reports/flow_speed.md"), Path("docs/pictures/flow_scaling.png")
SIDES = (16, 32, 64, 128, 256)
# From here on a call's fixed costs count for little.
LARGE = 64
N_DIRECTIONS = 100
ALONG = f"full Jacobian x {N_DIRECTIONS} directions"
# As the Jacobian solves; a single gradient iterates, which is cheaper.
BY_ELIMINATION = "forward + gradient by elimination"


@dataclass(frozen=True)
class Row:
    """One line of the report: what, how much, the bar, and whether it is met."""

    what: str
    got: str
    bar: str
    is_met: bool


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of each run; the median counts")
    parser.add_argument("--members", type=int, default=100, help="of the ensemble")
    parser.add_argument("--memory", action="store_true", help="print the memory of one gradient in MiB, and end")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when the libraries are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.flow", *sys.argv[1:]], environment)
    case = load_case(PUBLISHED if ROCK.is_file() else OWN)
    if arguments.memory:
        print(memory_of_gradient(case))
        return
    if shutil.which("flow") is None:
        sys.exit("OPM Flow is not installed; on Debian: apt install libopm-simulators-bin")
    times = speed(case, arguments.repeats)
    flow, gradient, eliminated = times["OPM Flow, forward"], times["forward + gradient"], times[BY_ELIMINATION]
    grown = float(subprocess.check_output([sys.executable, "-m", "benchmarks.flow", "--memory"], text=True))
    n = arguments.members
    rates = {"1 worker": together(case, n // 4, 1), "2 workers": together(case, n, 2), "two processes": apart(case, n)}
    one, two, alone = (rate.per_second for rate in rates.values())
    costs = {side: cost(side) for side in SIDES}
    exponent, steep = fitted_exponent(costs), fitted_exponent({side: of for side, of in costs.items() if side >= LARGE})
    rows = [
        _at_most("forward, sequential at 1e-4, of Flow's forward", times["forward, sequential at 1e-4"] / flow, 0.25),
        _at_most("forward + gradient, of Flow's forward", gradient / flow, 0.5),
        _at_most(f"full Jacobian (111 observables, {2 * case.rock.grid.n_cells} parameters), of {BY_ELIMINATION}",
                 times["full Jacobian"] / eliminated, 2.5),
        _at_most(f"times {N_DIRECTIONS} directions, likewise", times[ALONG] / eliminated, 2.5),
        _at_most("memory of forward + gradient beyond the interpreter, MB", grown, 100),
        Row(f"{n} members on 2 workers, of 1 worker's rate", f"{two / one:.2f}", ">= 1.9", two / one >= 1.9),
        Row("the same, of what two processes reach that share nothing but the machine", f"{two / alone:.2f}", ">= 0.97",
            two / alone >= 0.97),
        _at_most(f"exponent of forward + gradient against cells, {SIDES[0]}^2 to {SIDES[-1]}^2", exponent, 1.4),
        _at_most(f"the same without the small grids' overhead, {LARGE}^2 to {SIDES[-1]}^2", steep, 1.4),
    ]  # fmt: skip
    plot_scaling(costs, exponent)
    text = report(case, times, rows, rates, costs)
    write_text(REPORT, text)
    print(text)
    print(large.written())


def _at_most(what: str, got: float, bar: float) -> Row:
    return Row(what, f"{got:.3g}", f"<= {bar:g}", got <= bar)


def cpu(call: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call in this process; a first one, which compiles, does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def speed(case: Case, repeats: int) -> dict[str, float]:
    """CPU seconds of Flow and of ours, on one deck."""
    directions = [
        torch.randn(*case.rock.grid.shape, N_DIRECTIONS, dtype=torch.float64, generator=random(0)) for _ in "kp"
    ]

    def times_directions() -> list[torch.Tensor]:
        return [torch.tensordot(of, along, 2) for of, along in zip(full_jacobian(case), directions, strict=True)]

    return {
        "OPM Flow, forward": flow_cpu(case, repeats),
        "forward, sequential at 1e-4": cpu(lambda: run(case), repeats),
        "forward + gradient": cpu(lambda: gradient(case), repeats),
        BY_ELIMINATION: cpu(lambda: gradient(case, replace(LOOSE, solver="slabs")), repeats),
        "full Jacobian": cpu(lambda: full_jacobian(case), repeats),
        ALONG: cpu(times_directions, repeats),
        "forward, fully implicit Newton": cpu(lambda: run(case, Options(method="newton")), 1),
    }


def flow_cpu(case: Case, repeats: int) -> float:
    """Median CPU seconds of OPM Flow with its default tolerances and steps."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        deck = Path(folder) / "CASE.DATA"
        write_deck(deck, case)
        for _ in range(repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            options = [f"--output-dir={folder}", "--threads-per-process=1", *flow_options(case)]
            subprocess.run(["flow", str(deck), *options], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(times)


def observed(case: Case, options: Options = LOOSE) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The 111 observables: the injector's pressure, the producer's rates; and what they depend on."""
    inputs = [case.rock.permeability.clone().requires_grad_(), case.rock.porosity.clone().requires_grad_()]
    rock = replace(case.rock, permeability=inputs[0], porosity=inputs[1])
    result = run(replace(case, rock=rock), options)
    return torch.stack(
        [result.bhp[..., 0] / 2e5, result.water_rate[..., 1] / 1e-4, result.oil_rate[..., 1] / 1e-4]
    ), inputs


def gradient(case: Case, options: Options = LOOSE) -> tuple[torch.Tensor, ...]:
    """Forwards and back, for one number."""
    values, inputs = observed(case, options)
    return torch.autograd.grad(values.square().sum(), inputs)


def full_jacobian(case: Case) -> tuple[torch.Tensor, ...]:
    """Forwards and back, for all 111."""
    return jacobian(*observed(case))


def memory_of_gradient(case: Case) -> float:
    """MB by which this process grows at most over what libraries and compiled kernels take."""
    gradient(block_of(16))
    before = memory.begin()
    gradient(case)
    return memory.peak() - before


def block_of(side: int) -> Case:
    """DeepFlow's case on side x side cells of a smooth log-normal rock, with the wells in the outer columns."""
    case = load_case(OWN)
    grid = Grid(shape=(side, side), spacing=(512 / side, 256 / side, 10.0))
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    field = np.sin(7 * x + 3 * np.sin(5 * y)) + np.sin(11 * y + 4 * x)
    rock = Rock(
        grid=grid, permeability=torch.as_tensor(1e-13 * np.exp(field)), porosity=torch.as_tensor(0.2 + 0.05 * field)
    )
    wells = tuple(
        Well(name=well.name, kind=well.kind, cells=[(i, j) for j in range(side)], axis=1)
        for well, i in zip(case.wells, (0, side - 1), strict=True)
    )
    return replace(case, rock=rock, wells=wells, initial=State(pressure=200e5))


def cost(side: int) -> float:
    """CPU seconds of forward + gradient on side x side cells."""
    case = block_of(side)
    return cpu(lambda: gradient(case), 1 if side > 100 else 3)


def fitted_exponent(costs: Mapping[int, float]) -> float:
    """The exponent b of costs ~ cells^b, by least squares of the logarithms."""
    return float(np.polyfit(np.log([side**2 for side in costs]), np.log(list(costs.values())), 1)[0])


def plot_scaling(costs: Mapping[int, float], exponent: float) -> None:
    """Cost against cells, with the fitted power."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    cells = np.array([side**2 for side in costs])
    figure, axis = plt.subplots(figsize=(6.0, 4.0), constrained_layout=True)
    level = np.exp(np.mean(np.log(list(costs.values())) - exponent * np.log(cells)))
    axis.loglog(cells, list(costs.values()), "o", color="#0072B2", label="forward + gradient, 37 steps, one thread")
    axis.loglog(cells, level * cells**exponent, "--", color="#D55E00", label=f"cells to the power {exponent:.2f}")
    axis.set(xlabel="cells", ylabel="CPU seconds")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="best", frameon=False)
    with replacing(PICTURE) as beside:
        figure.savefig(beside, dpi=120, format="png")
    plt.close(figure)


def report(case: Case, times: Mapping[str, float], rows: Sequence[Row], rates: Mapping[str, Rate],
           costs: Mapping[int, float]) -> str:  # fmt: skip
    """The report as Markdown."""
    flow = times["OPM Flow, forward"]
    measured = [f"| {what} | {seconds:.2f} | {seconds / flow:.3f} |" for what, seconds in times.items()]
    bars = [f"| {row.what} | {row.got} | {row.bar} | {'yes' if row.is_met else '**no**'} |" for row in rows]
    members = [f"| {who} | {rate.per_second:.2f} | {rate.cpu:.3f} |" for who, rate in rates.items()]
    scaling = [f"| {side} x {side} | {seconds:.3f} |" for side, seconds in costs.items()]
    return "\n".join([
        "# How fast the flow simulator is", "",
        "Written by `python -m benchmarks.flow`; every number is of one run, on "
        f"{platform.machine()} with {os.cpu_count()} cores, whose load was {os.getloadavg()[2]:.1f} at the end. CPU "
        "seconds are medians of one thread.", "",
        f"Case: {case.title}, {' x '.join(map(str, case.rock.grid.shape))} cells, {len(case.schedule.steps)} report "
        "steps. OPM Flow runs the same deck with its default tolerances and steps.", "",
        "| | CPU s | of Flow's forward |", "|---|---:|---:|", *measured, "",
        "| | got | bar | met |", "|---|---:|---:|---|", *bars, "",
        "| members | a second | CPU s of each |", "|---|---:|---:|", *members, "",
        "| cells | CPU s, forward + gradient |", "|---|---:|", *scaling, "",
        f"![CPU seconds against cells](../{PICTURE})", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
