"""Grid, rock, states and wells of a run, read back by resdata."""

from pathlib import Path

import numpy as np
import pytest
import resfo
from resdata.grid import Grid as ReadGrid
from resdata.resfile import ResdataFile, ResdataRestartFile
from resdata.well import WellInfo
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.flow.casefile.file import load_case
from rockbank.flow.results.netcdf import read_results
from tests.flow.eclipse.test_deck_physics import CORNERS
from tests.flow.eclipse.test_deck_syntax import PARTS

CASE = """
title: layers with a hole
start: 2020-02-01
grid:
  shape: [4, 3, 2]
  spacing: [10 m, 20 m, [2 m, 3 m]]
  top: 1000 m
  inactive: [{i: 1, j: 1, k: 0..1}]
rock:
  permeability: {x: 100 mD, y: 200 mD, z: 10 mD}
  porosity: {file: phi.npy}
  compressibility: 4e-5 1/bar
fluid:
  water: {viscosity: 0.5 cP, density: 1000 kg/m3}
  oil: {viscosity: 2 cP, density: 800 kg/m3, compressibility: 1e-4 1/bar}
  curves:
    water: {residual: 0.2, span: 0.6}
    oil: {residual: 0.2, span: 0.6}
  gravity: true
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0, k: 0..1}}
  PROD: {kind: producer, cells: {i: 3, j: 2, k: 1}}
schedule:
  unit: day
  steps: [1, 2]
  controls:
    INJ: {rate: 10 m3/day}
    PROD: [{bhp: 150 bar}, {shut: true, start: 1 day}]
initial: {pressure: 200 bar}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restart")
    np.save(folder / "phi.npy", np.linspace(0.1, 0.3, 24).reshape(4, 3, 2))
    (folder / "case.yaml").write_text(CASE)
    results = folder / "run.nc"
    done = CliRunner().invoke(
        app, ["simulate", str(folder / "case.yaml"), "-o", str(results), "--summary", "--restart"]
    )
    assert done.exit_code == 0, done.output
    assert "wrote" in done.output
    return folder


def test_the_grid_is_that_of_the_case(folder: Path) -> None:
    grid, ours = ReadGrid(str(folder / "RUN.EGRID")), load_case(folder / "case.yaml").rock.grid
    assert (grid.get_nx(), grid.get_ny(), grid.get_nz(), grid.get_num_active()) == (4, 3, 2, 22)
    assert not grid.active(ijk=(1, 1, 0))
    for place, number in np.ndenumerate(ours.number):
        x, y, z = grid.get_xyz(ijk=place)
        assert (x, y) == pytest.approx((5 + 10 * place[0], 10 + 20 * place[1]))
        assert z == pytest.approx(1001.0 if place[2] == 0 else 1003.5)
        if number >= 0:
            assert grid.cell_volume(ijk=place) == pytest.approx(ours.volume[number])


def test_the_states_are_those_of_the_run(folder: Path) -> None:
    grid = ReadGrid(str(folder / "RUN.EGRID"))
    restart = ResdataRestartFile(grid, str(folder / "RUN.UNRST"))
    results = read_results(folder / "run.nc")
    assert [(step.day, step.month, step.year) for step in restart.dates] == [(1, 2, 2020), (2, 2, 2020), (4, 2, 2020)]
    assert list(restart.report_steps) == [0, 1, 2]
    for report in range(3):
        pressure, saturation = (
            results[f"initial_{name}"] if report == 0 else results[name][report - 1]
            for name in ("pressure", "saturation")
        )
        for name, expected in (("PRESSURE", pressure / 1e5), ("SWAT", saturation)):
            read = restart[name][report]
            for i, j, k in np.ndindex(4, 3, 2):
                if grid.active(ijk=(i, j, k)):
                    assert read[grid.get_active_index(ijk=(i, j, k))] == pytest.approx(
                        float(expected[k, j, i]), rel=1e-6
                    )


def test_the_rock_is_that_of_the_case(folder: Path) -> None:
    grid, init = ReadGrid(str(folder / "RUN.EGRID")), ResdataFile(str(folder / "RUN.INIT"))
    phi = np.load(folder / "phi.npy")
    assert init["PORO"][0][grid.get_active_index(ijk=(3, 0, 1))] == pytest.approx(phi[3, 0, 1], rel=1e-6)
    assert [init[f"PERM{axis}"][0][0] for axis in "XYZ"] == pytest.approx([100, 200, 10], rel=1e-6)
    active = load_case(folder / "case.yaml").rock.grid.is_active
    volumes = 200 * np.array([2.0, 3.0]) * phi * active
    assert sum(init["PORV"][0]) == pytest.approx(volumes.sum(), rel=1e-6)


def test_the_wells_are_those_of_the_case(folder: Path) -> None:
    grid = ReadGrid(str(folder / "RUN.EGRID"))
    wells = WellInfo(grid, str(folder / "RUN.UNRST"))
    assert sorted(wells.allWellNames()) == ["INJ", "PROD"]
    before, after = wells["PROD"][1], wells["PROD"][2]
    assert before.isOpen()
    assert not after.isOpen()
    assert [at.ijk() for at in wells["INJ"][1].globalConnections()] == [(0, 0, 0), (0, 0, 1)]


@pytest.mark.parametrize("sign", [1, -1], ids=["y grows with j", "y falls with j"])
def test_the_corners_are_those_of_the_decks_map(tmp_path: Path, sign: int) -> None:
    # Leaning pillars, so that the map is not the same both ways.
    pillars = [(100 + 10 * i, sign * (500 + 10 * j), 1990, 102 + 10 * i, sign * (501 + 10 * j), 2010)
               for j in range(3) for i in range(5)]  # fmt: skip
    coord = "COORD\n" + "".join(f" {' '.join(map(str, pillar))}\n" for pillar in pillars) + "/\nZCORN"
    parts = PARTS | {"GRID": "GRID\n" + coord + CORNERS.partition("ZCORN")[2]}
    (tmp_path / "MAP.DATA").write_text("".join(parts.values()))
    done = CliRunner().invoke(
        app, ["simulate", str(tmp_path / "MAP.DATA"), "-o", str(tmp_path / "map.nc"), "--restart"]
    )
    assert done.exit_code == 0, done.output
    lines = dict(resfo.read(tmp_path / "MAP.EGRID"))["COORD   "].reshape(-1, 2, 3)
    for line, pillar in zip(lines, np.reshape(pillars, (-1, 2, 3)), strict=True):
        part = (line[:, 2:] - pillar[0, 2]) / np.ptp(pillar[:, 2])
        np.testing.assert_allclose(line, pillar[0] + part * np.diff(pillar, axis=0), atol=1e-3)
    grid = ReadGrid(str(tmp_path / "MAP.EGRID"))
    assert np.sign(grid.get_xyz(ijk=(0, 1, 0))[1] - grid.get_xyz(ijk=(0, 0, 0))[1]) == sign
