"""Pressures at depths in a case file: the cell that each is of, its depth's weight, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import AquiferCells, Grid
from rockbank.flow.equations.wells import Well
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.rft import cell_at

DAY, BAR, G = 86400.0, 1e5, 9.80665
CASE: dict[str, Any] = yaml.safe_load("""
title: Four layers
grid: {shape: [3, 2, 4], spacing: [20, 20, [5, 10, 5, 5]], top: 2000}
rock: {permeability: 100 mD, porosity: 0.2, compressibility: 1e-9}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
  gravity: true
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0, k: 0..3}}
  PROD: {kind: producer, cells: {i: 2, j: 1, k: 1..2}}
  HORIZONTAL: {kind: producer, cells: {i: 0..2, j: 0, k: 3}, axis: x}
schedule:
  unit: day
  steps: [10, 30]
  controls: {INJ: {rate: 30 m3/day}, PROD: {bhp: 150 bar}, HORIZONTAL: {shut: true}}
initial: {pressure: 200 bar, saturation: 0.25}
matching:
  parameters: {k: {multiplier: {of: permeability, prior: {median: 1, log_deviation: 0.5}}}}
""")
RFT: dict[str, Any] = {
    "well": "PROD", "time": "20 day", "depth": ["2008 m", 2017], "pressure": ["180 bar", "181 bar"], "sigma": "0.5 bar"
}  # fmt: skip
TABLE = """time,time_unit,well,depth,depth_unit,pressure,sigma,unit
20,day,PROD,2017,m,181,0.5,bar
20,day,PROD,2008,m,180,0.5,bar
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., MatchCase]:
    """Loads CASE with this rft section, whose `file` has this text; keys that are None are left out."""

    def loaded(changes: dict[str, Any] | None = None, table: str = "", *, gravity: bool = True) -> MatchCase:
        (tmp_path / "rft.csv").write_text(table)
        keys = {"file": "rft.csv"} if table else RFT
        keys = {key: value for key, value in (keys | (changes or {})).items() if value is not None}
        text = CASE | {"fluid": CASE["fluid"] | {"gravity": gravity}}
        text["matching"] = CASE["matching"] | {"observations": {"rft": [keys]}}
        (tmp_path / "case.yaml").write_text(yaml.safe_dump(text))
        return load_match_case(tmp_path / "case.yaml")

    return loaded


def test_a_pressure_is_its_cells_at_the_depth_of_its_centre(load: Callable[..., MatchCase]) -> None:
    match = load()
    of = match.observations
    assert (of.well, of.quantity, of.n_of_wells) == (("PROD", "PROD"), ("pressure", "pressure"), 0)
    assert of.cells is not None
    assert of.cells.place.tolist() == [[2, 1, 1], [2, 1, 2]]
    assert of.cells.depth.tolist() == [2008.0, 2017.0]
    assert of.name(0) == "pressure of PROD in cell (2, 1, 1) at 20 days"
    # What the cells hold at first: a quarter of water. The centres are at 2010 and 2017.5 m.
    weight = G * (0.25 * 1000 + 0.75 * 800)
    np.testing.assert_allclose(of.value, np.array([180 * BAR + 2 * weight, 181 * BAR + 0.5 * weight]), rtol=1e-14)
    assert of.sigma.tolist() == [0.5 * BAR] * 2
    np.testing.assert_allclose(np.cumsum(match.case.schedule.steps) / DAY, [10, 20, 40])


def test_without_gravity_a_pressure_is_taken_as_it_is(load: Callable[..., MatchCase]) -> None:
    assert load(gravity=False).observations.value.tolist() == [180 * BAR, 181 * BAR]


def test_a_table_says_the_same(load: Callable[..., MatchCase]) -> None:
    plain, of_table = load().observations, load(table=TABLE).observations
    np.testing.assert_allclose(of_table.value, plain.value, rtol=1e-14)
    assert of_table.cells is not None
    assert of_table.cells.depth.tolist() == [2008.0, 2017.0]
    by_cell = "i,j,k,time,time_unit,well,pressure,sigma,unit\n2,1,1,20,day,PROD,180,0.5,bar\n"
    one = load(table=by_cell).observations
    assert one.value.tolist() == load({"depth": None, "cells": {"i": 2, "j": 1, "k": 1}, "pressure": "180 bar"}) \
        .observations.value.tolist() == [180 * BAR]  # fmt: skip
    assert one.cells is not None
    assert one.cells.depth.tolist() == [2010.0]


def test_what_is_declared_is_left_out(load: Callable[..., MatchCase]) -> None:
    table = TABLE.replace(",181,", ",-999.25,")
    assert load({"nodata": -999.25}, table).observations.value.size == 1
    with pytest.raises(InputError, match=re.escape("rft.csv, line 2, pressure: pressure of PROD at 20 days: got "
                                                    "-999.25 bar, which is no measurement")):  # fmt: skip
        load(table=table)
    assert len(load({"pressure": ["180 bar", -1], "nodata": -1}).observations) == 1
    with pytest.raises(InputError, match=re.escape("none of its 2 rows is a measurement; look at 'nodata'")):
        load({"nodata": [180, 181]}, TABLE)


GRID = Grid(shape=(3, 2, 4), spacing=(20.0, 20.0, (5.0, 10.0, 5.0, 5.0)), top=2000.0)


@pytest.mark.parametrize(
    ("cells", "depth", "place"),
    [
        ([(2, 1, 1), (2, 1, 2)], 2014.9, (2, 1, 1)),
        ([(2, 1, 1), (2, 1, 2)], 2015.0, (2, 1, 1)),  # between two: the upper
        ([(2, 1, 2), (2, 1, 1)], 2015.1, (2, 1, 2)),
        ([(2, 1, 1)], 2000.0, (2, 1, 0)),  # above what is perforated
        ([(2, 1, 1)], 2025.0, (2, 1, 3)),
        ([(0, 0, 0), (1, 0, 1), (2, 0, 2)], 2010.0, (1, 0, 1)),  # of a deviated well the perforated one
    ],
)
def test_a_depth_is_in_the_cell_of_the_well_that_holds_it(
    cells: list[tuple[int, ...]], depth: float, place: tuple[int, ...]
) -> None:
    assert GRID.place(cell_at(GRID, Well(name="W", kind="producer", cells=cells), depth)) == place


def test_an_aquifers_cell_in_the_wells_column_holds_no_depth() -> None:
    number = GRID.cell((2, 1, 3))
    none = np.zeros((0, 2), dtype=int)
    aquifer = AquiferCells(cells=np.array([number]), volume=np.array([1e6]), depth=np.array([2003.0]), pairs=none,
                           axes=none, half_factors=np.zeros((0, 2)))  # fmt: skip
    well = Well(name="W", kind="producer", cells=[(2, 1, 1)])
    assert GRID.place(cell_at(replace(GRID, aquifers=aquifer), well, 2003.0)) == (2, 1, 0)
    with pytest.raises(
        InputError, match=r"got 2022 m, which lies in no cell of W, whose cells reach from 2000 to 2020"
    ):
        cell_at(replace(GRID, aquifers=aquifer), well, 2022.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depth": [2008, 2100]}, "depth: got 2100 m, which lies in no cell of PROD, whose cells reach from 2000"),
        ({"well": "HORIZONTAL", "depth": [2021, 2022]}, "depth: got 2021 m, which lies in 3 cells of HORIZONTAL"),
        ({"well": "P"}, "rft[0]: well: got 'P'; known are ['HORIZONTAL', 'INJ', 'PROD']"),
        ({"time": "50 day"}, "pressure of PROD in cell (2, 1, 1) at 50 days: lies outside the schedule of 40 days"),
        ({"sigma": 0}, "pressure of PROD in cell (2, 1, 1) at 20 days: got standard deviation 0; it must be positive"),
        ({"sigma": [1, 1, 1]}, "sigma: got 3 for 2 measurements; give one of each"),
        ({"pressure": ["180 bar", 0]}, "pressure: pressure of PROD at 20 days: got 0 Pa, which is no measurement"),
        ({"pressure": "180 bar"}, "pressure: got 1 for 2 measurements; give one of each"),
        ({"depth": ["2008 kg", 2017]}, "rft[0].depth: unknown unit 'kg' of a length"),
        ({"depth": None}, "depth: give either 'depth' or 'cells' of the measurements"),
        ({"depth": None, "cells": [{"i": 2, "j": 1, "k": "1..2"}, {"i": 9, "j": 0, "k": 0}]}, "got 2 for 3"),
        ({"depth": None, "cells": {"i": 2, "j": 1, "k": "4..5"}}, "cells: cell (2, 1, 4) is outside the grid"),
        ({"depth": [2008, 2008]}, "pressure of PROD in cell (2, 1, 1) at 20 days is there twice; keep one"),
        ({"file": "rft.csv"}, "rft[0].well: the table rft.csv says it in its columns; leave it out"),
        ({"mask": 1}, "unknown key 'mask' in section 'matching.observations.rft[0]'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_key_value_and_remedy(
    load: Callable[..., MatchCase], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as told:
        load(changes)
    assert str(told.value).startswith(f"{tmp_path / 'case.yaml'}: ")


def test_all_that_is_wrong_of_a_section_is_told_at_once(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        load({"well": None, "time": None, "pressure": [1, 2, 3]})
    where = f"{tmp_path / 'case.yaml'}: matching.observations.rft[0]"
    lines = [
        f"{where}.well: is missing; give it, or a 'file' with a table",
        f"{where}.time: is missing; give it, or a 'file' with a table",
        f"{where}.pressure: got 3 for 2 measurements; give one of each",
    ]
    assert str(told.value).splitlines() == lines


def test_every_wrong_row_of_a_table_is_told_with_line_and_column(
    load: Callable[..., MatchCase], tmp_path: Path
) -> None:
    rows = ["20,day,PROD,2008,m,wet,0.5,bar", "20,day,PROD,2100,m,180,0.5,bar", "20,day,P,2008,m,180,0.5,bar",
            "20,day,PROD,2008,m,180,0.5,m", "50,day,PROD,2008,m,180,0.5,bar", "20,day,PROD,2008,,180,0.5,bar",
            "20,day,PROD,2008,m,180,0,bar"]  # fmt: skip
    with pytest.raises(InputError) as told:
        load(table="\n".join([TABLE.splitlines()[0], *rows]))
    where = f"{tmp_path / 'case.yaml'}: matching.observations: rft[0]: {tmp_path / 'rft.csv'}, "
    found = [line.removeprefix(where) for line in str(told.value).splitlines()]
    for line, said in zip(found, (
        "line 2, pressure: got 'wet'; give a number",
        "line 3, depth: got 2100 m, which lies in no cell of PROD",
        "line 4, well: got 'P'; known are",
        "line 5, unit: unknown unit 'm' of a pressure",
        "line 6, time: pressure of PROD in cell (2, 1, 1) at 50 days: lies outside",
        "line 7, depth_unit: missing; give the unit of the length",
        "line 8, sigma: pressure of PROD in cell (2, 1, 1) at 20 days: got standard deviation 0",
    ), strict=True):  # fmt: skip
        assert line.startswith(said)


def test_a_table_without_its_columns_or_twice_a_measurement_is_refused(load: Callable[..., MatchCase]) -> None:
    with pytest.raises(
        InputError, match=r"rft\.csv, line 1: no column 'depth_unit'; the columns are time,time_unit,well"
    ):
        load(table=TABLE.replace(",depth_unit", ""))
    with pytest.raises(InputError, match=r"rft\.csv: pressure of PROD in cell \(2, 1, 1\) at 20 days is there twice"):
        load(table=TABLE + TABLE.splitlines()[-1])
    with pytest.raises(InputError, match=r"other\.csv: no such file"):
        load({"file": "other.csv"}, TABLE)
