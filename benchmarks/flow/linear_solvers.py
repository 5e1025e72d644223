"""Which linear solver is fastest on which grid, in one run: python -m benchmarks.flow.linear_solvers

CPU seconds of Newton's run forwards, and of one gradient beyond it, of a box with gravity between two wells; the last
columns are those of what `auto` takes (`flow/linear/choose.py`). Writes reports/flow_solvers.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rockbank.core.files import write_text
from rockbank.flow import GRAVITY, Control, Fluid, Grid, Options, Phase, Rock, Schedule, State, Well, simulate
from rockbank.flow.case import Case
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.problem import discretise
from rockbank.flow.linear.choose import solver_for
from rockbank.flow.linear.cpr import CPRSolver
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.slab import SlabSolver
from rockbank.flow.simulate import Result
from rockbank.flow.units import CENTIPOISE, DAY, MILLIDARCY

REPORT = Path("reports/flow_solvers.md")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SHAPES = ((20, 20, 1), (40, 40, 1), (80, 80, 1), (128, 64, 1), (10, 10, 5), (20, 20, 5), (40, 40, 5), (20, 20, 20))
# Of as many cells as the compiled equations begin with.
WARM = (12, 10, 10)
SOLVERS = ("direct", "slabs", "cpr")
# Cells beyond which sparse factors take minutes, and width of a slab beyond which its inverses take gigabytes.
LARGEST, WIDEST = 10_000, 500


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="report steps of each run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        f"| cells | {' | '.join(f'{name}, forward | gradient' for name in SOLVERS)} | `auto` takes | of the fastest |",
        "|---|" + "---:|---:|" * len(SOLVERS) + "---|---:|",
    ]
    print(*rows, sep="\n")
    for shape in SHAPES:
        rows.append(_row(shape, arguments.steps))
        print(rows[-1], flush=True)
    write_text(REPORT, _report(rows, arguments.steps))


def _row(shape: tuple[int, int, int], n_steps: int) -> str:
    n, slab = int(np.prod(shape)), int(np.prod(shape)) // max(shape)
    left_out = {name for name, is_so in (("direct", n > LARGEST), ("slabs", slab > WIDEST)) if is_so}
    seconds = {name: _measured(shape, n_steps, name) for name in SOLVERS if name not in left_out}
    texts = (f"{of:.2f}" if of is not None else "" for name in SOLVERS for of in seconds.get(name, (None, None)))
    taken = auto_of(shape)
    ratio = sum(seconds[taken]) / min(map(sum, seconds.values()))
    return f"| {' x '.join(map(str, shape))} | {' | '.join(texts)} | {taken} | {ratio:.2f} |"


def _measured(shape: tuple[int, int, int], n_steps: int, solver: str) -> tuple[float, float]:
    options = Options(method="newton", solver=solver)  # type: ignore[arg-type]
    for of in (WARM, shape):  # the first compiles
        start = time.process_time()
        result, permeability = run_box(of, n_steps, options)
        forward = time.process_time()
        torch.autograd.grad(result.oil_rate.square().sum(), permeability)
        end = time.process_time()
    return forward - start, end - forward


def auto_of(shape: tuple[int, int, int]) -> str:
    """The solver that `auto` takes for the box."""
    case, _ = box_of(shape, 1)
    problem, _ = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    solver = solver_for(problem, "auto", torch.device("cpu"))
    return {DirectSolver: "direct", SlabSolver: "slabs", CPRSolver: "cpr"}[type(solver)]


def _report(rows: Sequence[str], n_steps: int) -> str:
    return "\n".join([
        "# Which linear solver on which grid", "",
        f"Written by `python -m benchmarks.flow.linear_solvers`: CPU seconds of one thread on {platform.machine()}, of "
        f"{n_steps} report steps by Newton's method and of one gradient beyond them, of a box with gravity between two "
        f"wells over its height. Sparse factors are left out beyond {LARGEST:,} cells, slabs beyond {WIDEST} cells of "
        "one. The last column is what `auto` takes over the fastest, forward and gradient together.", "",
        *rows, "",
    ])  # fmt: skip


def run_box(shape: tuple[int, int, int], n_steps: int, options: Options) -> tuple[Result, torch.Tensor]:
    """The run of a box, and the permeability that it is differentiable in."""
    case, permeability = box_of(shape, n_steps)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
    return result, permeability


def box_of(shape: tuple[int, int, int], n_steps: int) -> tuple[Case, torch.Tensor]:
    """A smooth log-normal rock flooded from corner to corner over its height, and its permeability, with grad."""
    nx, ny, nz = shape
    grid = Grid(shape=(nx, ny, nz), spacing=(400 / nx, 400 / ny, 4.0), top=1500.0)
    x, y, z = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    field = np.sin(7 * x + 3 * np.sin(5 * y)) + np.sin(11 * y + 4 * x + 5 * z)
    permeability = torch.as_tensor(200 * MILLIDARCY * np.exp(field)).requires_grad_()
    rock = Rock(grid=grid, permeability=(permeability, permeability, 0.1 * permeability),
                porosity=torch.as_tensor(0.2 + 0.05 * field), compressibility=1e-10,
                reference_pressure=200e5)  # fmt: skip
    fluid = Fluid(
        water=Phase(viscosity=CENTIPOISE / 2, density=1000.0, compressibility=4e-10, reference_pressure=200e5),
        oil=Phase(viscosity=3 * CENTIPOISE, density=800.0, compressibility=1e-9, reference_pressure=200e5),
        curves=BrooksCorey(water_curve=Corey(residual=0.2, span=0.6, end=0.5), oil_curve=Corey(residual=0.2, span=0.6)),
        gravity=GRAVITY,
    )
    wells = (Well(name="I", kind="injector", cells=[(0, 0, k) for k in range(nz)]),
             Well(name="P", kind="producer", cells=[(nx - 1, ny - 1, k) for k in range(nz)]))  # fmt: skip
    # A fifth of the pores in 50 steps.
    rate = float(rock.porosity.mean()) * 400 * 400 * 4.0 * nz / 5 / (50 * 20 * DAY)
    schedule = Schedule(steps=[20 * DAY] * n_steps, controls={
        "I": Control(kind="rate", target=rate, limit=600e5), "P": Control(kind="bhp", target=180e5)})  # fmt: skip
    case = Case(title=f"box of {nx} x {ny} x {nz} cells with gravity", rock=rock, fluid=fluid, wells=wells,
                schedule=schedule, initial=State(pressure=200e5, saturation=0.2))  # fmt: skip
    return case, permeability


if __name__ == "__main__":
    main()
