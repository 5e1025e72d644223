"""Solving with the Jacobian: the interface of the linear solvers, and the sparse direct one."""

from __future__ import annotations

import torch

from rockbank.flow.equations.options import Solver
from rockbank.flow.equations.problem import Problem
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.interface import LinearSolver

# Cells of a slab up to which eliminating slabs is faster than sparse factors, on grids of two dimensions; on those of
# three it is up to two or three times as many.
WIDEST_SLAB = 128


def solver_for(problem: Problem, name: Solver, device: torch.device) -> LinearSolver:
    """The linear solver of that name; "auto" is the fastest on the device."""
    chosen = _chosen(problem, name, device)
    if chosen in ("block", "block-single"):
        from rockbank.flow.linear.block import BlockSolver

        solver: LinearSolver = BlockSolver(single=chosen == "block-single")
    elif chosen == "slabs":
        from rockbank.flow.linear.slab import SlabSolver

        solver = SlabSolver()
    else:
        solver = DirectSolver()
    if problem.has_cross_flow:
        from rockbank.flow.linear.mixtures import MixtureSolver

        return MixtureSolver(solver)
    if name == "auto" and problem.fluid.is_cocurrent:
        from rockbank.flow.linear.splitting import SplittingSolver

        solver = SplittingSolver(solver)
    return solver


def takes_all_members(problem: Problem, name: Solver, device: torch.device) -> bool:
    """Whether that solver gains from a batch; the others take it member by member."""
    return _chosen(problem, name, device) in ("block", "block-single")


def _chosen(problem: Problem, name: Solver, device: torch.device) -> Solver:
    if name != "auto":
        return name
    if device.type != "cpu":
        return "block"
    n_in_slab = problem.grid.is_active.size // max(problem.grid.box)
    return "slabs" if n_in_slab <= WIDEST_SLAB else "direct"
