import numpy as np
import pytest

from rockbank.rock.percolation import are_columns_connected


def phase(*rows: str) -> np.ndarray:
    """A section, its phase drawn as #."""
    return np.array([[cell == "#" for cell in row] for row in rows])


def test_a_path_by_faces_connects_two_columns_and_a_corner_does_not() -> None:
    around = phase("#....", "##.##", ".###.")
    corner = phase("##...", "..###", ".....")
    assert are_columns_connected(np.stack([around, corner]), 0, 4).tolist() == [True, False]


def test_two_clusters_with_a_cell_in_one_column_each_connect_nothing() -> None:
    assert are_columns_connected(phase("##.##", "##.##", "#####")[None, :2], 0, 4).tolist() == [False]


def test_the_rest_of_the_rock_connects_nothing() -> None:
    assert are_columns_connected(phase(".....", "..#..", ".....")[None], 0, 4).tolist() == [False]


def test_samples_do_not_touch_each_other() -> None:
    left, right = phase("###..", "....."), phase("..###", ".....")
    assert not are_columns_connected(np.stack([left, right, left]), 0, 4).any()


def test_a_column_outside_the_section_is_refused() -> None:
    with pytest.raises(ValueError, match="column: got 5; the section has columns 0 to 4"):
        are_columns_connected(phase(".....")[None], 0, 5)
