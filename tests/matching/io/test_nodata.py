"""Numbers that stand for no measurement, in each kind of file: refused by well, time, value and count, or left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import resfo
import xarray as xr

from rockbank.matching.problem.observations import Observations
from tests.matching.io.test_files import BAR, CURVES, DAY, HEAD, TIME, case, dataset, read, summary

__all__ = ["case", "read"]
SIGMA = {"bhp": "2 bar", "oil_rate": "1 m3/day"}
# What files say where nothing was measured, and how a case file writes it.
NULLS = [(-99.0, -99), (-999.25, -999.25), (-9999.0, -9999), (0.0, 0), (1e20, 1e20), (np.nan, float("nan"))]
FORMATS = ("csv", "nc", "SMSPEC")


def write(folder: Path, suffix: str, values: list[float], quantity: str = "bhp") -> str:
    """A file of the producer's values at TIME, in bar or m^3/day, and its name."""
    unit = {"bhp": "bar", "oil_rate": "m3/day"}[quantity]
    if suffix == "csv":
        rows = [f"{time / DAY},day,PROD,{quantity},{value},2,{unit}" for time, value in zip(TIME, values, strict=True)]
        (folder / "obs.csv").write_text(HEAD + "\n".join(rows))
    elif suffix == "nc":
        of_time = ("time", TIME, {"units": "s"})
        made = xr.Dataset(coords={"time": of_time, "well": ("well", ["PROD"])})
        made[quantity] = (("time", "well"), np.array(values)[:, None], {"units": unit})
        made.to_netcdf(folder / "obs.nc", encoding={quantity: {"_FillValue": None}})
    else:
        summary(folder / "obs.SMSPEC")
        keyword = {"bhp": b"WBHP    ", "oil_rate": b"WOPR    "}[quantity]
        head = dict(resfo.read(folder / "obs.SMSPEC"))
        at = list(zip(head["KEYWORDS"], head["WGNAMES "], strict=True)).index((keyword, b"PROD    "))
        parts, left = [], list(values)
        for name, array in resfo.read(folder / "obs.UNSMRY"):
            if name == "PARAMS  ":
                array = np.array(array)
                array[at] = left.pop(0)
            parts.append((name, array))
        resfo.write(folder / "obs.UNSMRY", parts)
    return f"obs.{suffix}"


def keys(suffix: str, quantity: str = "bhp") -> dict[str, object]:
    """Of section `observations`, beside the file."""
    return {} if suffix == "csv" else {"observed": {"PROD": [quantity]}, "sigma": SIGMA}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("null", "declared"), NULLS)
def test_a_pressure_that_is_none_is_refused_or_left_out_where_it_is_declared(
    read: Callable[..., Observations], tmp_path: Path, suffix: str, null: float, declared: float
) -> None:
    file = write(tmp_path, suffix, [250.0, null, null])
    with pytest.raises(ValueError, match=r"bhp of PROD at 5 days: got .*, which is no measurement, as 2 of 3 values"):
        read(file, **keys(suffix))
    found = read(file, **keys(suffix), nodata=declared)
    np.testing.assert_allclose(found.value, [250 * BAR], rtol=1e-6)
    np.testing.assert_array_equal(found.time, TIME[:1])


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_number_than_the_declared_one_is_refused(
    read: Callable[..., Observations], tmp_path: Path, suffix: str
) -> None:
    file = write(tmp_path, suffix, [250.0, -999.25, -1.0])
    with pytest.raises(ValueError, match=r"bhp of PROD at 10 days: got -1 .*1 of 3 values"):
        read(file, **keys(suffix), nodata=[-999.25])
    assert len(read(file, **keys(suffix), nodata=[-999.25, -1])) == 1


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("null", [-999.25, -9999.0, 1e20, np.nan])
def test_a_rate_that_is_none_is_refused_too(
    read: Callable[..., Observations], tmp_path: Path, suffix: str, null: float
) -> None:
    sign = 1 if suffix == "SMSPEC" else -1
    file = write(tmp_path, suffix, [sign * 20.0, null, sign * 10.0], "oil_rate")
    with pytest.raises(
        ValueError, match=r"oil_rate of PROD at 5 days: got .*, which is no measurement, as 1 of 3 values"
    ):
        read(file, **keys(suffix, "oil_rate"))
    found = read(file, **keys(suffix, "oil_rate"), nodata=null)
    np.testing.assert_allclose(found.value, [-20 / DAY, -10 / DAY], rtol=1e-6)


def test_a_rate_that_only_looks_like_none_is_taken_where_another_number_is_declared(
    read: Callable[..., Observations], tmp_path: Path
) -> None:
    found = read(write(tmp_path, "csv", [-9999.0, -99.0, 0.0], "oil_rate"), nodata=-999.25)
    np.testing.assert_allclose(found.value * DAY, [-9999, -99, 0], rtol=1e-15)


def test_what_netcdf_declares_itself_is_left_out(read: Callable[..., Observations], tmp_path: Path) -> None:
    made = dataset()
    made.bhp[1, 1] = np.nan
    made.to_netcdf(tmp_path / "obs.nc", encoding={"bhp": {"_FillValue": -9999.0}})
    found = read("obs.nc", **keys("nc"))
    np.testing.assert_array_equal(found.value, CURVES["bhp"][[0, 2], 1])


@pytest.mark.parametrize("nodata", ["none", True, [1, "x"]])
def test_what_is_declared_is_a_number(read: Callable[..., Observations], nodata: object) -> None:
    with pytest.raises(ValueError, match=r"observations\.nodata: expected a number that stands for no measurement"):
        read("obs.csv", nodata=nodata)


def test_a_time_that_is_no_number_is_refused(read: Callable[..., Observations], tmp_path: Path) -> None:
    dates = (np.datetime64("2019-01-01", "ns") + (TIME / DAY).astype("timedelta64[D]")).copy()
    dates[1] = np.datetime64("NaT")
    made = dataset().assign_coords(time=dates)
    made.to_netcdf(tmp_path / "obs.nc")
    with pytest.raises(ValueError, match="bhp of PROD: got time nan; say when it was measured"):
        read("obs.nc", **keys("nc"))
