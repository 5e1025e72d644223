"""An ensemble's array in a case file: its axes and its unit are said, and none is guessed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rockbank.core.errors import InputError
from rockbank.flow.casefile.file import load_case
from rockbank.flow.units import MILLIDARCY
from rockbank.matching.io.parameters.fields import EnsembleSection

CASE = """
title: A cube
grid: {shape: [3, 3, 3], spacing: [20, 20, 5]}
rock: {permeability: 100 mD, porosity: 0.2, compressibility: 1e-9}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells: {PROD: {kind: producer, cells: {i: 2, j: 2, k: 0..2}}}
schedule: {steps: [86400], controls: {PROD: {bhp: 150 bar}}}
initial: {pressure: 200 bar, saturation: 0.2}
"""
# Members, then i, j, k; as many along each axis, so that shapes say nothing.
VALUES = 100 + np.arange(81.0).reshape(3, 3, 3, 3)


def arrays(folder: Path, **keys: Any) -> np.ndarray:
    """What a section reads, with the ensemble as an array of numpy and of NetCDF, k j i and members last."""
    (folder / "case.yaml").write_text(CASE)
    np.save(folder / "e.npy", VALUES)
    np.save(folder / "turned.npy", VALUES.transpose(3, 2, 1, 0))
    np.save(folder / "rows.npy", VALUES.transpose(0, 3, 2, 1).reshape(3, 27))
    turned = xr.DataArray(VALUES.transpose(3, 2, 1, 0), dims=("k", "j", "i", "member"))
    variables = {"plain": turned, "k_si": turned.assign_attrs(units="m2"), "k_md": turned.assign_attrs(units="mD")}
    xr.Dataset(variables).to_netcdf(folder / "e.nc", engine="h5netcdf")
    section = EnsembleSection(components=2, **keys)
    (found,) = section.arrays(load_case(folder / "case.yaml"), folder)
    return found


@pytest.mark.parametrize(
    "keys",
    [
        {"file": "e.npy", "unit": "mD"},
        {"file": "rows.npy", "unit": "mD"},
        {"file": "turned.npy", "unit": "mD", "axes": ("k", "j", "i", "member")},
        {"file": "e.nc:plain", "unit": "mD", "axes": ("k", "j", "i", "member")},
        {"file": "e.nc:k_md", "axes": ("k", "j", "i", "member")},
        {"file": "e.nc:k_md", "unit": "mD", "axes": ("k", "j", "i", "member")},
    ],
)
def test_an_ensemble_is_read_along_the_axes_and_in_the_unit_that_are_said(keys: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_allclose(arrays(tmp_path, **keys), VALUES.reshape(3, 27) * MILLIDARCY, rtol=1e-12)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"file": "e.nc:plain"}, "axes: give those of a NetCDF variable, such as [member, k, j, i]"),
        ({"file": "e.nc:plain", "axes": ("k", "j", "i")}, "its axes are ['member', 'i', 'j', 'k'] in some order"),
        ({"file": "e.npy", "axes": ("member", "i", "j", "j")}, "its axes are ['member', 'i', 'j', 'k'] in some order"),
        ({"file": "rows.npy", "axes": ("member", "i", "j", "k")}, "its axes are ['member', 'i', 'j', 'k']"),
        ({"file": "e.nc:k_si", "unit": "mD", "axes": ("k", "j", "i", "member")}, "is in 'm2', got unit: 'mD'"),
    ],
)
def test_axes_and_units_that_do_not_fit_are_refused(keys: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        arrays(tmp_path, **keys)
