"""One V-cycle of algebraic multigrid, over a hierarchy that `linear.multigrid` sets up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled

Unknowns = Float[np.ndarray, " N"]


class Rows(NamedTuple):
    """A sparse matrix by rows: the entries of row i are those from start[i] to start[i + 1]."""

    start: Int[np.ndarray, " N+1"]
    column: Int[np.ndarray, " nnz"]
    value: Float[np.ndarray, " nnz"]


class Hierarchy(NamedTuple):
    """The levels one behind the other, the finest first; their rows and columns are numbered through.

    Attributes:
        begin: of each level's unknowns, and the end of the last.
        before: entries of each level's matrix left of the diagonal.
        after: those right of it.
        inverse_diagonal: of the matrices.
        prolongation: from the next level.
        coarsest: the inverse of the last level's matrix.
        x, b: of all levels, to work in.
    """

    begin: Int[np.ndarray, " levels+1"]
    before: Rows
    after: Rows
    inverse_diagonal: Unknowns
    prolongation: Rows
    coarsest: Float[np.ndarray, "m m"]
    x: Unknowns
    b: Unknowns


@compiled
def cycle(of: Hierarchy) -> None:
    """x of the finest level about A^-1 b: a Gauss-Seidel sweep forth on the way down and one back on the way up.

    It starts from 0, and is a symmetric operator where A is symmetric. Right-hand sides of coarser levels are
    overwritten.
    """
    begin, x, b, last = of.begin, of.x, of.b, len(of.begin) - 2
    for level in range(last):
        first, end = begin[level], begin[level + 1]
        b[end : begin[level + 2]] = 0.0
        for i in range(first, end):
            total = b[i]
            for k in range(of.before.start[i], of.before.start[i + 1]):
                total -= of.before.value[k] * x[of.before.column[k]]
            x[i] = total * of.inverse_diagonal[i]
        for i in range(first, end):  # what came after was still 0 when row i was swept
            left = 0.0
            for k in range(of.after.start[i], of.after.start[i + 1]):
                left -= of.after.value[k] * x[of.after.column[k]]
            for k in range(of.prolongation.start[i], of.prolongation.start[i + 1]):
                b[of.prolongation.column[k]] += of.prolongation.value[k] * left
    first, end = begin[last], begin[last + 1]
    for i in range(first, end):
        total = 0.0
        for j in range(first, end):
            total += of.coarsest[i - first, j - first] * b[j]
        x[i] = total
    for level in range(last - 1, -1, -1):
        first, end = begin[level], begin[level + 1]
        for i in range(first, end):
            for k in range(of.prolongation.start[i], of.prolongation.start[i + 1]):
                x[i] += of.prolongation.value[k] * x[of.prolongation.column[k]]
        for i in range(end - 1, first - 1, -1):
            total = b[i]
            for k in range(of.before.start[i], of.before.start[i + 1]):
                total -= of.before.value[k] * x[of.before.column[k]]
            for k in range(of.after.start[i], of.after.start[i + 1]):
                total -= of.after.value[k] * x[of.after.column[k]]
            x[i] = total * of.inverse_diagonal[i]
