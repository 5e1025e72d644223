"""A grid counts its cells and faces, and says where they are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rockbank.flow.equations.grid import Grid

SPACING = (4.0, 5.0, 10.0)


def grid(shape=(3, 4), spacing=SPACING, **keywords):
    return Grid(shape=shape, spacing=spacing, **keywords)


@st.composite
def grids(draw):
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    active = draw(hnp.arrays(bool, shape))
    active[0, 0, 0] = True
    return grid(shape=shape, active=active)


@settings(deadline=None, max_examples=30)
@given(grids())
def test_every_pair_of_touching_active_cells_has_one_face(some):
    place = np.argwhere(some.is_active)
    touching = {
        (a, b) for a in range(len(place)) for b in range(a + 1, len(place)) if np.abs(place[a] - place[b]).sum() == 1
    }
    faces = [tuple(face) for face in some.faces.tolist()]
    assert len(faces) == len(set(faces))
    assert set(faces) == touching


@settings(deadline=None, max_examples=30)
@given(grids())
def test_a_face_is_crossed_along_its_axis_from_the_lesser_cell(some):
    place = np.argwhere(some.is_active)
    left, right = some.faces.T
    np.testing.assert_array_equal(place[right] - place[left], np.eye(3, dtype=int)[some.face_axis])


@settings(deadline=None, max_examples=30)
@given(grids())
def test_a_number_finds_its_place_and_back(some):
    for number, place in enumerate(np.argwhere(some.is_active)):
        assert some.cell(tuple(place)) == number
        assert some.number[tuple(place)] == number
    assert (some.number >= 0).sum() == some.n_cells == len(some.cells)


def test_cells_are_counted_as_a_c_array():
    assert grid().cell((1, 2)) == 1 * 4 + 2
    assert grid(shape=(3, 4, 5)).cell((1, 2, 3)) == (1 * 4 + 2) * 5 + 3


def test_a_grid_of_two_axes_is_one_layer():
    flat, layered = grid((3, 4)), grid((3, 4, 1))
    for name in ("faces", "face_axis", "cells", "volume", "depth", "number", "cell_sizes"):
        np.testing.assert_array_equal(getattr(flat, name), getattr(layered, name))


def test_volumes_add_up_to_the_box():
    some = grid((2, 3, 2), spacing=((1.0, 2.0), (3.0, 4.0, 5.0), (6.0, 7.0)))
    assert some.volume.sum() == pytest.approx(3 * 12 * 13, rel=1e-15)
    assert some.volume[some.cell((1, 2, 0))] == 2 * 5 * 6


def test_depth_is_that_of_the_centres_and_grows_downwards():
    some = grid((1, 1, 3), spacing=(1.0, 1.0, (2.0, 4.0, 6.0)), top=1000.0)
    np.testing.assert_array_equal(some.depth, [1001.0, 1004.0, 1009.0])


def test_what_is_not_active_is_left_out_of_every_array():
    active = np.array([[True, False, True], [True, True, True]])
    some = grid((2, 3), spacing=((1.0, 2.0), (3.0, 4.0, 5.0), 1.0), active=active)
    assert some.n_cells == 5
    np.testing.assert_array_equal(some.volume, [3.0, 5.0, 6.0, 8.0, 10.0])
    assert some.faces.tolist() == [[0, 2], [1, 4], [2, 3], [3, 4]]


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"shape": (3,)}, r"got shape \(3,\); give 2 or 3"),
        ({"shape": (3, 0)}, r"got shape \(3, 0\)"),
        ({"spacing": (1.0, 1.0)}, "got 2 spacings; give metres along x, y and z"),
        ({"spacing": (1.0, -2.0, 1.0)}, "got spacing -2.0 m along y"),
        ({"spacing": (math.nan, 1.0, 1.0)}, "got spacing nan m along x"),
        ({"spacing": (1.0, 1.0, math.inf)}, "got spacing inf m along z"),
        ({"spacing": ((1.0, 2.0), 1.0, 1.0)}, "got 2 spacings along x; give 1, or 3"),
        ({"top": math.nan}, "got top nan m"),
        ({"active": np.ones((4, 3), dtype=bool)}, r"got active cells of shape \(4, 3\), 12 of them"),
        ({"active": np.zeros((3, 4), dtype=bool)}, "0 of them; give at least one"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        grid(**keywords)


@pytest.mark.parametrize("place", [(3, 0), (0, 4), (-1, 0), (0, 0, 0), (0,)])
def test_a_place_outside_is_refused(place):
    with pytest.raises(ValueError, match=r"is outside the grid of \(3, 4\) cells, numbered from 0"):
        grid().cell(place)


def test_a_place_that_is_not_active_is_refused():
    active = np.ones((3, 4), dtype=bool)
    active[1, 1] = False
    with pytest.raises(ValueError, match=r"cell \(1, 1\) is not active; take one that is"):
        grid(active=active).cell((1, 1))
