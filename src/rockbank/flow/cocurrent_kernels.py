"""The compiled loops of the co-current solver: its matrices, its sweeps and its iteration.

A, B, C, M and N are those of `CocurrentSolver`; the right-hand sides are the last, contiguous axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels import Cells, CellOf, Faces, compiled
from rockbank.flow.pressure_slices import Border, Columns, Factor, Slices, WellColumns, add_wells, eliminate

Edges = Float[np.ndarray, " e"]
Perforations = Float[np.ndarray, " p"]
# Of the terms whose differences the iterates are: a right-hand side that all but vanishes has no more digits.
ROUND_OFF = 1e-13


class Network(NamedTuple):
    """Which cells touch, and where the wells are; cells are numbered as `Slices` numbers them.

    Attributes:
        left: the cell on the left of each face.
        right: on its right.
        begins: of each cell's neighbours, and the end of the last's.
        neighbours: cell by cell.
        through: the face to each.
        place: the cell of each perforation; they are sorted by it.
        of_well: its well.
    """

    left: CellOf
    right: CellOf
    begins: Int[np.ndarray, " n+1"]
    neighbours: Int[np.ndarray, " 2f"]
    through: Int[np.ndarray, " 2f"]
    place: CellOf
    of_well: Int[np.ndarray, " p"]


class Matrices(NamedTuple):
    """The coefficients. An edge leads from a cell to one that it flows into; M, N and B have entries there.

    Attributes:
        beta: weight of the oil's equation of a cell in the sum.
        a: diagonal of A.
        a_left: of A, in the row of a face's left cell and the column of its right one.
        a_right: the other way round.
        c: diagonal of C.
        c_row: of C, in the row of a cell, the columns of its neighbours.
        c_column: in its column, their rows.
        b: diagonal of B.
        m: of M.
        n: of N.
        begins: of the edges that leave each cell, and the end of the last's.
        down: where they lead.
        b_down: minus the entry of B in the lower cell's row.
        m_down: of M.
        n_down: of N.
        well_t: of each perforation, in the sum's row of the cell and the well's column.
        well_w: in the water's row.
        rate_p: in the well's row and the column of the cell's pressure.
        rate_s: of its saturation.
        well: diagonal of the wells' equations.
    """

    beta: Cells
    a: Cells
    a_left: Faces
    a_right: Faces
    c: Cells
    c_row: Float[np.ndarray, " 2f"]
    c_column: Float[np.ndarray, " 2f"]
    b: Cells
    m: Cells
    n: Cells
    begins: Int[np.ndarray, " n+1"]
    down: Int[np.ndarray, " e"]
    b_down: Edges
    m_down: Edges
    n_down: Edges
    well_t: Perforations
    well_w: Perforations
    rate_p: Perforations
    rate_s: Perforations
    well: Float[np.ndarray, " w"]


@compiled
def matrices(
    network: Network,
    accumulation: Float[np.ndarray, "2 2 n"],
    of_left: Float[np.ndarray, "2 2 f"],
    of_right: Float[np.ndarray, "2 2 f"],
    perforation: Float[np.ndarray, "2 3 p"],
    control_bhp: Float[np.ndarray, " w"],
    control_rates: Float[np.ndarray, "w 2"],
) -> Matrices:
    """From the blocks of a Jacobian; M has NaN where a flux depends on the saturations on both sides."""
    left, right = network.left, network.right
    n_cells, n_faces, n_perforations = accumulation.shape[2], len(left), len(network.place)
    beta = -accumulation[0, 1] / accumulation[1, 1]
    a, c = accumulation[0, 0] + beta * accumulation[1, 0], accumulation[0, 0].copy()
    b, m, n = np.zeros(n_cells), accumulation[0, 1].copy(), np.zeros(n_cells)
    a_left, a_right = np.empty(n_faces), np.empty(n_faces)
    begins = np.zeros(n_cells + 1, np.int64)
    for f in range(n_faces):
        i, j = left[f], right[f]
        a[i] += of_left[0, 0, f] + beta[i] * of_left[1, 0, f]
        a[j] -= of_right[0, 0, f] + beta[j] * of_right[1, 0, f]
        a_left[f] = of_right[0, 0, f] + beta[i] * of_right[1, 0, f]
        a_right[f] = -of_left[0, 0, f] - beta[j] * of_left[1, 0, f]
        c[i] += of_left[0, 0, f]
        c[j] -= of_right[0, 0, f]
        begins[1 + i] += _leaves(of_left, f)
        begins[1 + j] += _leaves(of_right, f)
    begins = np.cumsum(begins)
    n_edges = begins[n_cells]
    down, place = np.empty(n_edges, np.int64), begins[:n_cells].copy()
    b_down, m_down, n_down = np.empty(n_edges), np.empty(n_edges), np.empty(n_edges)
    for f in range(n_faces):
        from_left, from_right = _leaves(of_left, f), _leaves(of_right, f)
        if not (from_left or from_right):
            continue
        if from_left:
            i, j, w_p, o_p = left[f], right[f], of_left[0, 0, f], of_left[1, 0, f]
            w_s, o_s = of_left[0, 1, f], of_left[1, 1, f]
        else:
            i, j, w_p, o_p = right[f], left[f], -of_right[0, 0, f], -of_right[1, 0, f]
            w_s, o_s = -of_right[0, 1, f], -of_right[1, 1, f]
        e, t_s = place[i], w_s + beta[i] * o_s
        place[i] += 1
        down[e] = j
        n_down[e] = _share(w_p, beta[i] * o_p) * t_s
        m_down[e] = w_s - n_down[e]
        b_down[e] = w_s + beta[j] * o_s
        n[i] += n_down[e]
        m[i] += m_down[e] if not (from_left and from_right) else np.nan
        b[i] += t_s
    c_row, c_column = np.empty(2 * n_faces), np.empty(2 * n_faces)
    for i in range(n_cells):
        for e in range(network.begins[i], network.begins[i + 1]):
            f = network.through[e]
            if left[f] == i:
                c_row[e], c_column[e] = of_right[0, 0, f], -of_left[0, 0, f]
            else:
                c_row[e], c_column[e] = -of_left[0, 0, f], of_right[0, 0, f]
    well_t, well_w = np.empty(n_perforations), np.empty(n_perforations)
    rate_p, rate_s = np.empty(n_perforations), np.empty(n_perforations)
    well = control_bhp.copy()
    for q in range(n_perforations):
        i, w = network.place[q], network.of_well[q]
        w_p, w_s, w_bhp = perforation[0, 0, q], perforation[0, 1, q], perforation[0, 2, q]
        o_p, o_s, o_bhp = perforation[1, 0, q], perforation[1, 1, q], perforation[1, 2, q]
        by_water, by_oil = control_rates[w, 0], control_rates[w, 1]
        t_s = w_s + beta[i] * o_s
        of_n = _share(w_p, beta[i] * o_p) * t_s
        a[i] -= w_p + beta[i] * o_p
        b[i] -= t_s
        c[i] -= w_p
        m[i] -= w_s - of_n
        n[i] -= of_n
        well_t[q], well_w[q] = -w_bhp - beta[i] * o_bhp, -w_bhp
        rate_p[q], rate_s[q] = by_water * w_p + by_oil * o_p, by_water * w_s + by_oil * o_s
        well[w] += by_water * w_bhp + by_oil * o_bhp
    return Matrices(beta, a, a_left, a_right, c, c_row, c_column, b, m, n, begins, down, b_down, m_down, n_down,
                    well_t, well_w, rate_p, rate_s, well)  # fmt: skip


@compiled
def _leaves(of_cell: Float[np.ndarray, "2 2 f"], f: int) -> bool:
    """Whether what flows through a face follows the saturation of that cell."""
    return bool(of_cell[0, 1, f] != 0.0 or of_cell[1, 1, f] != 0.0)


@compiled
def _share(water: float, oil: float) -> float:
    """Of water in the flow."""
    total = water + oil
    return water / total if total != 0.0 else 0.0


@compiled
def flow_order(of: Matrices) -> Int[np.ndarray, " ordered"]:
    """Cells in an order that has each behind all that flow into it (Kahn 1962); those in circles are left out."""
    n_cells, last = len(of.m), 0
    order, waiting = np.empty(n_cells, np.int64), np.zeros(n_cells, np.int64)
    for e in range(len(of.down)):
        waiting[of.down[e]] += 1
    for i in range(n_cells):
        if waiting[i] == 0:
            order[last] = i
            last += 1
    first = 0
    while first < last:
        i = order[first]
        first += 1
        for e in range(of.begins[i], of.begins[i + 1]):
            j = of.down[e]
            waiting[j] -= 1
            if waiting[j] == 0:
                order[last] = j
                last += 1
    return order[:last]


@compiled
def solve_transposed(
    g_t: Columns,
    g_s: Columns,
    g_w: WellColumns,
    network: Network,
    slices: Slices,
    of: Matrices,
    order: Int[np.ndarray, " n"],
    factor: Factor,
    wells: Border,
    tolerance: float,
    max_iterations: int,
) -> tuple[Columns, Columns, WellColumns, int]:
    """Multipliers of the sum's, the water's and the wells' equations, and iterations; 0 where they were too few.

    The fixed point is y = g_s - N^T lam_w - B^T lam_t with lam_w = M^-T y, lam_t = A^-T (g_t - C^T lam_w), whose
    residual is also that of the equations of saturation, the only ones that do not hold.
    """
    y, last = g_s.copy(), g_s.copy()
    residual, lam_w, lam_t, mu = np.zeros_like(y), np.empty_like(y), np.empty_like(y), np.empty_like(g_w)
    memory, sums = np.zeros(y.shape[1]), np.zeros((4, y.shape[1]))
    for iteration in range(1, max_iterations + 1):
        _upstream(of, order, y, last, memory, lam_w)
        _less_c(g_t, of.c, network.begins, network.neighbours, of.c_column, lam_w, lam_t)
        mu[:] = g_w
        for q in range(len(network.place)):
            mu[network.of_well[q]] -= of.well_w[q] * lam_w[network.place[q]]
        eliminate(slices, factor, True, lam_t)
        add_wells(network.place, network.of_well, wells, lam_t, mu)
        _couple(network, of, g_s, lam_w, lam_t, mu, y, last, memory, residual, ROUND_OFF / tolerance, sums)
        y, last = last, y
        if _has_ended(sums, tolerance, memory, iteration):
            return lam_t, lam_w, mu, iteration
    return lam_t, lam_w, mu, 0


@compiled
def _upstream(
    of: Matrices, order: Int[np.ndarray, " n"], y: Columns, last: Columns, memory: Float[np.ndarray, " m"], x: Columns
) -> None:
    """x = M^-T (y - memory (y - last)), from the last cell in flow order to the first."""
    n_columns = y.shape[1]
    row = np.empty(n_columns)
    for q in range(len(order) - 1, -1, -1):
        i = order[q]
        for k in range(n_columns):
            row[k] = y[i, k] - memory[k] * (y[i, k] - last[i, k])
        for e in range(of.begins[i], of.begins[i + 1]):
            j, f = of.down[e], of.m_down[e]
            for k in range(n_columns):
                row[k] += f * x[j, k]
        f = 1.0 / of.m[i]
        for k in range(n_columns):
            x[i, k] = f * row[k]


@compiled
def _less_c(
    g: Columns,
    c: Cells,
    begins: Int[np.ndarray, " n+1"],
    neighbours: Int[np.ndarray, " 2f"],
    entries: Float[np.ndarray, " 2f"],
    x: Columns,
    y: Columns,
) -> None:
    """y = g - C x, or with the transpose of C if the entries are those of its columns."""
    n_columns = x.shape[1]
    for i in range(len(c)):
        f = c[i]
        for k in range(n_columns):
            y[i, k] = g[i, k] - f * x[i, k]
        for e in range(begins[i], begins[i + 1]):
            j, f = neighbours[e], entries[e]
            for k in range(n_columns):
                y[i, k] -= f * x[j, k]


@compiled
def _couple(
    network: Network,
    of: Matrices,
    g: Columns,
    lam_w: Columns,
    lam_t: Columns,
    mu: WellColumns,
    y: Columns,
    last: Columns,
    memory: Float[np.ndarray, " m"],
    residual: Columns,
    round_off: float,
    sums: Float[np.ndarray, "4 m"],
) -> None:
    """The next y in the place of the last but one, its residual and, by the diagonal of M, the sums of `_has_ended`."""
    n_columns, q = g.shape[1], 0
    row = np.empty(n_columns)
    rr, rd, dd, yy = np.zeros(n_columns), np.zeros(n_columns), np.zeros(n_columns), np.zeros(n_columns)
    for i in range(len(of.m)):
        f_n, f_b = of.n[i], of.b[i]
        for k in range(n_columns):
            row[k] = g[i, k] - f_n * lam_w[i, k] - f_b * lam_t[i, k]
        for e in range(of.begins[i], of.begins[i + 1]):
            j, f_n, f_b = of.down[e], of.n_down[e], of.b_down[e]
            for k in range(n_columns):
                row[k] += f_n * lam_w[j, k] + f_b * lam_t[j, k]
        while q < len(network.place) and network.place[q] == i:
            for k in range(n_columns):
                row[k] -= of.rate_s[q] * mu[network.of_well[q], k]
            q += 1
        f = 1.0 / of.m[i]
        floor = f * of.b[i] * round_off
        for k in range(n_columns):
            r = row[k] - (y[i, k] - memory[k] * (y[i, k] - last[i, k]))
            change = f * (r - residual[i, k])
            residual[i, k] = r
            last[i, k] = row[k]
            r *= f
            rr[k] += r * r
            rd[k] += r * change
            dd[k] += change * change
            yy[k] += (f * row[k]) ** 2 + (floor * lam_t[i, k]) ** 2
    sums[0], sums[1], sums[2], sums[3] = rr, rd, dd, yy


@compiled
def _has_ended(
    sums: Float[np.ndarray, "4 m"], tolerance: float, memory: Float[np.ndarray, " m"], iteration: int
) -> bool:
    """Whether all columns have converged, or one is lost; else what each is to keep of its last value.

    From |r|^2, r^T d, |d|^2 and |y|^2, r being the residual and d its last change: Anderson's (1965) acceleration
    with one step of memory.
    """
    has_converged, is_lost = True, False
    for k in range(len(memory)):
        rr, rd, dd, yy = sums[0, k], sums[1, k], sums[2, k], sums[3, k]
        memory[k] = rd / dd if iteration > 1 and dd > 0.0 else 0.0
        has_converged &= rr <= tolerance * tolerance * yy
        is_lost |= not np.isfinite(rr + yy)
    return bool(has_converged or is_lost)


@compiled
def solve(
    r_t: Columns,
    r_w: Columns,
    r_b: WellColumns,
    network: Network,
    slices: Slices,
    of: Matrices,
    order: Int[np.ndarray, " n"],
    factor: Factor,
    wells: Border,
    tolerance: float,
    max_iterations: int,
) -> tuple[Columns, Columns, WellColumns, int]:
    """Pressures, saturations, bottom-hole pressures, and iterations; 0 where they were too few.

    The fixed point is s = M^-1 (r_w - C p - N s) with p = A^-1 (r_t - B s).
    """
    n_cells, n_columns = r_w.shape
    s, last, residual, p = np.zeros_like(r_w), np.zeros_like(r_w), np.zeros_like(r_w), np.empty_like(r_w)
    new, bhp, memory, sums = np.empty_like(r_w), np.empty_like(r_b), np.zeros(n_columns), np.zeros((4, n_columns))
    for iteration in range(1, max_iterations + 1):
        _less_out(of, r_t, of.b, of.b_down, s, p)
        bhp[:] = r_b
        for q in range(len(network.place)):
            bhp[network.of_well[q]] -= of.rate_s[q] * s[network.place[q]]
        eliminate(slices, factor, False, p)
        add_wells(network.place, network.of_well, wells, p, bhp)
        _less_c(r_w, of.c, network.begins, network.neighbours, of.c_row, p, new)
        for q in range(len(network.place)):
            new[network.place[q]] -= of.well_w[q] * bhp[network.of_well[q]]
        _less_out(of, new, of.n, of.n_down, s, new)
        _downstream(of, order, new)
        sums[:] = 0.0
        for i in range(n_cells):
            floor = of.c[i] / of.m[i] * ROUND_OFF / tolerance
            for k in range(n_columns):
                r = new[i, k] - s[i, k]
                change = r - residual[i, k]
                residual[i, k] = r
                sums[0, k] += r * r
                sums[1, k] += r * change
                sums[2, k] += change * change
                sums[3, k] += new[i, k] ** 2 + (floor * p[i, k]) ** 2
        if _has_ended(sums, tolerance, memory, iteration):
            return p, s, bhp, iteration
        for i in range(n_cells):
            for k in range(n_columns):
                s[i, k] = new[i, k] - memory[k] * (new[i, k] - last[i, k])
        new, last = last, new
    return p, s, bhp, 0


@compiled
def _less_out(of: Matrices, g: Columns, diagonal: Cells, down: Edges, s: Columns, y: Columns) -> None:
    """y = g - B s or g - N s; y may be g."""
    n_columns = s.shape[1]
    for i in range(len(diagonal)):
        f = diagonal[i]
        for k in range(n_columns):
            y[i, k] = g[i, k] - f * s[i, k]
    for i in range(len(diagonal)):
        for e in range(of.begins[i], of.begins[i + 1]):
            j, f = of.down[e], down[e]
            for k in range(n_columns):
                y[j, k] += f * s[i, k]


@compiled
def _downstream(of: Matrices, order: Int[np.ndarray, " n"], s: Columns) -> None:
    """M^-1 s in the place of s, from the first cell in flow order to the last."""
    n_columns = s.shape[1]
    for q in range(len(order)):
        i = order[q]
        f = 1.0 / of.m[i]
        for k in range(n_columns):
            s[i, k] *= f
        for e in range(of.begins[i], of.begins[i + 1]):
            j, f = of.down[e], of.m_down[e]
            for k in range(n_columns):
                s[j, k] += f * s[i, k]
