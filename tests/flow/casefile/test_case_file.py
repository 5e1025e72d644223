"""Case files: what they say is what is solved, and what is wrong is told by file, section and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.writer import write_deck
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.wells import Control
from rockbank.flow.units import MILLIDARCY

CASES = Path(__file__).parents[3] / "cases"
SHARED = Path(__file__).parents[4] / "shared" / "data"
DAY = 86400.0

TEXT = """
title: A small case
start: 2020-02-01
grid:
  shape: [4, 3]
  spacing: [10 m, [5, 6 m, 7], 2]
  top: 1 km
  inactive: [{i: 3, j: 0..1}]
rock:
  permeability: 50 mD
  porosity: 20 %
  compressibility: 4e-5 1/bar
  reference_pressure: 200 bar
fluid:
  water: {viscosity: 0.3 cP, density: 1000}
  oil: {viscosity: 5 cP, density: 700 kg/m3, compressibility: 1e-9 1/Pa, reference_pressure: 1e7}
  curves:
    water: {residual: 0.15, span: 0.75}
    oil: {residual: 0.12, span: 0.78, exponent: 3, end: 0.9}
    capillary_pressure: {entry_pressure: 0.1 bar}
  gravity: true
wells:
  I: {kind: injector, cells: {i: 0, j: 0..2}, axis: y, radius: 10 cm}
  P: {kind: producer, cells: [{i: 2, j: 0}, {i: 3, j: 2}], index: [1e-12, 2 cP m3/day/bar], datum: 1000}
schedule:
  unit: day
  steps: [1, 2.5 x 2, 12 hours, 10 days x 2, 3 x 2 days]
  controls:
    I: {rate: 300 m3/day, max_bhp: 500 bar}
    P:
      - {oil: 10 m3/day, min_bhp: 100 bar}
      - {start: 6 days, bhp: 150 bar}
      - {start: 16.5 days, shut: true}
initial:
  pressure: 200 bar
  saturation: 0.3
options:
  tolerance: 1.0e-4
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Case]:
    """Loads TEXT after some replacements."""

    def load_changed(*changes: tuple[str, str]) -> Case:
        text = TEXT
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (tmp_path / "case.yaml").write_text(text)
        return load_case(tmp_path / "case.yaml")

    return load_changed


def numbered(case: Case) -> Any:
    return discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)


def test_a_case_is_what_its_file_says(load: Callable[..., Case]) -> None:
    case = load()
    grid = case.rock.grid
    assert (case.title, case.start) == ("A small case", datetime(2020, 2, 1))
    assert [list(sizes) for sizes in grid.sizes] == [[10.0] * 4, [5.0, 6.0, 7.0], [2.0]]
    assert (grid.top, grid.n_cells) == (1000.0, 10)
    assert not grid.is_active[3, :2].any()
    assert case.rock.permeability.unique().item() == 50 * MILLIDARCY
    assert case.rock.porosity.unique().item() == 0.2
    assert case.fluid == Fluid(
        water=Phase(viscosity=0.3 * 1e-3, density=1000.0),
        oil=Phase(viscosity=5 * 1e-3, density=700.0, compressibility=1e-9, reference_pressure=1e7),
        curves=BrooksCorey(
            water_curve=Corey(residual=0.15, span=0.75),
            oil_curve=Corey(residual=0.12, span=0.78, exponent=3, end=0.9),
            entry_pressure=1e4,
        ),
        gravity=GRAVITY,
    )
    injector, producer = case.wells
    assert (injector.name, injector.axis, list(injector.cells)) == ("I", 1, [(0, 0), (0, 1), (0, 2)])
    assert (list(producer.cells), producer.datum) == ([(2, 0), (3, 2)], 1000.0)
    assert producer.index.tolist() == pytest.approx([1e-12, 2e-8 / DAY], rel=1e-15)
    assert (case.initial.pressure.unique().item(), case.initial.saturation.unique().item()) == (2e7, 0.3)
    assert (case.options.tolerance, case.options.method) == (1e-4, "auto")


def test_steps_repeat_and_controls_change_where_they_start(load: Callable[..., Case]) -> None:
    schedule = load().schedule
    days = [1, 2.5, 2.5, 0.5, 10, 10, 3, 3]
    np.testing.assert_allclose(schedule.steps, np.array(days) * DAY, rtol=1e-15)
    assert schedule.controls["I"] == Control(kind="rate", target=300 * (1 / DAY), limit=500e5)
    kinds = [(control.kind, control.limit) for control in schedule.of("P")]
    assert kinds == [("oil", 100e5)] * 3 + [("bhp", None)] * 2 + [("shut", None)] * 3


def test_a_target_of_zero_is_a_control(load: Callable[..., Case]) -> None:
    schedule = load(("{rate: 300 m3/day, max_bhp: 500 bar}", "{rate: 0 m3/day, shut: false}"),
                    ("{start: 6 days, bhp: 150 bar}", "{start: 6 days, water: 0}")).schedule  # fmt: skip
    assert schedule.controls["I"] == Control(kind="rate", target=0.0)
    assert [control.kind for control in schedule.of("P")] == ["oil"] * 3 + ["water"] * 2 + ["shut"] * 3
    with pytest.raises(InputError, match=r"schedule.*I: .*got \['bhp', 'rate'\]; give one of bhp, rate, oil, water"):
        load(("{rate: 300 m3/day, max_bhp: 500 bar}", "{bhp: 200 bar, rate: 0}"))


def test_fields_are_read_along_the_axes_that_are_said(load: Callable[..., Case], tmp_path: Path) -> None:
    k = np.arange(1.0, 13.0).reshape(4, 3)
    np.save(tmp_path / "k.npy", k)
    np.savez(tmp_path / "rock.npz", kt=k.T, phi=k / 100)
    both = np.stack([k.T, -k.T])
    xr.Dataset({"m": (("what", "y", "x"), both)}, coords={"what": ["k", "minus k"]}).to_netcdf(tmp_path / "rock.nc")
    sources = (
        "{file: k.npy, unit: mD}",
        "{file: 'rock.npz:kt', axes: [j, i], unit: mD}",
        "{file: 'rock.nc:m', axes: [j, i], select: {what: k}, unit: mD}",
    )
    for source in sources:
        case = load(("permeability: 50 mD", f"permeability: {source}"))
        np.testing.assert_array_equal(case.rock.permeability.numpy(), k * MILLIDARCY)
    three = load(
        ("permeability: 50 mD", "permeability: {x: 1 D, y: {file: k.npy}, z: 5 mD}"), ("20 %", "{file: 'rock.npz:phi'}")
    )
    assert [each.max().item() for each in three.rock.components] == [1000 * MILLIDARCY, 12.0, 5 * MILLIDARCY]
    np.testing.assert_array_equal(three.rock.porosity.numpy(), k / 100)


def test_a_table_of_curves_and_an_equilibrium_may_be_given(load: Callable[..., Case]) -> None:
    text = yaml.safe_load(TEXT)
    text["fluid"]["table"] = {"saturation": [0.2, 0.8], "k_water": [0, 1], "k_oil": [1, 0]}
    text["initial"] = {"equilibrium": {"datum": 1000, "pressure": "100 bar", "contact": 900}}
    old = TEXT
    del text["fluid"]["curves"]
    case = load((old, yaml.safe_dump(text)))
    assert case.fluid.curves == SaturationTable(
        saturation=(0.2, 0.8), k_water=(0.0, 1.0), k_oil=(1.0, 0.0), p_capillary=(0.0, 0.0)
    )
    # All is water, at 1 m below the datum.
    assert case.initial.saturation.unique().item() == 0.8
    assert case.initial.pressure.unique().item() == pytest.approx(1e7 + 1000 * GRAVITY, rel=1e-14)


def test_a_deck_may_stand_for_the_sections(load: Callable[..., Case], tmp_path: Path) -> None:
    write_deck(tmp_path / "CASE.DATA", load())
    (tmp_path / "of_deck.yaml").write_text(
        "{deck: CASE.DATA, start: 2021-01-01, gravity: true, options: {method: newton}}"
    )
    case = load_case(tmp_path / "of_deck.yaml")
    assert (case.start, case.fluid.gravity) == (datetime(2021, 1, 1), GRAVITY)
    assert (case.title, case.options.method) == ("A small case", "newton")
    torch.testing.assert_close(numbered(case)[1].well_index, numbered(load())[1].well_index, rtol=1e-15, atol=0)
    assert load_case(tmp_path / "CASE.DATA").title == "A small case"
    (tmp_path / "both.yaml").write_text("{deck: CASE.DATA, grid: {shape: [1, 1], spacing: [1, 1, 1]}}")
    with pytest.raises(ValueError, match="deck: says what \\['grid'\\] say too"):
        load_case(tmp_path / "both.yaml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title: A small case", "titel: A small case", "unknown key 'titel'; known are ['title', 'start', 'deck'"),
        ("start: 2020-02-01", "start: today", "start: expected a date such as 2000-01-01, got 'today'"),
        (
            "initial:\n  pressure: 200 bar\n  saturation: 0.3\n",
            "",
            "missing sections ['initial']; give them, or a 'deck'",
        ),
        ("title: A small case", "gravity: true", "gravity: belongs into section 'fluid', but for a deck"),
        ("shape: [4, 3]", "shape: [4, 0]", "grid: got shape (4, 0)"),
        ("shape: [4, 3]", "shape: 12", "grid.shape: expected a list, got 12"),
        ("10 m,", "10 bar,", "grid.spacing: unknown unit 'bar' of a length"),
        ("top: 1 km", "depth: 1 km", "unknown key 'depth' in section 'grid'; known are ['shape', 'spacing', 'top'"),
        ("i: 3, j: 0..1", "i: 4, j: 0..1", "grid: cell (4, 0) is outside the grid"),
        (
            "i: 3, j: 0..1",
            "i: 3, j: 1..0",
            "grid.inactive: expected a whole number or a range such as 0..63, got '1..0'",
        ),
        ("50 mD", "-50 mD", "rock: permeability: got -4.93462e-14 in cell (0, 0) and 9 more; it must be 0 or more"),
        ("20 %", "120 %", "rock: porosity: got 1.2 in cell (0, 0) and 9 more; it must lie in (0, 1]"),
        (
            "  porosity: 20 %\n",
            "",
            "rock.permeability: got ['permeability']; give permeability and porosity, or channels, or layers",
        ),
        ("50 mD", "{file: none.npy}", "none.npy: no such file; the path is relative to the case file"),
        ("50 mD", "{file: k.npy, axis: [i]}", "rock.permeability: unknown key 'axis'; known are ['file', 'axes'"),
        ("density: 1000", "density: -1", "fluid: got density -1.0 kg/m^3"),
        ("span: 0.78", "spam: 0.78", "unknown key 'spam' in section 'fluid.curves.oil'"),
        ("gravity: true", "gravity: down", "fluid.gravity: expected an acceleration"),
        ("cells: {i: 0, j: 0..2}", "cells: {i: 0, j: 0..3}", "wells: well 'I': cell (0, 3) is outside the grid"),
        ("cells: {i: 0, j: 0..2}", "cells: {i: 0}", "wells.I.cells: expected cells such as {i: 7, j: 0..63}"),
        ("kind: injector", "kind: injecter", "wells.I.kind: expected one of ['injector', 'producer'], got 'injecter'"),
        ("index: [1e-12,", "index: [1e-12, 1e-12,", "wells: well 'P': got (3,) well indices for 2 perforations"),
        ("[1, 2.5 x 2,", "[1, -2.5 x 2,", "schedule: steps: got a length of -2.5 x 2; times have to increase"),
        ("[1, 2.5 x 2,", "[1, soon,", "schedule: steps: expected a time"),
        ("unit: day", "unit: fortnight", "schedule.unit: unknown unit 'fortnight' of a time"),
        ("start: 6 days", "start: 7 days", "schedule: controls.P: start: got 604800 s; no report step begins then"),
        ("start: 16.5 days", "start: 1 day", "schedule: controls.P: start: got 86400 s after a later one"),
        (
            "max_bhp: 500 bar",
            "min_bhp: 500 bar",
            "min_bhp: does not limit 'rate' of a well that is injector; use max_bhp",
        ),
        (
            "{rate: 300 m3/day, max_bhp: 500 bar}",
            "{rate: 1, bhp: 1}",
            "schedule.controls.I: got ['bhp', 'rate']; give one of",
        ),
        ("{rate: 300 m3/day, max_bhp: 500 bar}", "{rat: 1}", "schedule.controls.I: unknown key 'rat'; known are"),
        (
            "    I: {rate: 300 m3/day, max_bhp: 500 bar}",
            "    J: {rate: 1}",
            "controls: no well 'J'; known are ['I', 'P']",
        ),
        ("saturation: 0.3", "saturation: 1.3", "initial saturation: got 1.3"),
        ("pressure: 200 bar\n  saturation", "saturation", "initial.pressure: give either 'pressure' or 'equilibrium'"),
        ("tolerance: 1.0e-4", "tolerance: -1.0", "options: got tolerance -1.0; it must be positive"),
        ("tolerance: 1.0e-4", "tol: 1.0e-4", "unknown key 'tol' in section 'options'; known are ['method'"),
    ],
)
def test_what_is_wrong_names_file_section_and_key(load: Callable[..., Case], old: str, new: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        numbered(load((old, new)))


def test_an_array_that_does_not_fit_is_told_with_its_shape(load: Callable[..., Case], tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((3, 4)))
    np.savez(tmp_path / "rock.npz", k=np.ones((4, 3)))
    xr.Dataset({"m": (("w", "y", "x"), np.ones((2, 3, 4)))}, coords={"w": ["k", "l"]}).to_netcdf(tmp_path / "rock.nc")
    for source, says in (
        ("{file: k.npy}", "k.npy: got shape (3, 4) along ['i', 'j']; the grid has (4, 3)"),
        ("{file: k.npy, axes: [i, k]}", "its axes are ['i', 'j'] in some order"),
        ("{file: 'rock.npz:phi'}", "rock.npz: has no 'phi'; known are ['k']"),
        ("{file: 'rock.nc:k', axes: [j, i]}", "rock.nc: has no variable 'k'; known are ['m']"),
        ("{file: 'rock.nc:m'}", "rock.nc: give 'axes' of a NetCDF variable, such as [j, i]"),
        ("{file: 'rock.nc:m', axes: [j, i]}", "an array of shape (2, 3, 4) along axes ['j', 'i']"),
        ("{file: 'rock.nc:m', axes: [j, i], select: {w: phi}}", "dimension 'w' has no 'phi'; it has ['k', 'l']"),
        ("{file: 'rock.nc:m', axes: [j, i], select: {v: k}}", "'m' has no dimension 'v'; it has ['w', 'y', 'x']"),
        ("{file: rock.csv}", "rock.csv"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            load(("50 mD", source))


@pytest.mark.parametrize("name", ["quarter_five_spot", "deepflow", "spe10_like"])
def test_the_cases_of_the_repository_load(name: str) -> None:
    numbered(load_case(CASES / f"{name}.yaml"))


def test_the_published_case_is_that_of_the_reference_runs() -> None:
    path = SHARED / "flow" / "mrst_reference_tight.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: the reference runs are not part of the repository")
    problem, parameters = numbered(load_case(CASES / "deepflow_published.yaml"))
    with np.load(path) as mrst:
        np.testing.assert_allclose(problem.steps, mrst["dt_s"], rtol=1e-14)
        # MRST's indices are listed well by well.
        np.testing.assert_allclose(parameters.well_index[0], mrst["WI"].T.ravel(), rtol=1e-12)
        np.testing.assert_allclose(parameters.pore_volume[0], 160 * mrst["poro"].ravel(), rtol=1e-14)
        np.testing.assert_array_equal(problem.perforation_cell, np.concatenate(
            [np.ravel_multi_index(np.unravel_index(cells - 1, (128, 64), order="F"), (128, 64))
             for cells in mrst["well_cells_1based"].T]))  # fmt: skip


def test_the_published_rock_that_is_absent_is_named(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    path = tmp_path / "cases" / "published.yaml"
    path.write_text((CASES / "deepflow_published.yaml").read_text())
    with pytest.raises(ValueError, match=r"published\.yaml: rock: .*reference_vertcase3\.nc: no such file"):
        load_case(path)


def test_a_netcdf_s_own_unit_is_used_and_held_against_the_case_s(load: Callable[..., Case], tmp_path: Path) -> None:
    k = xr.DataArray(np.full((4, 3), 50.0), dims=("x", "y"), attrs={"units": "mD"})
    phi = xr.DataArray(np.full((4, 3), 0.2), dims=("x", "y"), attrs={"units": "1"})
    xr.Dataset({"k": k, "phi": phi, "odd": k.assign_attrs(units="furlong2")}).to_netcdf(tmp_path / "rock.nc")
    told = "{file: 'rock.nc:k', axes: [i, j]}"
    assert load(("50 mD", told)).rock.components[0].unique().item() == 50 * MILLIDARCY
    case = load(("50 mD", told.replace("]}", "], unit: mD}")), ("20 %", told.replace(":k", ":phi")))
    assert case.rock.components[0].unique().item() == 50 * MILLIDARCY
    assert case.rock.porosity.unique().item() == 0.2
    with pytest.raises(ValueError, match=r"rock\.nc: is in 'mD', got unit: 'D'; leave it out"):
        load(("50 mD", told.replace("]}", "], unit: D}")))
    with pytest.raises(ValueError, match=r"rock\.nc: unknown unit 'furlong2' of a permeability"):
        load(("50 mD", told.replace(":k", ":odd")))


def test_a_selection_that_is_not_used_is_refused(load: Callable[..., Case], tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.full((4, 3), 1e-13))
    with pytest.raises(ValueError, match=r"k\.npy: select: is for a NetCDF variable; leave it out"):
        load(("50 mD", "{file: k.npy, select: {what: k}}"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            [("saturation: 0.3", "saturation: {file: s.npy}")],
            r"initial saturation: got 1\.2 in cell \(1, 1\) and 1 more",
        ),
        (
            [("initial:\n  pressure: 200 bar", "initial:\n  pressure: {file: p.npy}")],
            r"initial: pressure: got -99 in cell \(0, 2\); it must be",
        ),
        ([("50 mD", "{file: k.npy}")], r"rock: permeability: got -1 in cell \(2, 0\); it must be 0 or more"),
        ([("20 %", "{file: phi.npy}")], r"rock: porosity: got nan in cell \(1, 1\); it must lie in"),
    ],
)
def test_a_value_that_is_none_names_its_cell(
    load: Callable[..., Case], tmp_path: Path, changes: list[tuple[str, str]], says: str
) -> None:
    for name, value, wrong, cells in (
        ("s", 0.3, 1.2, [(1, 1), (2, 1)]),
        ("p", 2e7, -99.0, [(0, 2)]),
        ("k", 1e-13, -1.0, [(2, 0), (3, 0)]),
        ("phi", 0.2, np.nan, [(1, 1)]),
    ):
        field = np.full((4, 3), value)
        for cell in cells:
            field[cell] = wrong
        np.save(tmp_path / f"{name}.npy", field)
    with pytest.raises(ValueError, match=says):
        load(*changes)


@pytest.mark.parametrize(
    "twice", ["title: b\ntitle: c\n", "title: b\noptions: {tolerance: 1.0e-6, tolerance: 1.0e-4}\n"]
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, twice: str) -> None:
    (tmp_path / "case.yaml").write_text(twice)
    with pytest.raises(ValueError, match=r"case\.yaml: key '(title|tolerance)' is in line \d and in line \d; keep one"):
        load_case(tmp_path / "case.yaml")
