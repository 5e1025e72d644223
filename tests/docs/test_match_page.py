"""The case-file sections that the tutorial of matching shows are read as they stand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.parameters.unknowns import parameterisation
from rockbank.matching.problem.parameterisation import Model
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "tutorials" / "match.md"
SECTIONS: list[dict[str, Any]] = [
    yaml.safe_load(block.text)["matching"] for block in blocks(PAGE) if block.language == "yaml"
]
SHAPE = (4, 3, 2)
CURVES = "time,time_unit,well,quantity,value,sigma,unit\n900,day,PROD,oil_rate,-12,2,m3/day\n"
CASE: dict[str, Any] = yaml.safe_load("""
title: Two layers
grid: {shape: [4, 3, 2], spacing: [20, 20, 10], top: 2000}
rock: {permeability: 100 mD, porosity: 0.2, compressibility: 1e-9}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
  gravity: true
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0, k: 0..1}}
  PROD: {kind: producer, cells: {i: 3, j: 2, k: 0..1}}
  OBS: {kind: producer, cells: {i: 2, j: 1, k: 0..1}}
schedule:
  unit: day
  steps: [400, 400, 400]
  controls: {INJ: {rate: 30 m3/day}, PROD: {bhp: 150 bar}, OBS: {shut: true}}
initial: {pressure: 200 bar, saturation: 0.2}
""")
PARAMETERS: dict[str, Any] = {"k": {"multiplier": {"of": "permeability", "prior": {"median": 1, "log_deviation": 0.5}}}}


def load(folder: Path, case: dict[str, Any], section: dict[str, Any]) -> MatchCase:
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(case | {"matching": section}))
    return load_match_case(path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files that the page's sections name."""
    saturation = np.full(SHAPE, 0.3)
    saturation[1, 1, 1] = -999
    np.save(tmp_path / "saturation.npy", saturation)
    coverage = np.ones(SHAPE[:2])
    coverage[0, 0] = 0
    np.save(tmp_path / "coverage.npy", coverage)
    (tmp_path / "top.csv").write_text("i,j,saturation\n0,0,0.3\n2,1,0.25\n3,2,0.2\n")
    (tmp_path / "curves.csv").write_text(CURVES)
    (tmp_path / "rft.csv").write_text(
        "time,time_unit,well,depth,depth_unit,pressure,sigma,unit\n"
        "400,day,PROD,2006,m,180,0.5,bar\n400,day,PROD,2016,m,-999,0.5,bar\n"
    )
    return tmp_path


def section_of(key: str, kind: str) -> dict[str, Any]:
    """The one section that has `kind` under `key`."""
    (found,) = (each for each in SECTIONS if kind in each.get(key, {}))
    return found


def test_each_section_of_the_page_is_read_here() -> None:
    assert len(SECTIONS) == 3
    named = [section_of("parameters", "curves"), section_of("observations", "map"), section_of("observations", "rft")]
    assert all(each in named for each in SECTIONS)


def test_what_is_unknown_is_read_with_a_deck(files: Path) -> None:
    shutil.copytree(ROOT / "tests" / "decks" / "include", files / "include")
    deck = (ROOT / "tests" / "decks" / "SEALING_FAULT.DATA").read_text()
    (files / "MODEL.DATA").write_text(deck.replace("SOLUTION\n", "REGIONS\nFIPNUM\n 36*1 36*2 /\nSOLUTION\n"))
    match = load(files, {"deck": "MODEL.DATA"}, section_of("parameters", "curves"))
    parameterisation(match.unknowns, match.case, None).check(Model(rock=match.case.rock, fluid=match.case.fluid))
    assert [each.name for each in match.unknowns] == ["curves", "fault", "permeability", "vertical", "zones"]


def test_maps_of_saturation_are_read(files: Path) -> None:
    match = load(files, CASE, {"parameters": PARAMETERS} | section_of("observations", "map"))
    # One cell is declared as nodata, and one of the layer masked.
    n_curves, n_map, n_top = 1, 23, 2
    assert match.observations.n_of_wells == n_curves
    assert len(match.observations) == n_curves + n_map + n_top


def test_pressures_at_depths_are_read(files: Path) -> None:
    match = load(files, CASE, {"parameters": PARAMETERS} | section_of("observations", "rft"))
    assert set(match.observations.quantity) == {"pressure"}
    assert len(match.observations) == 3
