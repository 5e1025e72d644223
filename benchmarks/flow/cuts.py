"""How often steps are cut, in random cases of three dimensions: python -m benchmarks.flow.cuts

Rough rocks under gravity, flooded from corner to corner in fine report steps and in coarse ones. Each by the defaults,
by Newton's method with several bounds of a saturation's change, and by OPM Flow with its defaults. Writes
reports/flow_cuts.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rockbank.core.files import write_text
from rockbank.flow import (
    GRAVITY,
    Control,
    Fluid,
    Grid,
    NewtonError,
    Options,
    Phase,
    Rock,
    Schedule,
    State,
    Well,
    simulate,
)
from rockbank.flow.case import Case
from rockbank.flow.eclipse.writer import flow_options, write_deck
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.units import CENTIPOISE, DAY, MILLIDARCY

REPORT = Path("reports/flow_cuts.md")
N_CASES = 24
# Days of each report step.
STEPS = {
    "fine": (1, 2, 4, 8, 15, *[30] * 3, *[60] * 4, *[120] * 4),
    "coarse": (30, 120, *[240] * 3),
}
METHODS = {
    "the defaults": Options(),
    "Newton, saturations by 0.2 (its default)": Options(method="newton"),
    "Newton, by 0.05": Options(method="newton", max_ds=0.05),
    "Newton, by 1": Options(method="newton", max_ds=1.0),
    "Newton, steps that grow from 1 day": Options(method="newton", first_step=DAY, growth=2.0),
}


@dataclass(frozen=True)
class Outcome:
    """Of one case by one method.

    Attributes:
        n_cut: report steps that were cut.
        n_steps: steps taken.
        n_iterations: of all steps, those of failed tries included.
        cpu: seconds.
        failed: a step did not converge, however short.
    """

    n_cut: int
    n_steps: int
    n_iterations: int
    cpu: float
    failed: bool = False


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=N_CASES, help="how many")
    n_cases = parser.parse_args().cases
    if shutil.which("flow") is None:
        sys.exit("OPM Flow is not installed; on Debian: apt install libopm-simulators-bin")
    torch.set_num_threads(1)
    ours(random_case(0, STEPS["fine"]), Options())  # compiles
    tables = {steps: _table([random_case(seed, days) for seed in range(1, n_cases + 1)])
              for steps, days in STEPS.items()}  # fmt: skip
    write_text(REPORT, _report(tables, n_cases))


def _table(cases: Sequence[Case]) -> list[str]:
    rows = []
    for name, options in METHODS.items():
        rows.append(_row(name, [ours(case, options) for case in cases]))
        print(rows[-1], flush=True)
    rows.append(_row("OPM Flow, its defaults", [opm(case) for case in cases]))
    print(rows[-1], flush=True)
    return rows


def random_case(seed: int, days: Sequence[int]) -> Case:
    """A rough layered rock of some thousand cells, random fluids and curves; a pore volume goes in."""
    random = np.random.default_rng(seed)
    shape = nx, ny, nz = tuple(int(n) for n in random.integers((10, 10, 3), (19, 19, 7)))
    grid = Grid(shape=shape, spacing=(300 / nx, 300 / ny, float(random.uniform(2, 8))), top=1500.0)
    rough = sum(np.cumsum(random.standard_normal(shape), axis=axis) / np.sqrt(shape[axis]) for axis in (0, 1))
    rough = (rough - rough.mean()) / rough.std() + random.standard_normal(nz)
    field = float(random.uniform(0.5, 2.0)) * rough
    k = torch.as_tensor(100 * MILLIDARCY * np.exp(field.clip(-7, 7)))
    rock = Rock(grid=grid, permeability=(k, k, 0.1 * k), porosity=torch.as_tensor(0.2 + 0.02 * rough.clip(-4, 4)),
                compressibility=5e-10, reference_pressure=200e5)  # fmt: skip
    ends = random.uniform(0.1, 0.25, 2)
    exponents, mobilities = random.uniform(1.5, 4, 2), random.uniform(0.3, 1, 2)
    curves = [Corey(residual=float(of), span=1 - float(ends.sum()), exponent=float(n), end=float(end))
              for of, n, end in zip(ends, exponents, mobilities, strict=True)]  # fmt: skip
    fluid = Fluid(
        water=Phase(viscosity=0.5 * CENTIPOISE, density=1000.0, compressibility=4e-10, reference_pressure=200e5),
        oil=Phase(viscosity=float(np.exp(random.uniform(0, 2.5))) * CENTIPOISE, density=float(random.uniform(700, 950)),
                  compressibility=1e-9, reference_pressure=200e5),
        curves=BrooksCorey(water_curve=curves[0], oil_curve=curves[1]),
        gravity=GRAVITY,
    )  # fmt: skip
    wells = (Well(name="I", kind="injector", cells=[(0, 0, k) for k in range(nz)]),
             Well(name="P", kind="producer", cells=[(nx - 1, ny - 1, k) for k in range(nz)]))  # fmt: skip
    pores = float(rock.porosity.mean()) * 300 * 300 * grid.spacing[2] * nz
    schedule = Schedule(steps=[of * DAY for of in days], controls={
        "I": Control(kind="rate", target=pores / (sum(days) * DAY), limit=600e5),
        "P": Control(kind="bhp", target=150e5)})  # fmt: skip
    return Case(title=f"random case {seed}", rock=rock, fluid=fluid, wells=wells, schedule=schedule,
                initial=State(pressure=200e5, saturation=float(ends[0])))  # fmt: skip


def ours(case: Case, options: Options) -> Outcome:
    """By this simulator."""
    start = time.process_time()
    try:
        result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
    except NewtonError:
        return Outcome(len(case.schedule.steps), 0, 0, time.process_time() - start, failed=True)
    reports = result.reports[0]
    return Outcome(
        n_cut=sum(of.n_steps > of.n_planned for of in reports),
        n_steps=sum(of.n_steps for of in reports),
        n_iterations=sum(of.iterations for of in reports),
        cpu=time.process_time() - start,
    )


def opm(case: Case) -> Outcome:
    """By OPM Flow, which grows its steps from one day and cuts those that fail."""
    with tempfile.TemporaryDirectory() as folder:
        deck = Path(folder) / "CASE.DATA"
        write_deck(deck, replace(case, options=Options()))
        call = ["flow", str(deck), f"--output-dir={folder}", "--threads-per-process=1", *flow_options(case)]
        before = os.times()
        said = subprocess.run(call, check=True, capture_output=True, text=True).stdout
        after = os.times()
        taken = [line.split() for line in (Path(folder) / "CASE.INFOSTEP").read_text().splitlines()]
    column = {name: i for i, name in enumerate(taken[0])}
    n_iterations = sum(int(float(row[column["NewtIt"]])) for row in taken[1:])
    return Outcome(
        n_cut=said.count("chopped"),
        n_steps=len(taken) - 1,
        n_iterations=n_iterations,
        cpu=after.children_user + after.children_system - before.children_user - before.children_system,
    )


def _row(name: str, outcomes: Iterable[Outcome]) -> str:
    each = list(outcomes)
    return (
        f"| {name} | {sum(of.n_cut > 0 for of in each)} | {sum(of.n_cut for of in each)} "
        f"| {sum(of.n_steps for of in each)} | {sum(of.n_iterations for of in each)} "
        f"| {sum(of.cpu for of in each):.1f} | {sum(of.failed for of in each)} |"
    )


def _report(tables: Mapping[str, Sequence[str]], n_cases: int) -> str:
    return "\n".join([
        "# How often steps are cut", "",
        f"Written by `python -m benchmarks.flow.cuts`: {n_cases} random cases of three dimensions, in which a pore "
        "volume is injected: rough layered rocks of 300 to 2,000 cells, gravity, random viscosities, densities and "
        f"curves. Sums over all cases; on {platform.machine()}, one thread. OPM Flow grows its steps from one day, "
        "hence takes more of them; iterations of the defaults are of pressure and transport in turn.", "",
        *(line for steps, rows in tables.items() for line in _section(steps, rows)),
    ])  # fmt: skip


def _section(steps: str, rows: Sequence[str]) -> tuple[str, ...]:
    days = STEPS[steps]
    return (
        f"## {len(days)} {steps} report steps", "",
        f"The longest has {max(days) / sum(days):.2f} of the pore volume.", "",
        "| | cases with cuts | cuts | steps | iterations | CPU s | failed |",
        "|---|---:|---:|---:|---:|---:|---:|", *rows, "",
    )  # fmt: skip


if __name__ == "__main__":
    main()
