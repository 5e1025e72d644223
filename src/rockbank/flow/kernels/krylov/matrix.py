"""The cells' part of a Jacobian, by rows of 2 x 2 blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled

Vector = Float[np.ndarray, "n 2"]


class Matrix(NamedTuple):
    """The cells' part of a Jacobian by rows of 2 x 2 blocks, with the wells eliminated.

        A = blocks - sum_w column_w row_w^T / pivot_w

    Attributes:
        start: where each row's blocks begin.
        column: the cell of each block.
        diagonal: which block is the cell's own.
        blocks: in rows of [pressure equation, water] and columns of (pressure, saturation).
        place: cell of each perforation.
        well: its well.
        well_column: of the perforated cell's equations in the bottom-hole pressure.
        well_row: of the well's equation in the cell's unknowns.
        pivot: of the well's equation in its bottom-hole pressure.
    """

    start: Int[np.ndarray, " n+1"]
    column: Int[np.ndarray, " nnz"]
    diagonal: Int[np.ndarray, " n"]
    blocks: Float[np.ndarray, "nnz 2 2"]
    place: Int[np.ndarray, " p"]
    well: Int[np.ndarray, " p"]
    well_column: Float[np.ndarray, "p 2"]
    well_row: Float[np.ndarray, "p 2"]
    pivot: Float[np.ndarray, " w"]


@compiled
def fill(
    faces: Int[np.ndarray, "f 2"],
    face: Int[np.ndarray, " nnz"],
    of_cells: Float[np.ndarray, "2 2 n"],
    of_left: Float[np.ndarray, "f 2 2"],
    of_right: Float[np.ndarray, "f 2 2"],
    of_perforations: Float[np.ndarray, "2 3 p"],
    rates: Float[np.ndarray, "w 2"],
    weight: Float[np.ndarray, " n"],
    scale: float,
    matrix: Matrix,
) -> None:
    """The blocks from what cells, faces and perforations add; the pressure equation is water + weight * oil.

    Columns of pressures are multiplied by `scale`. `face` is that of each block off the diagonal.
    """
    blocks, diagonal, start = matrix.blocks, matrix.diagonal, matrix.start
    for i in range(len(weight)):
        by, at = weight[i], diagonal[i]
        water_p, water_s, oil_p, oil_s = of_cells[0, 0, i], of_cells[0, 1, i], of_cells[1, 0, i], of_cells[1, 1, i]
        for k in range(start[i], start[i + 1]):
            if k == at:
                continue
            f = face[k]
            if faces[f, 0] == i:
                water_p += of_left[f, 0, 0]
                water_s += of_left[f, 0, 1]
                oil_p += of_left[f, 1, 0]
                oil_s += of_left[f, 1, 1]
                w_p, w_s, o_p, o_s = of_right[f, 0, 0], of_right[f, 0, 1], of_right[f, 1, 0], of_right[f, 1, 1]
            else:
                water_p -= of_right[f, 0, 0]
                water_s -= of_right[f, 0, 1]
                oil_p -= of_right[f, 1, 0]
                oil_s -= of_right[f, 1, 1]
                w_p, w_s, o_p, o_s = -of_left[f, 0, 0], -of_left[f, 0, 1], -of_left[f, 1, 0], -of_left[f, 1, 1]
            blocks[k, 0, 0], blocks[k, 0, 1] = scale * (w_p + by * o_p), w_s + by * o_s
            blocks[k, 1, 0], blocks[k, 1, 1] = scale * w_p, w_s
        blocks[at, 0, 0], blocks[at, 0, 1] = scale * (water_p + by * oil_p), water_s + by * oil_s
        blocks[at, 1, 0], blocks[at, 1, 1] = scale * water_p, water_s
    for k in range(len(matrix.place)):
        i, w = matrix.place[k], matrix.well[k]
        for x in range(3):
            size = scale if x == 0 else 1.0
            water, oil = size * of_perforations[0, x, k], size * of_perforations[1, x, k]
            held = rates[w, 0] * water + rates[w, 1] * oil
            if x == 2:
                matrix.well_column[k, 0] = -water - weight[i] * oil
                matrix.well_column[k, 1] = -water
                matrix.pivot[w] += held
            else:
                blocks[diagonal[i], 0, x] -= water + weight[i] * oil
                blocks[diagonal[i], 1, x] -= water
                matrix.well_row[k, x] = held


@compiled
def _through_wells(matrix: Matrix, x: Vector, total: Float[np.ndarray, " w"]) -> None:
    """row_w^T x / pivot_w."""
    total[:] = 0.0
    for k in range(len(matrix.place)):
        i = matrix.place[k]
        total[matrix.well[k]] += matrix.well_row[k, 0] * x[i, 0] + matrix.well_row[k, 1] * x[i, 1]
    for w in range(len(total)):
        total[w] /= matrix.pivot[w]


@compiled
def multiply(matrix: Matrix, x: Vector, out: Vector, of_wells: Float[np.ndarray, " w"]) -> None:
    """A x."""
    blocks, start, column = matrix.blocks, matrix.start, matrix.column
    for i in range(len(x)):
        first, second = 0.0, 0.0
        for k in range(start[i], start[i + 1]):
            j = column[k]
            first += blocks[k, 0, 0] * x[j, 0] + blocks[k, 0, 1] * x[j, 1]
            second += blocks[k, 1, 0] * x[j, 0] + blocks[k, 1, 1] * x[j, 1]
        out[i, 0], out[i, 1] = first, second
    _through_wells(matrix, x, of_wells)
    for k in range(len(matrix.place)):
        i, through = matrix.place[k], of_wells[matrix.well[k]]
        out[i, 0] -= matrix.well_column[k, 0] * through
        out[i, 1] -= matrix.well_column[k, 1] * through
