"""Maps of saturation in a case file: what they say is what is observed, and what is wrong is told with its remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from rockbank.core.errors import InputError
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.fingerprint import fingerprints

DAY = 86400.0
SHAPE = (4, 3, 2)
VALUES = 0.2 + 0.02 * np.arange(24.0).reshape(SHAPE)
CASE: dict[str, Any] = yaml.safe_load("""
title: Two layers
grid: {shape: [4, 3, 2], spacing: [20, 20, 5], top: 2000, inactive: {i: 3, j: 0, k: 1}}
rock: {permeability: 100 mD, porosity: 0.2, compressibility: 1e-9}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0, k: 0..1}}
  PROD: {kind: producer, cells: {i: 3, j: 2, k: 0..1}}
schedule:
  unit: day
  steps: [10, 30, 40]
  controls: {INJ: {rate: 30 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar, saturation: 0.2}
matching:
  parameters: {k: {multiplier: {of: permeability, prior: {median: 1, log_deviation: 0.5}}}}
""")
MAP: dict[str, Any] = {"time": "50 day", "file": "s.npy", "sigma": 0.05}
CURVES = "time,time_unit,well,quantity,value,sigma,unit\n40,day,PROD,oil_rate,-12,2,m3/day\n"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., MatchCase]:
    """Loads CASE with these observations and keys of section `matching`."""
    np.save(tmp_path / "s.npy", VALUES)
    np.save(tmp_path / "top.npy", VALUES[..., 0])
    (tmp_path / "curves.csv").write_text(CURVES)

    def loaded(observations: dict[str, Any], **keys: Any) -> MatchCase:
        matching = CASE["matching"] | {"observations": observations} | keys
        (tmp_path / "case.yaml").write_text(yaml.safe_dump(CASE | {"matching": matching}))
        return load_match_case(tmp_path / "case.yaml")

    return loaded


def test_every_active_cell_of_an_array_is_observed_at_the_surveys_time(load: Callable[..., MatchCase]) -> None:
    match = load({"map": [MAP]})
    of, grid = match.observations, match.case.rock.grid
    assert len(of) == grid.n_cells == 23
    assert of.n_of_wells == 0
    assert set(of.quantity) == {"saturation"}
    np.testing.assert_array_equal(of.value, VALUES.ravel()[grid.cells])
    assert set(of.sigma) == {0.05}
    assert set(of.time) == {50 * DAY}
    assert of.cells is not None
    assert [grid.place(int(i)) for i in of.cells.number] == [tuple(place) for place in of.cells.place.tolist()]
    # The report step that it lies in is cut there.
    np.testing.assert_allclose(np.cumsum(match.case.schedule.steps) / DAY, [10, 40, 50, 80])


@pytest.mark.parametrize("kind", ["values", "npz", "nc", "csv", "percent", "sigma of an array"])
def test_every_form_of_a_map_says_the_same(load: Callable[..., MatchCase], tmp_path: Path, kind: str) -> None:
    changes: dict[str, Any] = {"file": "s." + kind}
    if kind == "values":
        changes = {"file": "", "values": VALUES.tolist()}
    elif kind == "npz":
        np.savez(tmp_path / "s.npz", swat=VALUES, other=0 * VALUES)
        changes = {"file": "s.npz:swat"}
    elif kind == "nc":
        whole = np.stack([0 * VALUES.T, VALUES.T])
        dims, labels = ("survey", "z", "y", "x"), {"survey": ["base", "monitor"]}
        xr.Dataset({"swat": (dims, whole, {"units": "1"})}, coords=labels).to_netcdf(tmp_path / "s.nc")
        changes = {"file": "s.nc:swat", "axes": ["k", "j", "i"], "select": {"survey": "monitor"}}
    elif kind == "csv":
        rows = [f"{float(value)!r},{k},{j},{i},0.05" for (i, j, k), value in np.ndenumerate(VALUES)
                if (i, j, k) != (3, 0, 1)]  # fmt: skip
        (tmp_path / "s.csv").write_text("\n".join(["saturation,k,j,i,sigma", *reversed(rows)]))
        changes = {"file": "s.csv", "sigma": None}
    elif kind == "percent":
        np.save(tmp_path / "percent.npy", 100 * VALUES)
        changes = {"file": "percent.npy", "unit": "%"}
    else:
        np.save(tmp_path / "sigma.npy", np.full(SHAPE, 0.05))
        changes = {"file": "s.npy", "sigma": {"file": "sigma.npy"}}
    plain = load({"map": [MAP]}).observations
    keys = {key: value for key, value in (MAP | changes).items() if value is not None}
    other = load({"map": [keys]}).observations
    np.testing.assert_allclose(other.value, plain.value, rtol=1e-15)
    np.testing.assert_array_equal(other.sigma, plain.sigma)
    assert (other.cells, plain.cells) != (None, None)
    assert other.name(7) == plain.name(7) == "saturation in cell (1, 0, 1) at 50 days"


def test_a_layer_a_mask_and_nodata_leave_cells_out(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    top = load({"map": [MAP | {"file": "top.npy", "layer": 0}]}).observations
    np.testing.assert_array_equal(top.value, VALUES[..., 0].ravel())
    assert top.cells is not None
    assert set(top.cells.place[:, 2]) == {0}
    assert set(top.cells.depth) == {2002.5}
    # Of the lower layer one cell is not active.
    np.save(tmp_path / "low.npy", VALUES[..., 1])
    assert len(load({"map": [MAP | {"file": "low.npy", "layer": 1}]}).observations) == 11
    np.save(tmp_path / "mask.npy", (np.arange(24) % 4 == 0).reshape(SHAPE))
    masked = load({"map": [MAP | {"mask": {"file": "mask.npy"}}]}).observations
    np.testing.assert_array_equal(masked.value, VALUES.ravel()[::4])
    # In the file's own unit, before it is converted.
    np.save(tmp_path / "holes.npy", np.where(np.arange(24).reshape(SHAPE) < 2, [-999.0, np.nan], 100 * VALUES))
    holes = load({"map": [MAP | {"file": "holes.npy", "unit": "%", "nodata": [-999, float("nan")]}]}).observations
    np.testing.assert_allclose(holes.value, load({"map": [MAP]}).observations.value[2:])
    (tmp_path / "few.csv").write_text("i,j,k,saturation\n0,1,0,0.3\n2,2,1,-999\n1,1,1,0.4\n")
    few = load({"map": [MAP | {"file": "few.csv", "nodata": -999}]}).observations
    assert few.value.tolist() == [0.3, 0.4]


def test_maps_stand_behind_the_curves_of_wells_and_until_ends_both(load: Callable[..., MatchCase]) -> None:
    both = {"file": "curves.csv", "map": [MAP | {"layer": 0, "file": "top.npy"}, MAP | {"time": "20 day"}]}
    of = load(both).observations
    assert (of.n_of_wells, len(of)) == (1, 1 + 12 + 23)
    assert of.name(0) == "oil_rate of PROD at 40 days"
    early = load(both, until="45 day").observations
    assert (early.n_of_wells, len(early)) == (1, 1 + 23)
    assert early.name(1) == "saturation in cell (0, 0, 0) at 20 days"


def test_observations_of_wells_alone_keep_their_fingerprint(load: Callable[..., MatchCase]) -> None:
    wells = fingerprints(load({"file": "curves.csv"}))
    both = fingerprints(load({"file": "curves.csv", "map": [MAP]}))
    # What runs of before have in their settings: an alarm, to be changed with a reason only.
    assert wells["observations"] == "c36ed372ff9baf07fc58f0aecc1a1979e442a2fc57a087df2965c5151303055b"
    assert both["observations"] != wells["observations"]
    assert {name for name in wells if wells[name] != both[name]} == {"observations", "schedule"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file": "none.npy"}, "matching.observations: map[0]: {folder}/none.npy: no such file; the path is relative"),
        ({"file": "top.npy"}, "an array of shape (4, 3) along axes ['i', 'j', 'k'] is not on a grid of (4, 3, 2)"),
        ({"file": "s.txt"}, "s.txt: no such file"),
        ({"layer": 2}, "map[0]: layer: got 2; the grid has 2 of them, numbered from 0"),
        ({"sigma": 0}, "map[0]: sigma: got 0 in cell (0, 0, 0), as in 23 of 23 that are observed; it must be positive"),
        ({"sigma": None}, "map[0].sigma: is missing; say how far the saturations are to be trusted, such as 0.05"),
        ({"time": "90 day"}, "saturation in cell (0, 0, 0) at 90 days: lies outside the schedule of 80 days"),
        ({"values": [[0.2]]}, "map[0].file: give either 'file' or 'values'"),
        ({"file": None}, "map[0].file: give either 'file' or 'values'"),
        ({"file": None, "values": 0.3}, "map[0].values: expected lists of lists of numbers, along i and j"),
        (
            {"file": None, "values": [[0.2]], "layer": 0},
            "values: got shape (1, 1) along ['i', 'j']; the grid has (4, 3)",
        ),
        ({"unit": "bar"}, "s.npy: unknown unit 'bar' of a fraction; known are ['%']"),
        ({"mask": 0}, "s.npy: no active cell is left to be observed; look at 'mask' and 'nodata'"),
        ({"mask": {"file": "m.npy"}}, "map[0]: mask: {folder}/m.npy: no such file"),
        ({"error": 0.1}, "unknown key 'error' in section 'matching.observations.map[0]'"),
        ({"nodata": "none"}, "map[0].nodata: expected a number that stands for no measurement"),
        ({"file": "s.csv", "axes": ["i"]}, "map[0].axes: is for an array; a .csv says it in its columns"),
    ],
)
def test_what_is_wrong_is_told_with_file_key_value_and_remedy(
    load: Callable[..., MatchCase], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    keys = {key: value for key, value in (MAP | changes).items() if value is not None}
    with pytest.raises(InputError, match=re.escape(says.format(folder=tmp_path))) as told:
        load({"map": [keys]})
    assert str(told.value).startswith(f"{tmp_path / 'case.yaml'}: ")


@pytest.mark.parametrize("wrong", [-999.0, 1e20, np.nan, 55.0])
def test_what_is_no_saturation_is_refused_with_its_cell_and_count(
    load: Callable[..., MatchCase], tmp_path: Path, wrong: float
) -> None:
    values = VALUES.copy()
    values[1, 2, :] = wrong
    np.save(tmp_path / "s.npy", values)
    text = f"{wrong:.7g}".replace("nan", ".nan")
    says = f"s.npy: got {text} in cell (1, 2, 0), which is no saturation, as 2 of 23 values are none; give fractions"
    with pytest.raises(InputError, match=re.escape(says)):
        load({"map": [MAP]})
    if wrong != 55.0:
        assert len(load({"map": [MAP | {"nodata": wrong}]}).observations) == 21
    # Noise may lead out of [0, 1].
    values[1, 2, :] = [-0.1, 1.2]
    np.save(tmp_path / "s.npy", values)
    assert len(load({"map": [MAP]}).observations) == 23


def test_all_that_is_wrong_is_told_at_once(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text(CURVES.replace("PROD", "P"))
    (tmp_path / "few.csv").write_text("i,j,k,saturation\n4,1,0,0.3\n0,0,0,wet\n1,1,1,0.4\n1,1,1,0.4\n3,0,1,0.4\n")
    with pytest.raises(InputError) as told:
        load({"file": "curves.csv", "map": [MAP | {"file": "few.csv"}, MAP | {"mask": {"file": "m.npy"}, "layer": 9}]})
    lines = str(told.value).splitlines()
    where = f"{tmp_path / 'case.yaml'}: matching.observations: "
    assert lines[0] == f"{where}{tmp_path / 'curves.csv'}, line 2, well: got 'P'; known are ['INJ', 'PROD']"
    assert [line.removeprefix(f"{where}map[0]: {tmp_path / 'few.csv'}, ") for line in lines[1:5]] == [
        "line 2, i,j,k: got i '4'; give a whole number, counted from 0, below 4",
        "line 3, saturation: got 'wet'; give a number such as 1.5e7",
        "line 5, i,j,k: cell (1, 1, 1) is in line 4 too; keep one",
        "line 6, i,j,k: cell (3, 0, 1) is not active, or stands for an aquifer; leave the row out",
    ]
    assert lines[5:] == [f"{where}map[1]: layer: got 9; the grid has 2 of them, numbered from 0"]


def test_two_maps_of_a_cell_at_one_time_are_refused(load: Callable[..., MatchCase]) -> None:
    with pytest.raises(InputError, match=re.escape("saturation in cell (0, 0, 0) at 50 days is there twice; keep one")):
        load({"map": [MAP, MAP | {"layer": 0, "file": "top.npy"}]})


@pytest.mark.parametrize("observations", [{}, {"nodata": -99}, {"map": []}])
def test_a_section_that_observes_nothing_is_refused(load: Callable[..., MatchCase], observations: Any) -> None:
    with pytest.raises(InputError, match=r"observations\.file: nothing is observed; give a 'file' of wells' curves"):
        load(observations)


def test_keys_of_curves_without_curves_are_refused(load: Callable[..., MatchCase]) -> None:
    with pytest.raises(InputError, match=r"observations\.nodata: is of a 'file' of wells' curves; give one, or leave"):
        load({"map": [MAP], "nodata": -99})
