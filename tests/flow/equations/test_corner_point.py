"""Corner-point grids: volumes, areas and who touches whom, against boxes and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rockbank.flow.equations.corner_point import CornerPointGrid, corners_of, pillars_of, volumes
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock, pore_volume, transmissibility

SIZES = ([10.0, 20.0, 30.0], [5.0, 8.0], [2.0, 3.0, 4.0])
ROUND_OFF = 1e-12


def grid_of(
    depth: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None, **keywords: object
) -> CornerPointGrid:
    """SIZES, with the corners' depths as a function of x, y, depth and the cell's number along x."""
    edges = [np.concatenate([[0.0], np.cumsum(sizes)]) for sizes in SIZES]
    shape = tuple(len(sizes) for sizes in SIZES)
    corners = np.empty((*shape, 2, 2, 2, 3))
    for at in np.ndindex(2, 2, 2):
        parts = np.meshgrid(*(edge[a : len(edge) - 1 + a] for edge, a in zip(edges, at, strict=True)), indexing="ij")
        corners[(..., *at, slice(None))] = np.stack(parts, axis=-1)
    if depth is not None:
        i = np.arange(shape[0])[:, None, None, None, None, None]
        corners[..., 2] = depth(corners[..., 0], corners[..., 1], corners[..., 2], i)
    return CornerPointGrid(shape=shape, spacing=SIZES, corners=corners, **keywords)  # type: ignore[arg-type]


def rock_of(grid: Grid) -> Rock:
    rng = np.random.default_rng(1)
    k = [torch.as_tensor(rng.uniform(1e-14, 1e-12, grid.shape)) for _ in range(3)]
    return Rock(grid=grid, permeability=k, porosity=torch.full(grid.shape, 0.2, dtype=torch.float64))


def test_boxes_by_their_corners_are_boxes() -> None:
    grid, box = grid_of(), Grid(shape=(3, 2, 3), spacing=SIZES)
    assert grid.is_structured
    for name in ("volume", "depth", "cell_sizes"):
        np.testing.assert_allclose(getattr(grid, name), getattr(box, name), rtol=ROUND_OFF)
    order, wanted = (np.lexsort((*of.faces.T, of.face_axis)) for of in (grid, box))
    np.testing.assert_array_equal(grid.faces[order], box.faces[wanted])
    t, t_box = transmissibility(rock_of(grid))[0], transmissibility(rock_of(box))[0]
    torch.testing.assert_close(t[torch.as_tensor(order)], t_box[torch.as_tensor(wanted)], rtol=1e-12, atol=0)
    torch.testing.assert_close(pore_volume(rock_of(grid)), pore_volume(rock_of(box)), rtol=1e-12, atol=0)


def test_a_sheared_cell_keeps_its_volume() -> None:
    sheared = grid_of(lambda x, y, z, i: z + 0.3 * x + 0.1 * y)
    np.testing.assert_allclose(sheared.volume, grid_of().volume, rtol=ROUND_OFF)


def test_a_fault_shares_the_areas_of_its_sides_out() -> None:
    """Across a throw of 1 m at x = 10, layers of 2, 3 and 4 m overlap by 1, 1, 2, 1 and 3 m."""
    grid = grid_of(lambda x, y, z, i: z + np.where(i > 0, 1.0, 0.0))
    assert not grid.is_structured
    across = [(int(a), int(b), f) for f, (a, b) in enumerate(grid.faces)
              if grid.face_axis[f] == 0 and a < 6 and (a % 6) < 3]  # fmt: skip
    pairs = [(a, b - 6) for a, b, _ in across]
    assert pairs == [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)]
    # A of width 5 m by the half-cells' 5 and 10 m; the sides lie 1 m apart in depth, but not along x.
    areas = [5.0 * overlap for overlap in (1, 1, 2, 1, 3)]
    np.testing.assert_allclose(grid.half_factors[[f for *_, f in across]], [[a / 5, a / 10] for a in areas], rtol=1e-12)
    only_neighbours = grid_of(lambda x, y, z, i: z + np.where(i > 0, 1.0, 0.0), has_nnc=False)
    assert only_neighbours.is_structured
    assert len(only_neighbours.faces) == len(grid.faces) - 4


def test_an_overlap_of_slanted_faces_is_their_common_area() -> None:
    """Of a throw that grows along y from 0 to 2 m, the layer of 2 m keeps a triangle: half its face of 5 x 2 m."""
    grid = grid_of(lambda x, y, z, i: z + np.where(i > 0, 0.4 * np.minimum(y, 5.0), 0.0))
    first = np.flatnonzero((grid.faces == [0, 6]).all(axis=1))
    assert grid.half_factors[first[0], 0] == pytest.approx(5.0 / 5.0, rel=1e-12)


@pytest.mark.parametrize(("pinch", "touches"), [(None, False), (0.5, False), (3.0, True)])
def test_cells_touch_across_a_pinched_layer_where_they_are_to(pinch: float | None, touches: bool) -> None:
    active = np.ones((3, 2, 3), dtype=bool)
    active[1, 0, 1] = False
    grid = grid_of(active=active, pinch=pinch)
    above, below = grid.number[1, 0, 0], grid.number[1, 0, 2]
    assert bool((grid.faces == [above, below]).all(axis=1).any()) is touches
    assert grid.is_structured is not touches


@pytest.mark.parametrize(
    ("has_corners", "pinch", "touches"), [(True, 0.5, True), (True, None, True), (False, 0.5, False)]
)
def test_a_cell_that_is_passed_holds_nothing_apart(has_corners: bool, pinch: float | None, touches: bool) -> None:
    active = np.ones((3, 2, 3), dtype=bool)
    active[1, 0, 1] = False
    corners = grid_of().corners.copy()
    if not has_corners:
        corners[1, 0, 1] = np.nan
    grid = CornerPointGrid(
        shape=(3, 2, 3),
        spacing=SIZES,
        corners=corners,
        active=active,
        pinch=pinch,
        is_passed=~active if has_corners else None,
    )
    above, below = grid.number[1, 0, 0], grid.number[1, 0, 2]
    assert bool((grid.faces == [above, below]).all(axis=1).any()) is touches
    # What has no corners spoils no other column, nor what lies above and below by its own thickness.
    wide = CornerPointGrid(shape=(3, 2, 3), spacing=SIZES, corners=corners, active=active, pinch=3.0)
    assert bool((wide.faces == [above, below]).all(axis=1).any())


def test_pillars_and_depths_of_a_deck_are_corners() -> None:
    coord = np.array([[[x, y, 0.0, x + 1.0, y, 10.0] for x in (0.0, 10.0)] for y in (0.0, 5.0)])
    zcorn = np.array([[[2.0, 2.0], [2.0, 2.0]], [[6.0, 6.0], [6.0, 6.0]]])
    corners = corners_of(coord, zcorn)
    # The pillars lean by 1 m in 10 m.
    np.testing.assert_allclose(corners[0, 0, 0, 1, 0, 1], [10.6, 0.0, 6.0])
    assert volumes(corners)[0, 0, 0] == pytest.approx(200.0, rel=1e-12)


def test_a_grid_of_cells_without_volume_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grid: cell \(0, 0, 0\) and 17 more have no volume; switch them off"):
        grid_of(lambda x, y, z, i: -z)


def test_corners_come_back_from_their_pillars() -> None:
    corners = grid_of(lambda x, y, z, i: z + 0.3 * x + np.where(i > 0, 1.0, 0.0)).corners
    np.testing.assert_allclose(corners_of(*pillars_of(corners)), corners, rtol=1e-12)
