from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.numbering import in_order
from rockbank.data.scans.reader import open_scan

SLICE = np.random.default_rng(0).integers(0, 200, (40, 48)).astype(np.uint8)


def ordered(*names: str, allow_gaps: bool = False) -> list[str]:
    return [file.name for file in in_order(Path("scan"), [Path(name) for name in names], allow_gaps=allow_gaps)]


def test_numbers_are_read_as_numbers_whatever_the_letters_case() -> None:
    assert ordered("a9.tif", "A10.tif", "a8.TIF") == ["a8.TIF", "a9.tif", "A10.tif"]
    assert ordered("b.tif", "C.tif", "a.tif") == ["a.tif", "b.tif", "C.tif"]


def test_a_minus_is_a_sign_where_it_is_no_hyphen() -> None:
    assert ordered("z_-1.tif", "z_-2.tif", "z_0.tif", "z_1.tif") == ["z_-2.tif", "z_-1.tif", "z_0.tif", "z_1.tif"]
    assert ordered("z=-1.tif", "z=-2.tif") == ["z=-2.tif", "z=-1.tif"]
    assert ordered("z-1.tif", "z0.tif", "z1.tif") == ["z-1.tif", "z0.tif", "z1.tif"]
    assert ordered("scan-1.tif", "scan-2.tif", "scan-3.tif") == ["scan-1.tif", "scan-2.tif", "scan-3.tif"]


@given(st.lists(st.integers(-9999, 9999), min_size=2, unique=True), st.sampled_from(["", "0", "04"]))
def test_names_are_in_the_order_of_their_numbers(numbers: list[int], width: str) -> None:
    names = [f"z_{number:{width}d}.tif" for number in numbers]
    assert ordered(*names, allow_gaps=True) == [f"z_{number:{width}d}.tif" for number in sorted(numbers)]


def test_a_gap_is_named_and_accepted_only_where_the_option_says_so() -> None:
    names = ["s_000.tif", "s_001.tif", "s_002.tif", "s_007.tif", "s_008.tif"]
    with pytest.raises(
        VolumeError, match=r"missing between s_002\.tif and s_007\.tif; complete them, or .*--allow-gaps"
    ):
        ordered(*names)
    assert ordered(*names, allow_gaps=True) == names
    assert ordered("s_0.tif", "s_50.tif", "s_100.tif") == ["s_0.tif", "s_50.tif", "s_100.tif"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["r_000.png", "r_000.tif", "r_001.tif"], r"twice: r_000\.png and r_000\.tif"),
        (["r_1.tif", "r_01.tif", "r_2.tif"], r"twice: r_01\.tif and r_1\.tif"),
        (["R_1.tif", "r_1.tif", "r_2.tif"], r"twice: R_1\.tif and r_1\.tif"),
        (["a.png", "A.tif"], r"twice: A\.tif and a\.png"),
        (["r1_001.tif", "r2_001.tif", "r1_002.tif"], r"twice: r1_001\.tif and r2_001\.tif"),
        (["r1_002.tif", "r2_001.tif"], "several numbers, which give different orders"),
        (["r_001.tif", "r_002.tif", "preview.tif"], r"not numbered alike: preview\.tif"),
    ],
)
def test_names_whose_order_is_doubtful_are_refused(names: list[str], says: str) -> None:
    with pytest.raises(VolumeError, match=says):
        ordered(*names, allow_gaps=True)


def test_blocks_of_a_folder_are_read_alone(tmp_path) -> None:
    for i in range(6):
        np.save(tmp_path / f"s{i}.npy", SLICE + np.uint8(i))
    with open_scan(tmp_path) as source:
        assert source.shape == (6, 40, 48)
        assert np.array_equal(source.read(2, 4), np.stack([SLICE + np.uint8(2), SLICE + np.uint8(3)]))
