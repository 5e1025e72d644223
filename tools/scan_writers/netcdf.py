"""NetCDF by netCDF4, as Mango lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hdf5plugin  # noqa: F401  before netCDF4, behind whose HDF5 its Blosc fails
import netCDF4
import numpy as np

CLASSIC = ("int8", "int16", "int32", "float32", "float64")
# Of a kind of file, the types that it has.
TYPES = {
    "NETCDF3_CLASSIC": CLASSIC,
    "NETCDF3_64BIT_OFFSET": CLASSIC,
    "NETCDF4": (*CLASSIC, "uint8", "uint16", "uint32"),
    "NETCDF4_CLASSIC": CLASSIC,
}


def write(path: Path, voxels: np.ndarray, name: str = "tomo", format: str = "NETCDF4", **about: Any) -> None:
    """As Mango writes: axes named after the variable, and what is said of the volume as attributes of the file."""
    with netCDF4.Dataset(path, "w", format=format) as file:
        axes = [f"{name}_{axis}dim" for axis in "zyx"[-voxels.ndim :]]
        for axis, length in zip(axes, voxels.shape, strict=True):
            file.createDimension(axis, about.pop("n_slices", length) if axis[-4] == "z" else length)
        variable = file.createVariable(name, voxels.dtype, axes, **about.pop("stored", {}))
        for key in [key for key in about if key.startswith("of_")]:
            variable.setncattr(key[3:], about.pop(key))
        variable.set_auto_maskandscale(False)
        variable[: len(voxels)] = voxels
        file.setncatts(about)
