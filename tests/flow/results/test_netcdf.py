"""Results: balanced, whole in their file, and plotted."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from rockbank.flow.case import Case
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State, discretise
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.results.balance import Balance, balance
from rockbank.flow.results.netcdf import read_results, to_dataset, write_results
from rockbank.flow.results.plot import save_picture
from rockbank.flow.simulate import Result, simulate

DAY = 86400.0


def small_case(shape: tuple[int, ...] = (5, 4, 2), *, days: tuple[float, ...] = (1.0, 5.0, 20.0)) -> Case:
    """Compressible, with gravity, a cell that is not active and a limit that holds."""
    active = np.ones(shape, dtype=bool)
    active[2, shape[1] // 2] = False
    grid = Grid(shape=shape, spacing=(10.0, 10.0, (2.0, 3.0) if len(shape) == 3 else 5.0), active=active, top=1000.0)
    k = 1e-13 * (1 + torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    last = tuple(n - 1 for n in shape)
    return Case(
        title="Small",
        start=datetime(2020, 1, 1),
        rock=Rock(grid=grid, permeability=k, porosity=torch.full(shape, 0.2).double(), compressibility=4e-10),
        fluid=Fluid(
            water=Phase(viscosity=5e-4, density=1000.0, compressibility=4e-10, reference_pressure=2e7),
            oil=Phase(viscosity=2e-3, density=800.0, compressibility=1e-9, reference_pressure=2e7),
            curves=BrooksCorey(water_curve=Corey(residual=0.2, span=0.6), oil_curve=Corey(residual=0.2, span=0.6)),
            gravity=GRAVITY if len(shape) == 3 else 0.0,
        ),
        wells=(
            Well(name="I", kind="injector", cells=[(0,) * len(shape)]),
            Well(name="P", kind="producer", cells=[last, *([(*last[:-1], 0)] if len(shape) == 3 else [])]),
        ),
        schedule=Schedule(
            steps=tuple(day * DAY for day in days),
            controls={"I": Control(kind="rate", target=10 / DAY), "P": Control(kind="bhp", target=1.5e7)},
        ),
        initial=State(pressure=2e7),
        options=Options(method="newton", cnv=1e-8, mb=1e-10),
    )


def run(case: Case) -> tuple[Result, Balance]:
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    return result, balance(problem, parameters, result.trajectories[0])


@pytest.fixture(scope="module")
def case() -> Case:
    return small_case()


@pytest.fixture(scope="module")
def done(case: Case) -> tuple[Result, Balance]:
    return run(case)


@pytest.fixture(scope="module")
def dataset(case: Case, done: tuple[Result, Balance]) -> xr.Dataset:
    return to_dataset(case, *done)


def test_what_went_in_and_out_is_what_is_gained(done: tuple[Result, Balance]) -> None:
    result, volumes = done
    # Newton's mb for each of three steps.
    assert volumes.mass_balance_error < 3e-10
    oil = volumes.in_place[:, 1]
    assert volumes.recovery == pytest.approx((oil[0] - oil[-1]) / oil[0], rel=1e-8)
    # No step was cut, so that volumes are rates times report steps.
    steps = np.diff(result.time, prepend=0.0)[:, None]
    for i, rate in enumerate((result.water_rate, result.oil_rate)):
        np.testing.assert_allclose(volumes.injected[:, :, i], np.cumsum(rate.numpy() * steps, axis=0), rtol=1e-12)


def test_cut_steps_are_counted_as_they_were_taken() -> None:
    case = small_case((8, 8), days=(200.0,))
    result, volumes = run(replace(case, options=Options(method="newton", cnv=1e-8, mb=1e-10, max_iterations=8)))
    n_steps = result.reports[0][0].n_steps
    assert n_steps > 1
    assert volumes.mass_balance_error < n_steps * 1e-10


def test_the_dataset_holds_curves_and_fields_in_si(
    case: Case, done: tuple[Result, Balance], dataset: xr.Dataset
) -> None:
    result, _ = done
    assert dict(dataset.sizes) == {"time": 3, "well": 2, "x": 5, "y": 4, "z": 2, "perforation": 3, "bound": 2}
    np.testing.assert_array_equal(dataset.bhp, result.bhp)
    np.testing.assert_array_equal(dataset.oil_rate.sel(well="P"), result.oil_rate[:, 1])
    np.testing.assert_array_equal(dataset.time, np.cumsum(case.schedule.steps))
    np.testing.assert_allclose(dataset.time_days, [1, 6, 26])
    pressure = dataset.pressure.isel(time=-1).transpose("x", "y", "z").values
    np.testing.assert_array_equal(pressure[case.rock.grid.is_active], result.trajectories[0].pressure[-1])
    assert np.isnan(pressure[~case.rock.grid.is_active]).all()
    assert dataset.initial_saturation.max() == 0.2
    np.testing.assert_array_equal(dataset.z_bounds, [[1000, 1002], [1002, 1005]])
    np.testing.assert_array_equal(dataset.z, [1001, 1003.5])
    assert list(dataset.step_method.values) == ["newton"] * 3


def test_every_variable_says_what_it_is_in_what_unit(dataset: xr.Dataset) -> None:
    assert dataset.attrs["Conventions"] == "CF-1.11"
    for name in ("title", "source", "git_commit", "start", "options"):
        assert dataset.attrs[name]
    for name, variable in dataset.variables.items():
        if name.endswith("_bounds"):
            continue
        assert {"long_name", "standard_name"} & set(variable.attrs), name
        if variable.dtype == np.float64 and not str(name).startswith("step_"):
            assert variable.attrs["units"], name


def test_a_file_comes_back_whole(dataset: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.nc"
    write_results(path, dataset)
    assert read_results(path).identical(dataset)
    assert [each.name for each in path.parent.iterdir()] == ["results.nc"]
    # Compressed where it pays, and still double.
    with xr.open_dataset(path, engine="h5netcdf") as stored:
        assert stored.pressure.dtype == np.float64
        assert stored.pressure.encoding["zlib"]


def test_the_mass_balance_error_is_read_under_its_older_name(dataset: xr.Dataset, tmp_path: Path) -> None:
    older = dataset.copy()
    older.attrs["volume_error"] = older.attrs.pop("mass_balance_error")
    write_results(tmp_path / "older.nc", older)
    assert read_results(tmp_path / "older.nc").identical(dataset)


def test_a_failed_write_leaves_the_old_file(dataset: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "results.nc"
    path.write_text("old")
    broken = dataset.assign(bad=("time", np.array([object()] * 3)))
    with pytest.raises(Exception, match="object"):
        write_results(path, broken)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.nc"]


def test_what_holds_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.nc: no such file; 'rockbank simulate"):
        read_results(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no NetCDF\n" * 100)
    with pytest.raises(ValueError, match=r"text\.nc: no NetCDF file"):
        read_results(tmp_path / "text.nc")
    xr.Dataset({"bhp": ("time", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"other\.nc: has no \['water_rate'"):
        read_results(tmp_path / "other.nc")


@pytest.mark.parametrize("shape", [(6, 5), (5, 1, 2), (5, 4, 2)])
def test_a_picture_is_made_of_every_kind_of_grid(shape: tuple[int, ...], tmp_path: Path) -> None:
    case = small_case(shape)
    save_picture(tmp_path / "results.png", to_dataset(case, *run(case)))
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.size[0] > 1000
        # More than a blank page: the maps have colours.
        assert len(picture.convert("RGB").quantize(64).getcolors() or []) > 30
