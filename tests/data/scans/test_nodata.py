from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.nodata import FillSearch, is_nodata
from rockbank.data.scans.reader import open_scan, read_volume

ROCK = np.random.default_rng(0).normal(900, 40, (4, 40, 48))
LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, LOWEST, -3.4e38, 1e30, 9.96921e36, -9999, -999.25, -999])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_value_that_is_no_data_is_refused_with_its_count_and_place(tmp_path, dtype: str, value: float) -> None:
    scan = ROCK.astype(dtype)
    scan[2, 7:9, 11] = value
    tifffile.imwrite(tmp_path / "a.tif", scan, photometric="minisblack")
    spelt = "NaN" if np.isnan(value) else f"{np.dtype(dtype).type(value):.7g}"
    with pytest.raises(VolumeError) as error:
        read_volume(tmp_path / "a.tif")
    assert f"2 voxels are {spelt}, the first at slice 2, row 7, column 11" in str(error.value)


def test_all_that_is_no_data_is_named_at_once(tmp_path) -> None:
    scan = ROCK.astype("float32")
    scan[0, 0, 0], scan[1, 0, 0], scan[3, 1, 1] = np.nan, -9999, np.inf
    np.save(tmp_path / "a.npy", scan)
    with pytest.raises(VolumeError, match=r"voxels are inf.*NaN.*-9999"):
        read_volume(tmp_path / "a.npy")


def test_a_value_among_its_likes_is_a_grey_value(tmp_path) -> None:
    hounsfield = np.random.default_rng(1).integers(-1024, 3000, (2, 40, 48)).astype(np.int16)
    assert (hounsfield == -999).any()
    np.save(tmp_path / "a.npy", hounsfield)
    assert np.array_equal(read_volume(tmp_path / "a.npy"), hounsfield)
    hounsfield[hounsfield < 0] = -999
    np.save(tmp_path / "b.npy", hounsfield)
    with pytest.raises(VolumeError, match=r"voxels are -999, the first"):
        read_volume(tmp_path / "b.npy")


def test_blocks_give_what_the_whole_gives() -> None:
    scan = ROCK.astype("float32")
    scan[1, 2, 3] = scan[3, 4, 5] = np.nan
    scan[2, 0, 0] = -9999
    messages = []
    for length in (1, 3, 4):
        search = FillSearch(Path("a"), scan.dtype)
        for start in range(0, 4, length):
            search.add(scan[start : start + length], None, start)
        with pytest.raises(VolumeError) as error:
            search.refuse()
        messages.append(str(error.value))
    assert len(set(messages)) == 1


@pytest.mark.parametrize(
    ("value", "dtype", "n"),
    [(np.nan, "float32", 1), (-3.4e38, "float32", 1), (-9999, "int16", 1), (-1, "uint8", 0), (0.5, "int16", 0)],
)
def test_no_data_is_found_in_every_type(value: float, dtype: str, n: int) -> None:
    scan = np.full((1, 4, 4), 7, dtype)
    if n:
        scan[0, 1, 2] = LOWEST if value < -1e30 else value
    assert np.count_nonzero(is_nodata(scan, value)) == n


def test_gdals_tag_declares_no_data(tmp_path) -> None:
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "a.tif", ROCK[0].astype("float32"), extratags=tag, metadata=None)
    with open_scan(tmp_path / "a.tif") as source:
        assert source.nodata == -9999
