"""Real scans, written in each format by a writer that is not the reader's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.scans.reader import read_volume
from tools.scan_writers import amira, dicom, itk, matlab, netcdf, xradia, zarr

ROCKS = Path(__file__).parents[4] / "shared" / "data" / "rocks"
SCANS = ("shale_fibsem", "sandstone_microct")
WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "a.mha": itk.write_metaimage,
    "a.mhd": itk.write_metaimage,
    "a.nrrd": itk.write_nrrd,
    "a.nhdr": partial(itk.write_nrrd, encoding="raw"),
    "dicom": dicom.write_series,
    "a.nc": netcdf.write,
    "b.nc": partial(netcdf.write, name="segmented"),
    "c.nc": partial(netcdf.write, format="NETCDF3_64BIT_OFFSET", name="grey"),
    "a.mat": partial(matlab.write_mat5, is_compressed=True),
    "b.mat": matlab.write_mat73,
    "v2.zarr": partial(zarr.write_v2, chunks=(2, 256, 256)),
    "v3.zarr": partial(zarr.write_v3, chunks=(2, 256, 256)),
    "ome.zarr": partial(zarr.write_ome, version="0.5"),
    "a.txm": xradia.write,
    "a.am": amira.write,
    "b.am": partial(amira.write, coding="HxZip"),
}
pytestmark = pytest.mark.skipif(not ROCKS.is_dir(), reason="no real scans beside the repository (../shared/data/rocks)")


@pytest.fixture(params=SCANS, scope="module")
def voxels(request: pytest.FixtureRequest) -> np.ndarray:
    files = sorted((ROCKS / request.param).glob("*.tif"))[:4]
    return np.concatenate([read_volume(each) for each in files])[:, 200:712, 200:712]


@pytest.mark.parametrize("name", WRITERS)
def test_a_real_scan_comes_back_as_it_was_written(tmp_path, voxels: np.ndarray, name: str) -> None:
    stored = voxels.astype(np.int16) if name == "c.nc" else voxels  # a classic file has no unsigned types
    WRITERS[name](tmp_path / name, stored)
    assert np.array_equal(read_volume(tmp_path / name), voxels)
