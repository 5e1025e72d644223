"""Which equations and which linear solver take a problem."""

from __future__ import annotations

import torch

from rockbank.core.errors import InputError
from rockbank.flow.equations.options import Solver
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.residual import Equations
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.interface import LinearSolver

# `python -m benchmarks.flow.linear_solvers` measures both. Cells of a slab up to which eliminating slabs is faster than
# sparse factors, and cells of a grid beyond which iterating is faster than either.
WIDEST_SLAB, FEW_CELLS = 128, 1000


def solver_for(problem: Problem, name: Solver, device: torch.device) -> LinearSolver:
    """The linear solver of that name; "auto" is the fastest on the device."""
    chosen = _chosen(problem, name, device)
    if chosen in ("block", "block-single", "slabs") and not problem.grid.is_structured:
        raise InputError(f"options: solver '{chosen}' takes only grids in which neighbours alone touch, not across "
                         "faults, pinch-outs and links; use 'direct' or 'cpr', on the processor")  # fmt: skip
    if chosen in ("block", "block-single"):
        from rockbank.flow.linear.block import BlockSolver

        solver: LinearSolver = BlockSolver(single=chosen == "block-single")
    elif chosen == "slabs":
        from rockbank.flow.linear.slab import SlabSolver

        solver = SlabSolver()
    elif chosen == "cpr":
        from rockbank.flow.linear.cpr import CPRSolver

        solver = CPRSolver()
    else:
        solver = DirectSolver()
    if problem.has_cross_flow:
        from rockbank.flow.linear.mixtures import MixtureSolver

        return MixtureSolver(solver)
    if name == "auto" and chosen != "cpr" and problem.fluid.is_cocurrent:
        from rockbank.flow.linear.splitting import SplittingSolver

        solver = SplittingSolver(solver)
    return solver


def equations_for(problem: Problem, parameters: Parameters) -> Equations:
    """The equations as they are fastest; where both phases always flow the same way, a compiler gains little."""
    is_large = problem.grid.n_cells > FEW_CELLS and not problem.fluid.is_cocurrent
    if not is_large or parameters.pore_volume.device.type != "cpu":
        return Equations(problem, parameters)
    from rockbank.flow.kernels.fully_implicit.equations import CompiledEquations

    return CompiledEquations(problem, parameters)


def takes_all_members(problem: Problem, name: Solver, device: torch.device) -> bool:
    """Whether that solver gains from a batch; the others take it member by member."""
    return _chosen(problem, name, device) in ("block", "block-single")


def _chosen(problem: Problem, name: Solver, device: torch.device) -> Solver:
    if name != "auto":
        return name
    if device.type != "cpu":
        return "block"
    is_narrow = problem.grid.is_structured and problem.grid.is_active.size // max(problem.grid.box) <= WIDEST_SLAB
    # There the splitting iterates, and its slabs take Jacobians of many observables.
    is_split = is_narrow and problem.fluid.is_cocurrent
    if problem.grid.n_cells > FEW_CELLS and not is_split:
        return "cpr"
    return "slabs" if is_narrow else "direct"
