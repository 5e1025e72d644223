"""Standard deviations that a NetCDF file has for each of its values, as the CF conventions have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rockbank.matching.problem.observations import Observations
from tests.matching.io.test_files import BAR, CURVES, case, dataset, read

__all__ = ["case", "read"]
ERRORS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
OBSERVED = {"INJ": ["bhp"], "PROD": ["bhp"]}


def with_errors(errors: np.ndarray = ERRORS, **attributes: str) -> xr.Dataset:
    """The curves, with errors of the pressures in bar."""
    made = dataset()
    made["bhp_error"] = (("time", "well"), errors, {"standard_name": "bhp standard_error", "units": "bar"} | attributes)
    made["bhp"].attrs["ancillary_variables"] = "quality bhp_error"
    return made


def test_each_value_has_its_own(read: Callable[..., Observations], tmp_path: Path) -> None:
    with_errors().to_netcdf(tmp_path / "run.nc")
    found = read("run.nc", observed=OBSERVED)
    assert found.well == ("INJ",) * 3 + ("PROD",) * 3
    np.testing.assert_allclose(found.sigma, ERRORS.T.ravel() * BAR, rtol=1e-15)
    np.testing.assert_array_equal(found.value, CURVES["bhp"].T.ravel())


def test_without_a_unit_theirs_is_the_values(read: Callable[..., Observations], tmp_path: Path) -> None:
    made = with_errors(ERRORS * BAR)
    del made["bhp_error"].attrs["units"]
    made.to_netcdf(tmp_path / "run.nc")
    np.testing.assert_allclose(read("run.nc", observed=OBSERVED).sigma, ERRORS.T.ravel() * BAR, rtol=1e-15)


def test_two_that_may_differ_are_refused(read: Callable[..., Observations], tmp_path: Path) -> None:
    with_errors().to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match=r"sigma\.bhp: the file has a standard error of its own for INJ; leave it out"):
        read("run.nc", observed=OBSERVED, sigma={"bhp": "2 bar"})


def test_what_is_no_standard_error_is_none(read: Callable[..., Observations], tmp_path: Path) -> None:
    with_errors(standard_name="bhp status_flag").to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match="sigma: has no 'bhp', which is observed in INJ"):
        read("run.nc", observed=OBSERVED)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_one_that_is_not_positive_is_told_by_its_place(
    read: Callable[..., Observations], tmp_path: Path, wrong: float
) -> None:
    errors = ERRORS.copy()
    errors[1, 1] = wrong
    with_errors(errors).to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match="bhp of PROD at 5 days: got standard deviation"):
        read("run.nc", observed=OBSERVED)
