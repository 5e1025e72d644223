"""Section `matching` of a case file: what it says is what is matched, and what is wrong is told before any run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.writer import write_deck
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import peaceman_index
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.problem.geology import Geology

CASES = Path(__file__).parents[3] / "cases"
SHARED = Path(__file__).parents[4] / "shared" / "data" / "deepflow"
DAY = 86400.0
# Sand and shale in turn along j, in each column i.
SAND = np.arange(12).reshape(4, 3) % 2 == 1
CASE = """
title: A small match
grid: {shape: [4, 3], spacing: [10, 10, 10]}
rock: {permeability: {file: k.npy}, porosity: 0.2}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0..2}, axis: y}
  PROD: {kind: producer, cells: {i: 3, j: 0..2}, axis: y}
schedule:
  unit: day
  steps: [1, 4, 5]
  controls: {INJ: {rate: 20 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar}
matching:
  observations: {file: data/obs.csv}
  facies: {cells: {i: [0, 3], j: 0..2}}
  truth: true
  forecast: [5, 2 hours, 10 x 2]
  generator: channels@champion
  method: rml
  members: 12
  seed: 3
"""
OBSERVATIONS = """time,time_unit,well,quantity,value,sigma,unit
10,day,PROD,oil_rate,-11,1,m3/day
1,day,INJ,bhp,250,2,bar
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., MatchCase]:
    """Loads CASE with some keys of section `matching` changed, or left out where they are None."""
    np.save(tmp_path / "k.npy", np.where(SAND, 1e-12, 1e-15))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "obs.csv").write_text(OBSERVATIONS)

    def load_changed(**keys: Any) -> MatchCase:
        text = yaml.safe_load(CASE)
        text["matching"] = {key: value for key, value in (text["matching"] | keys).items() if value is not None}
        (tmp_path / "case.yaml").write_text(yaml.safe_dump(text))
        return load_match_case(tmp_path / "case.yaml")

    return load_changed


def test_a_match_is_what_its_file_says(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    match = load()
    assert match.case.title == load_case(tmp_path / "case.yaml").title == "A small match"
    assert (match.observations.well, match.observations.quantity) == (("INJ", "PROD"), ("bhp", "oil_rate"))
    np.testing.assert_array_equal(match.observations.time, [DAY, 10 * DAY])
    np.testing.assert_allclose(match.observations.value, [250e5, -11 / DAY], rtol=4e-16)
    assert match.facies.cells == tuple((i, j) for i in (0, 3) for j in range(3))
    np.testing.assert_array_equal(match.facies.is_sand, SAND[[0, 3]].ravel())
    np.testing.assert_allclose(match.forecast, [5 * DAY, 7200, 10 * DAY, 10 * DAY], rtol=1e-15)
    assert match.geology == Geology()
    assert match.has_truth
    assert (match.generator, match.method, match.members, match.seed) == ("channels@champion", "rml", 12, 3)


def test_what_is_left_out_is_not_known(load: Callable[..., MatchCase]) -> None:
    names = ("observations", "facies", "truth", "forecast", "generator", "method", "members")
    match = load(**dict.fromkeys(names))
    assert (len(match.observations), len(match.facies.cells), match.forecast) == (0, 0, ())
    assert match.observations.places(match.case.schedule.steps, ["INJ"]).shape == (3, 0)
    assert match.facies.at(torch.ones(5, 4, 3)).shape == (5, 0)
    assert not match.has_truth
    assert (match.generator, match.method, match.members) == (None, None, None)


def test_facies_of_a_file_are_those_of_the_rock(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    rows = [f"{int(SAND[i, j])},{i},{j}" for i in (0, 3) for j in range(3)]
    (tmp_path / "facies.csv").write_text("\n".join(["sand,i,j", *rows]))
    of_rock, of_file = load().facies, load(facies={"file": "facies.csv"}, truth=False).facies
    assert of_file.cells == of_rock.cells
    torch.testing.assert_close(of_file.is_sand, of_rock.is_sand, rtol=0, atol=0)


def test_sand_is_where_the_permeability_is_at_least_that_of_even_odds(
    load: Callable[..., MatchCase], tmp_path: Path
) -> None:
    k = np.full((4, 3), 5.01e-13)
    k[0, 0] = np.nextafter(k[0, 0], 0)
    np.save(tmp_path / "k.npy", k)
    cells = {"i": 0, "j": "0..1"}
    assert load(facies={"cells": cells}).facies.is_sand.tolist() == [False, True]
    assert load(facies={"cells": cells, "sand": "0.5 D"}).facies.is_sand.tolist() == [True, True]
    richer = {"permeability_range": "2 D", "least_permeability": "1 mD"}
    assert load(facies={"cells": cells}, geology=richer).facies.is_sand.tolist() == [False, False]


def test_geology_may_be_changed_in_part(load: Callable[..., MatchCase]) -> None:
    geology = load(geology={"facies": 2, "porosity": None, "least_permeability": "1e-14 m2"}).geology
    assert geology == Geology(facies=2, porosity=None, least_permeability=1e-14)


def test_the_truths_well_indices_hold_in_every_rock(load: Callable[..., MatchCase]) -> None:
    case = load(well_index="truth").case
    for well in case.wells:
        torch.testing.assert_close(well.index, peaceman_index(case.rock, well)[0], rtol=0, atol=0)
    assert all(well.index is None for well in load().case.wells)
    # Through the truth itself it makes no difference, through another rock it does.
    other = Rock(grid=case.rock.grid, permeability=torch.full((4, 3), 1e-13).double(), porosity=case.rock.porosity)

    def pressures(rock: Rock, of: MatchCase) -> torch.Tensor:
        case = of.case
        run = simulate(
            rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=Options(method="newton")
        )
        return run.bhp[:, 0]

    held, own = load(well_index="truth"), load()
    torch.testing.assert_close(pressures(case.rock, held), pressures(case.rock, own), rtol=1e-12, atol=0)
    assert (pressures(other, held) - pressures(other, own)).abs().min() > 1e4


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"member": 3}, "case.yaml: unknown key 'member' in section 'matching'; known are ['observations', 'facies',"),
        ({"members": 0}, "case.yaml: matching.members: got 0; give 1 or more"),
        ({"members": "many"}, "case.yaml: matching.members: expected a whole number, got 'many'"),
        ({"seed": -1}, "case.yaml: matching.seed: got -1; give 0 or more"),
        ({"observations": {}}, "case.yaml: matching.observations.file: nothing is observed"),
        ({"observations": {"file": "no.csv"}}, "no.csv: no such file; the path is relative to the case file"),
        (
            {"observations": {"file": "data/obs.csv", "sigma": {"bhp": 0}}},
            "matching.observations.sigma.bhp: got standard",
        ),
        ({"facies": {}}, "matching.facies.cells: give either 'cells' or 'file'"),
        ({"facies": {"file": "f.csv", "sand": 1}}, "matching.facies.sand: the file says where it is; leave it out"),
        (
            {"facies": {"cells": {"i": 4, "j": 0}}},
            "case.yaml: matching.facies: cell (4, 0) is outside the grid of (4, 3)",
        ),
        ({"facies": {"cells": [{"i": 0, "j": [1, "0..2"]}]}}, "case.yaml: matching.facies: cells: one is there twice"),
        ({"facies": {"cells": {"i": 0, "j": 0, "k": 0}}}, "case.yaml: matching.facies: cell (0, 0, 0) is outside"),
        ({"facies": {"cells": {"i": 0}}}, "case.yaml: matching.facies.cells: expected cells such as {i: 7, j: 0..63}"),
        ({"truth": False}, "matching.facies: cells are looked up in the case's rock, which is not the truth"),
        (
            {"truth": False, "facies": None, "well_index": "truth"},
            "matching.well_index: is the truth's, which the case's",
        ),
        ({"geology": {"facies": "first"}}, "matching.geology.facies: expected a whole number, got 'first'"),
        ({"geology": {"least_permeability": 0}}, "matching.geology.least_permeability: got 0.0; every cell's"),
        ({"geology": {"permeability_range": -1e-12}}, "matching.geology.permeability_range: got -1e-12; every cell's"),
        (
            {"geology": {"porosity_range": 0.95}},
            "matching.geology.porosity_range: got 0.95 above 0.1; a porosity is at",
        ),
        ({"forecast": [1, "soon"]}, "case.yaml: matching.forecast: steps: expected a time"),
        ({"forecast": [-1]}, "case.yaml: matching.forecast: steps: got a length of -1; times have to increase"),
        ({"forecast": 600}, "case.yaml: matching.forecast: expected a list, got 600"),
    ],
)
def test_what_is_wrong_names_file_section_and_key(
    load: Callable[..., MatchCase], keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        load(**keys)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,1,1", "facies.csv, line 3, i: got 'a'; give a whole number, counted from 0"),
        ("1,-1,1", "facies.csv, line 3, j: got '-1'; give a whole number"),
        ("1,3,1", "facies.csv, line 3, i,j: cell (1, 3) is outside the grid"),
        ("0,0,1", "facies.csv, line 3, i,j: cell (0, 0) is there twice; keep one"),
        ("1,1,yes", "facies.csv, line 3, sand: got 'yes'; known are ['0', '1']"),
    ],
)
def test_a_wrong_row_of_facies_is_told_by_file_line_and_column(
    load: Callable[..., MatchCase], tmp_path: Path, row: str, says: str
) -> None:
    (tmp_path / "facies.csv").write_text(f"i,j,sand\n0,0,1\n{row}\n")
    with pytest.raises(ValueError, match=re.escape(says)):
        load(facies={"file": "facies.csv"})


def test_a_file_without_the_section_a_deck_and_a_grid_of_layers_are_refused(
    load: Callable[..., MatchCase], tmp_path: Path
) -> None:
    write_deck(tmp_path / "CASE.DATA", load().case)
    with pytest.raises(
        ValueError, match=r"CASE\.DATA: a deck tells no observations; give a case file with 'deck: CASE"
    ):
        load_match_case(tmp_path / "CASE.DATA")
    with pytest.raises(ValueError, match=r"quarter_five_spot\.yaml: no section 'matching'; say there where"):
        load_match_case(CASES / "quarter_five_spot.yaml")
    (tmp_path / "layers.yaml").write_text((CASES / "spe10_like.yaml").read_text() + "\nmatching: {}\n")
    with pytest.raises(ValueError, match=r"layers\.yaml: grid: got shape .*; generators make sections of two axes"):
        load_match_case(tmp_path / "layers.yaml")


def test_the_section_may_stand_beside_a_deck(load: Callable[..., MatchCase], tmp_path: Path) -> None:
    plain = load()
    write_deck(tmp_path / "CASE.DATA", plain.case)
    text = {"deck": "CASE.DATA", "gravity": False, "matching": {"observations": {"file": "data/obs.csv"},
            "truth": True, "facies": {"cells": {"i": [0, 3], "j": "0..2"}}, "forecast": ["10 days x 2"]}}  # fmt: skip
    (tmp_path / "of_deck.yaml").write_text(yaml.safe_dump(text))
    match = load_match_case(tmp_path / "of_deck.yaml")
    np.testing.assert_array_equal(match.observations.value, plain.observations.value)
    assert match.facies.cells == plain.facies.cells
    assert match.forecast == (10 * DAY, 10 * DAY)


def test_the_simulator_leaves_the_section_alone_but_for_its_being_one(
    load: Callable[..., MatchCase], tmp_path: Path
) -> None:
    title = load().case.title
    for matching in ("{anything: [1, 2]}", "{observations: {file: none.csv}}"):
        (tmp_path / "plain.yaml").write_text(CASE[: CASE.index("matching:")] + f"matching: {matching}")
        assert load_case(tmp_path / "plain.yaml").title == title
    (tmp_path / "plain.yaml").write_text(CASE[: CASE.index("matching:")] + "matching: later")
    with pytest.raises(ValueError, match=r"plain\.yaml: matching: expected a mapping, got 'later'"):
        load_case(tmp_path / "plain.yaml")


def test_the_case_of_the_repository_has_its_wells_facies_and_111_observations() -> None:
    match = load_match_case(CASES / "deepflow.yaml")
    case = match.case
    assert match.has_truth
    assert len(match.observations) == 3 * len(case.schedule.steps) == 111
    assert match.facies.cells == tuple(place for well in case.wells for place in well.cells)
    truth = (case.rock.permeability - 1e-15) / 1e-12
    torch.testing.assert_close(match.facies.at(truth).round(), match.facies.is_sand.double(), rtol=0, atol=0)
    assert sum(match.forecast) == sum(case.schedule.steps)


def test_the_published_facies_are_in_the_columns_of_the_published_code() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here: the published rock is not part of the repository")
    match = load_match_case(CASES / "deepflow_published.yaml")
    assert match.facies.cells == tuple((i, j) for i in (8, 120) for j in range(64))
    # Cells over half a darcy in the file.
    assert match.facies.is_sand.reshape(2, 64).sum(dim=1).tolist() == [47, 44]
