"""How a run is to be solved, and how closely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from rockbank.core.errors import InputError
from rockbank.flow.units import Quantity

Method = Literal["auto", "sequential", "newton"]
Solver = Literal["auto", "direct", "block", "block-single", "slabs", "cpr"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Method, tolerances and linear solver of a run; the defaults are MRST's.

    Attributes:
        method: "sequential" iterates on pressure and transport until the fully implicit equations hold, "newton"
            solves them at once, "auto" takes the first where it applies and is faster.
        tolerance: of the sequential iteration without gravity and capillary pressure: the largest change of a
            saturation by an outer iteration; with them, cnv and mb hold for it too.
        cnv: of Newton: the largest volume error of a phase in a cell in one step, by the cell's pore volume. The
            wells' rates follow it: 1e-3 asks for 1 m^3/day, or 1 % of the target where that is less.
        mb: of Newton: the volume error of a phase in all cells together, by their pore volume.
        max_iterations: of Newton, for one step; a step that takes more is halved.
        max_cuts: how often a report step may be halved.
        max_ds: of Newton: largest change of a saturation in one iteration.
        first_step: s; a report step is cut into steps of which the first of all is at most this, None is no bound.
        largest_step: s; no step is longer, None is no bound.
        growth: a step is at most so many times the longest before it.
        solver: of the linear systems of Newton and of the adjoint: "direct" is sparse LU on the CPU, "slabs"
            its faster rival on grids with one long axis, "cpr" iterates with multigrid for the pressure, for large
            grids on the CPU, "block" runs all members at once on any device, "block-single" with factors in float32
            and solutions refined to 1e-10; "auto" chooses by problem and device. Iterated gradients leave 1e-10 of
            their right-hand sides; where no gravity or capillary pressure acts, "auto" on a narrow grid iterates for
            gradients of few outputs, until the adjoint's multipliers change by less than 1e-10 of them.
    """

    method: Method = "auto"
    tolerance: float = 1e-6
    cnv: float = 1e-3
    mb: float = 1e-7
    max_iterations: int = 25
    max_cuts: int = 6
    max_ds: float = 0.2
    first_step: Annotated[float, Quantity("time")] | None = None
    largest_step: Annotated[float, Quantity("time")] | None = None
    growth: float = 3.0
    solver: Solver = "auto"

    def __post_init__(self) -> None:
        for name, known in (("method", get_args(Method)), ("solver", get_args(Solver))):
            if getattr(self, name) not in known:
                raise InputError(f"options: got {name} '{getattr(self, name)}'; known are {list(known)}")
        for name in ("tolerance", "cnv", "mb", "max_ds"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"options: got {name} {getattr(self, name)}; it must be positive")
        for name in ("first_step", "largest_step"):
            length = getattr(self, name)
            if length is not None and not 0 < length < math.inf:
                raise InputError(f"options: got {name} {length} s; it must be positive, or None for no bound")
        if not 1 <= self.growth < math.inf:
            raise InputError(f"options: got growth {self.growth} of steps; give 1, which is none, or more")
        if self.max_iterations < 1 or self.max_cuts < 0:
            raise InputError(f"options: got {self.max_iterations} iterations and {self.max_cuts} cuts at most; "
                             "need at least 1 and 0")  # fmt: skip
