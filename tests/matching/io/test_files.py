"""Files of observations: every format says the same, and what is wrong is told by file, line, column or key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resfo
import xarray as xr
import yaml

from rockbank.core.config import convert
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.summary import WellCurves
from rockbank.flow.eclipse.summary_writer import write_summary
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import discretise
from rockbank.flow.results.balance import balance
from rockbank.flow.results.netcdf import to_dataset, write_results
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.files import ObservationsSection
from rockbank.matching.problem.observations import Observations, observables

CASES = Path(__file__).parents[3] / "cases"
SHARED = Path(__file__).parents[4] / "shared" / "data"
DAY, BAR = 86400.0, 1e5
# As 1e5 and 1 / 86400 are rounded: what a reader multiplies by.
PER_DAY = 1 / DAY
CASE = """
start: 2019-01-01
grid: {shape: [4, 3], spacing: [10, 10, 10]}
rock: {permeability: 100 mD, porosity: 0.2}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0}}
  PROD: {kind: producer, cells: {i: 3, j: 2}}
schedule:
  unit: day
  steps: [1, 4, 5]
  controls: {INJ: {rate: 20 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar}
"""
HEAD = "time,time_unit,well,quantity,value,sigma,unit\n"
ROW = "1,day,INJ,bhp,250,2,bar"
OBSERVED = {"INJ": ["bhp"], "PROD": ["water_rate", "oil_rate"]}
SIGMA = {"bhp": "2 bar", "water_rate": "1 m3/day", "oil_rate": 2e-5}
TIME = np.cumsum([1.0, 4.0, 5.0]) * DAY
# (time, well) in SI: the injector, then the producer.
CURVES = {
    "bhp": np.array([[260.0, 150.0], [250.0, 150.0], [240.0, 150.0]]) * BAR,
    "water_rate": np.array([[20.0, 0.0], [20.0, -3.0], [20.0, -9.0]]) * PER_DAY,
    "oil_rate": np.array([[0.0, -20.0], [0.0, -17.0], [0.0, -11.0]]) * PER_DAY,
}
UNITS = {"bhp": "Pa", "water_rate": "m3 s-1", "oil_rate": "m3 s-1"}
NAMES = {"INJ": "Injector", "PROD": "Producer", "bhp": "pressure", "water_rate": "water-rate", "oil_rate": "oil-rate"}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "few.yaml").write_text(CASE)
    return load_case(tmp_path / "few.yaml")


@pytest.fixture
def read(case: Case, tmp_path: Path) -> Callable[..., Observations]:
    """Reads a file by the keys of section `observations`."""

    def of(file: str, **keys: Any) -> Observations:
        section: ObservationsSection = convert({"file": file, **keys}, ObservationsSection, "observations")
        return section.read(case, tmp_path)

    return of


def dataset(units: Mapping[str, str] = UNITS, time_unit: str | None = "s") -> xr.Dataset:
    """CURVES as `rockbank simulate` writes them."""
    of_time = {"units": time_unit} if time_unit else {}
    made = xr.Dataset(coords={"time": ("time", TIME, of_time), "well": ("well", ["INJ", "PROD"])})
    for name, values in CURVES.items():
        made[name] = (("time", "well"), values.copy(), {"units": units[name]} if name in units else {})
    return made


def summary(path: Path, wells: tuple[str, ...] = ("INJ", "PROD")) -> None:
    write_summary(path, WellCurves(time=TIME, wells=wells, **CURVES), box=(4, 3, 1), start=datetime(2019, 1, 1))


def assert_same(got: Observations, wanted: Observations, rtol: float = 0.0) -> None:
    assert (got.well, got.quantity) == (wanted.well, wanted.quantity)
    for name in ("time", "value", "sigma"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=rtol, atol=0, err_msg=name)


def wanted() -> Observations:
    """CURVES where OBSERVED says."""
    rows = [(well, name, i) for well, names in OBSERVED.items() for name in names for i in range(3)]
    column = {"INJ": 0, "PROD": 1}
    sigma = {"bhp": 2 * BAR, "water_rate": PER_DAY, "oil_rate": 2e-5}
    return Observations(
        time=np.array([TIME[i] for *_, i in rows]),
        well=tuple(well for well, *_ in rows),
        quantity=tuple(name for _, name, _ in rows),
        value=np.array([CURVES[name][i, column[well]] for well, name, i in rows]),
        sigma=np.array([sigma[name] for _, name, _ in rows]),
    )


def test_netcdf_says_the_same_in_one_variable_for_each_quantity_or_for_all(
    read: Callable[..., Observations], tmp_path: Path
) -> None:
    dataset().to_netcdf(tmp_path / "run.nc")
    assert_same(read("run.nc", observed=OBSERVED, sigma=SIGMA), wanted())
    dates = np.datetime64("2019-01-01", "ns") + (TIME / DAY).astype("timedelta64[D]")
    stacked = np.stack([values.T for values in CURVES.values()], axis=1)
    xr.Dataset(
        {"state": (("w", "what", "time"), stacked)},
        coords={"w": ["Injector", "Producer"], "what": ["pressure", "water-rate", "oil-rate"], "time": dates},
    ).to_netcdf(tmp_path / "all.nc")
    units = {"bhp": "Pa", "water_rate": "m3/s", "oil_rate": "m3/s"}
    assert_same(read("all.nc:state", observed=OBSERVED, sigma=SIGMA, names=NAMES, units=units), wanted())


def test_what_the_simulator_writes_is_read_as_what_it_shows(
    read: Callable[..., Observations], case: Case, tmp_path: Path
) -> None:
    options = Options(method="newton")
    problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    run = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
    write_results(tmp_path / "run.nc", to_dataset(case, run, balance(problem, parameters, run.trajectories[0])))
    found = read("run.nc", observed=OBSERVED, sigma=SIGMA)
    assert len(found) == 9
    places = found.places(case.schedule.steps, ["INJ", "PROD"])
    np.testing.assert_array_equal(found.value, observables(run, places).numpy())


def test_a_summary_says_the_same_in_single_precision(read: Callable[..., Observations], tmp_path: Path) -> None:
    summary(tmp_path / "RUN.SMSPEC")
    assert_same(read("RUN.SMSPEC", observed=OBSERVED, sigma=SIGMA), wanted(), rtol=1e-6)
    summary(tmp_path / "OTHER.SMSPEC", wells=("W1", "W2"))
    names = {"INJ": "W1", "PROD": "W2"}
    assert_same(read("OTHER.SMSPEC", observed=OBSERVED, sigma=SIGMA, names=names), wanted(), rtol=1e-6)


def test_units_of_a_netcdf_are_converted(read: Callable[..., Observations], tmp_path: Path) -> None:
    made = dataset({"bhp": "bar", "water_rate": "m3 d-1"}, time_unit="d")
    made["bhp"] = made.bhp.copy(data=CURVES["bhp"] / BAR)
    made["water_rate"] = made.water_rate.copy(data=CURVES["water_rate"] * DAY)
    made["oil_rate"] = made.oil_rate.copy(data=CURVES["oil_rate"] * 3600)
    made = made.assign_coords(time=made.time.copy(data=TIME / DAY))
    for name in ("bhp", "water_rate"):
        made[name].attrs["units"] = {"bhp": "bar", "water_rate": "m3 d-1"}[name]
    made.time.attrs["units"] = "d"
    made.to_netcdf(tmp_path / "run.nc")
    # Divided and multiplied again: two roundings.
    found = read("run.nc", observed=OBSERVED, sigma=SIGMA, units={"oil_rate": "m3/hour"})
    assert_same(found, wanted(), rtol=1e-15)


def test_what_a_netcdf_leaves_out_was_not_measured(read: Callable[..., Observations], tmp_path: Path) -> None:
    made = dataset()
    made.bhp[1, 0] = np.nan
    made.to_netcdf(tmp_path / "run.nc")
    found = read("run.nc", observed={"INJ": ["bhp"]}, sigma=SIGMA)
    np.testing.assert_array_equal(found.time, TIME[[0, 2]])
    np.testing.assert_array_equal(found.value, CURVES["bhp"][[0, 2], 0])
    made.bhp[:, 0] = np.nan
    made.to_netcdf(tmp_path / "none.nc")
    with pytest.raises(ValueError, match=re.escape("observed.INJ: bhp is not a number at any time; leave it out")):
        read("none.nc", observed={"INJ": ["bhp"]}, sigma=SIGMA)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"observed": {}}, "observed: nothing; say which quantities of which well, such as {INJ: [bhp]}"),
        ({"observed": {"X": ["bhp"]}}, "observed: no well 'X'; the case has ['INJ', 'PROD']"),
        (
            {"observed": {"INJ": ["thp"]}},
            "observations.observed.INJ: expected one of ['bhp', 'water_rate', 'oil_rate']",
        ),
        ({"sigma": {}}, "sigma: has no 'bhp', which is observed in INJ"),
        ({"sigma": {"bhp": 0}}, "observations.sigma.bhp: got standard deviation 0; it must be positive"),
        ({"sigma": {"bhp": "2 m3/day"}}, "observations.sigma.bhp: unknown unit 'm3/day' of a pressure"),
        ({"sigma": {"thp": 1}}, "unknown key 'thp' in section 'observations.sigma'"),
        ({"names": {"inj": "I"}}, "names: unknown key 'inj'; known are ['INJ', 'PROD', 'bhp'"),
        (
            {"names": {"INJ": "I"}},
            "run.nc: 'bhp' has no 'I' among its labels {'well': ['INJ', 'PROD']}; say in 'names'",
        ),
        ({"names": {"bhp": "p"}}, "run.nc: has no variable 'p'; it has ['bhp', 'water_rate', 'oil_rate'], say in 'na"),
        ({"names": {"time": "days"}}, "say in 'names' what its time is called"),
        ({"units": {"bhp": "bar"}}, "units.bhp: got 'bar'; "),
        ({"units": {"bph": "bar"}}, "unknown key 'bph' in section 'observations.units'"),
        ({"file": "run.txt"}, "file: got 'run.txt'; give a .csv, a .nc, a .nc:VARIABLE, a .SMSPEC or a deck"),
        ({"file": "obs.csv:x"}, "file: got 'obs.csv:x'; give a .csv"),
        ({"file": "none.nc"}, "none.nc: no such file; the path is relative to the case file, and 'rockbank observe'"),
        ({"file": "few.nc"}, "few.nc: no NetCDF file: "),
        ({"file": "obs.csv"}, "observed: is for a NetCDF or a summary; "),
    ],
)
def test_a_wrong_key_is_told(
    read: Callable[..., Observations], tmp_path: Path, keys: dict[str, Any], says: str
) -> None:
    dataset().to_netcdf(tmp_path / "run.nc")
    (tmp_path / "few.nc").write_text(CASE)
    (tmp_path / "obs.csv").write_text(HEAD + ROW)
    with pytest.raises(ValueError, match=re.escape(says)):
        read(**{"file": "run.nc", "observed": OBSERVED, "sigma": SIGMA, **keys})


def test_a_unit_that_is_missing_is_refused_with_the_key_that_gives_it(
    read: Callable[..., Observations], tmp_path: Path
) -> None:
    dataset({}).to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match=re.escape("run.nc: does not tell the unit of bhp; give 'units: {bhp: Pa}'")):
        read("run.nc", observed=OBSERVED, sigma=SIGMA)
    dataset(time_unit=None).to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match=re.escape("does not tell the unit of time; give 'units: {time: s}'")):
        read("run.nc", observed=OBSERVED, sigma=SIGMA)
    assert_same(read("run.nc", observed=OBSERVED, sigma=SIGMA, units={"time": "s"}), wanted())


def test_a_summary_that_lacks_a_well_or_a_vector_is_refused(read: Callable[..., Observations], tmp_path: Path) -> None:
    summary(tmp_path / "RUN.SMSPEC", wells=("INJ", "P2"))
    with pytest.raises(ValueError, match=re.escape("has no well 'PROD'; it has ['INJ', 'P2'], say in 'names'")):
        read("RUN.SMSPEC", observed=OBSERVED, sigma=SIGMA)
    with pytest.raises(ValueError, match=r"units: .*RUN\.SMSPEC tells its own; leave them out"):
        read("RUN.SMSPEC", observed=OBSERVED, sigma=SIGMA, units={"bhp": "bar"})
    # Without the vector its rates would read as zeros.
    parts = [(name, np.where(values == b"WOPR    ", b"WGPR    ", values) if name == "KEYWORDS" else values)
             for name, values in resfo.read(tmp_path / "RUN.SMSPEC")]  # fmt: skip
    resfo.write(tmp_path / "RUN.SMSPEC", parts)
    with pytest.raises(ValueError, match="has no WOIR or WOPR of 'P2'; ask for it in the deck's SUMMARY"):
        read("RUN.SMSPEC", observed=OBSERVED, sigma=SIGMA, names={"PROD": "P2"})


def test_the_published_observations_are_those_of_the_reference() -> None:
    path = SHARED / "flow" / "observations.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: the reference data are not part of the repository")
    found = load_match_case(CASES / "deepflow_published.yaml").observations
    assert len(found) == 3 * 37
    with np.load(path) as reference:
        for well, name, values, sigma in (
            ("INJ", "bhp", reference["bhp_noisy"][:, 0], reference["sigma_p"]),
            ("PROD", "water_rate", reference["qWs_noisy"][:, 1], reference["sigma_q"]),
            ("PROD", "oil_rate", reference["qOs_noisy"][:, 1], reference["sigma_q"]),
        ):
            at = [i for i in range(len(found)) if (found.well[i], found.quantity[i]) == (well, name)]
            np.testing.assert_array_equal(found.time[at], reference["t_s"])
            np.testing.assert_array_equal(found.value[at], values)
            # 9 / 86400 and 0.03 * 300 / 86400, in two orders of rounding.
            np.testing.assert_allclose(found.sigma[at], sigma, rtol=4e-16)


def test_the_case_file_names_itself_before_what_is_wrong_in_its_observations(tmp_path: Path) -> None:
    (tmp_path / "obs.csv").write_text(HEAD + ROW.replace("bar", "bars of gold"))
    text = yaml.safe_load(CASE) | {"matching": {"observations": {"file": "obs.csv"}}}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(text))
    says = r"few\.yaml: matching\.observations: .*obs\.csv, line 2, unit: unknown unit 'bars of gold' of a pressure"
    with pytest.raises(ValueError, match=says):
        load_match_case(tmp_path / "few.yaml")
