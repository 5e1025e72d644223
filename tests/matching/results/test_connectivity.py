"""Connections of wells on sections made by hand: # is sand."""

import numpy as np
import pytest

from rockbank.matching.results.connectivity import is_connected

CONNECTED = (".......", "###.###", "..###..", ".......")
DIAGONAL = ("....", "##..", "..##", "....")


def section(rows: tuple[str, ...]) -> np.ndarray:
    """Facies probability, 0.9 in sand and 0.1 outside."""
    return np.array([[0.9 if cell == "#" else 0.1 for cell in row] for row in rows])


def column(i: int, n: int) -> np.ndarray:
    """All cells of a column."""
    return np.stack([np.arange(n), np.full(n, i)], axis=1)


def connects(rows: tuple[str, ...], n_dilations: int = 0) -> bool:
    """From the first column to the last."""
    field = section(rows)
    wells = column(0, len(rows)), column(field.shape[1] - 1, len(rows))
    return bool(is_connected(field[None], *wells, n_dilations)[0])


def test_path_of_sand_connects() -> None:
    assert connects(CONNECTED)


def test_cells_that_touch_at_corners_do_not_connect_until_they_grow() -> None:
    assert not connects(DIAGONAL)
    assert connects(DIAGONAL, 1)


@pytest.mark.parametrize(("gap", "closes"), [(1, True), (2, True), (3, False)])
def test_one_dilation_closes_gaps_of_up_to_two_cells(gap: int, closes: bool) -> None:
    rows = (".." + "." * gap + "..", "##" + "." * gap + "##", ".." + "." * gap + "..")
    assert not connects(rows)
    assert connects(rows, 1) is closes


def test_sand_that_reaches_one_well_only_does_not_connect() -> None:
    assert not connects(("#####.", "......"))
    assert not connects((".####.", "......"))


def test_two_bodies_one_at_each_well_do_not_connect() -> None:
    assert not connects(("####.....", ".....####", "........."))


def test_sand_beside_the_perforations_does_not_count() -> None:
    field = section(("####", "....", "...."))[None]
    low, high = np.array([[2, 0]]), np.array([[0, 0]])
    assert not is_connected(field, low, np.array([[0, 3]]))[0]
    assert is_connected(field, high, np.array([[0, 3]]))[0]


def test_any_injector_with_any_producer_connects() -> None:
    field = section(("##..", "....", ".###"))[None]
    producers = np.array([[0, 3], [2, 3]])
    assert is_connected(field, np.array([[0, 0], [2, 1]]), producers)[0]
    assert not is_connected(field, np.array([[0, 0]]), producers)[0]


def test_flips_and_swapped_wells_change_nothing() -> None:
    rng = np.random.default_rng(0)
    fields = rng.uniform(size=(60, 8, 8)) ** 0.75
    ends = column(0, 8), column(7, 8)
    found = is_connected(fields, *ends)
    assert 10 < found.sum() < 50
    assert np.array_equal(is_connected(fields[:, ::-1], *ends), found)
    assert np.array_equal(is_connected(fields[:, :, ::-1], *ends), found)
    assert np.array_equal(is_connected(fields, *ends[::-1]), found)


def test_dilation_never_disconnects() -> None:
    fields = np.random.default_rng(1).uniform(size=(60, 8, 8))
    ends = column(0, 8), column(7, 8)
    before, after = is_connected(fields, *ends), is_connected(fields, *ends, 1)
    assert (before <= after).all()
    assert before.sum() < after.sum()
