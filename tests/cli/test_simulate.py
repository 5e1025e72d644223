"""`rockbank simulate`: what is printed and written, and how it ends."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rockbank.cli.main import main
from rockbank.flow.results.netcdf import read_results
from tests.cli.commands import said

CASE = """
title: A few cells
grid: {shape: [6, 5], spacing: [10 m, 10 m, 5 m]}
rock: {permeability: 100 mD, porosity: 0.2}
fluid:
  water: {viscosity: 0.5 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0}}
  PROD: {kind: producer, cells: {i: 5, j: 4}}
schedule:
  unit: day
  steps: [1, 5 x 3]
  controls: {INJ: {rate: 20 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar}
"""


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A case file alone in a folder of its own, from which the command is run."""
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text(CASE)
    return Path("few.yaml")


def test_a_case_is_simulated_and_what_was_asked_for_is_written(case: Path) -> None:
    printed = said("simulate", case, "--picture", "few.png", "--deck", "few.DATA", "--summary", "--verbose")
    for shown in ("A few cells", "6 x 5 = 30", "INJ (injector, 1)", "4, 16 days", "oil recovered", "iterations"):
        assert shown in printed
    names = ["few.nc", "few.png", "few.DATA", "FEW.SMSPEC", "FEW.UNSMRY"]
    assert [line.removeprefix("wrote ") for line in printed.splitlines() if line.startswith("wrote ")] == names
    assert sorted(path.name for path in Path().iterdir()) == sorted([*names, "few.yaml"])


def test_the_report_steps_that_were_cut_are_named(case: Path) -> None:
    case.write_text(CASE.replace("5 x 3", "1, 100, 100") + "options: {max_iterations: 4}\n")
    printed = said("simulate", case, "--method", "newton", "-o", "few.nc")
    assert "report steps cut: 3 " in printed
    assert "report steps cut: none" in said("simulate", case, "--method", "sequential")


def test_the_deck_of_a_case_is_a_case(case: Path) -> None:
    said("simulate", case, "--deck", "few.DATA", "-o", "case.nc")
    said("simulate", "few.DATA", "--method", "newton")
    curves = [read_results(Path(name)).oil_rate.values for name in ("case.nc", "few.nc")]
    # Newton's 1e-3 of a cell's pore volume, against the sequential 1e-6.
    np.testing.assert_allclose(curves[1], curves[0], atol=0.01 * np.abs(curves[0]).max())


def test_a_dry_run_checks_the_case_and_writes_nothing(case: Path) -> None:
    assert "6 x 5 = 30" in said("simulate", case, "--dry-run")
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        (("span: 0.6", "spam: 0.6"), (), "few.yaml: unknown key 'spam' in section 'fluid.curves.water'"),
        (("100 mD", "100 bar"), (), "few.yaml: rock.permeability: unknown unit 'bar' of a permeability"),
        (("{i: 5, j: 4}", "{i: 6, j: 4}"), (), "few.yaml: wells: well 'PROD': cell (6, 4) is outside the grid"),
        (
            ("", ""),
            ("--method", "fastest"),
            "options: got method 'fastest'; known are ['auto', 'sequential', 'newton']",
        ),
        (("", ""), ("--tolerance", "-1"), "options: got tolerance -1.0; it must be positive"),
        (("", ""), ("-o", "few.csv"), "--output: got 'few.csv'; use a name that ends in .nc"),
    ],
)
def test_a_case_that_cannot_be_run_is_one_line_of_error(
    case: Path,
    fails: Callable[..., str],
    change: tuple[str, str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    case.write_text(CASE.replace(*change, 1))
    assert says in fails("simulate", case, *arguments)
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("changes", "arguments", "says"),
    [
        ([("PROD:", "PRODUCER-EAST:")], ("--summary",), "wells ['PRODUCER-EAST']: Eclipse takes names of up to 8"),
        ([("PROD:", "'P/2':"), ("INJ:", "I N:")], ("--deck", "f.DATA"), "wells ['I N', 'P/2']: Eclipse takes names"),
        ([("200 bar}", "200 bar, saturation: 20}")], (), "few.yaml: initial saturation: got 20 in cell (0, 0) and 29"),
        ([("200 bar}", "-1 bar}")], (), "few.yaml: initial: pressure: got -100000 in cell (0, 0) and 29 more; it must"),
        ([("{bhp: 150 bar}", "{oil: 20 m3/day}")], (), "few.yaml: schedule: in report step 1 no well under 'bhp'"),
        ([("20 m3/day}, PROD: {bhp: 150 bar}", "20 m3/day}")], (), "few.yaml: schedule: controls wells ['INJ']"),
        (
            [("{i: 0, j: 0}}", "{i: 0, j: 0}, radius: 99}")],
            (),
            "few.yaml: well 'INJ': radius 99.0 m and skin 0.0 leave",
        ),
        (
            [("{i: 0, j: 0}}", "{i: 0, j: 0..1}, cross_flow: true}")],
            ("--method", "sequential"),
            "method 'sequential' does not apply",
        ),
        ([], ("-o", "there/few.nc"), "there/few.nc: is a folder; give the name of a file"),
        ([], ("-o", "few.yaml/few.nc"), "few.nc: cannot be written, "),
        ([], ("--picture", "few.yaml/sub/few.png"), "few.png: cannot be written, "),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse(
    case: Path,
    fails: Callable[..., str],
    changes: list[tuple[str, str]],
    arguments: tuple[str, ...],
    says: str,
    dry_run: tuple[str, ...],
) -> None:
    text = CASE
    for old, new in changes:
        text = text.replace(old, new)
    case.write_text(text)
    Path("there/few.nc").mkdir(parents=True)
    assert says in fails("simulate", case, *arguments, *dry_run)
    assert sorted(path.name for path in Path().iterdir()) == ["few.yaml", "there"]


ROCK = "porosity: {file: FILE, axes: [j, i]}"


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("changes", "arguments", "read"),
    [
        ([("porosity: 0.2", ROCK.replace("FILE", "few.nc:porosity"))], (), "few.nc"),
        ([("porosity: 0.2", ROCK.replace("FILE", "few.nc:porosity"))], ("-o", "sub/../few.nc"), "sub/../few.nc"),
        ([("porosity: 0.2", ROCK.replace("FILE", "link.nc:porosity"))], (), "few.nc"),
        ([("", "matching: {observations: {file: few.nc}}")], (), "few.nc"),
        ([("", "matching: {observations: {map: [{file: few.nc:s}]}}")], (), "few.nc"),
        ([("", "matching: {parameters: {k: {normal: {median: {file: few.nc:k}}}}}")], (), "few.nc"),
        ([("", "matching: {observations: {file: FEW.SMSPEC}}")], ("-o", "few.nc", "--summary"), "FEW.SMSPEC"),
        ([(CASE, "deck: few.DATA")], ("--deck", "few.DATA", "-o", "new.nc"), "few.DATA"),
        ([(CASE, "deck: whole.DATA")], ("--deck", "few.DATA", "-o", "new.nc"), "few.DATA"),
    ],
)
def test_no_file_that_the_case_names_is_written_over(
    case: Path,
    fails: Callable[..., str],
    changes: list[tuple[str, str]],
    arguments: tuple[str, ...],
    read: str,
    dry_run: tuple[str, ...],
) -> None:
    said("simulate", case, "--deck", "few.DATA", "-o", "made.nc", "--summary")
    Path("MADE.SMSPEC").rename("FEW.SMSPEC")
    if "SMSPEC" not in read:
        with xr.open_dataset("made.nc") as made:
            made[["porosity"]].isel(z=0).to_netcdf("few.nc")
    Path("link.nc").symlink_to("few.nc")
    Path("whole.DATA").write_text("INCLUDE\n'few.DATA' /\n")
    Path("sub").mkdir()
    text = CASE
    for old, new in changes:
        text = text.replace(old, new) if old else text + new
    case.write_text(text)
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert f"{read}: is what is read here, and would be replaced" in fails("simulate", case, *arguments, *dry_run)
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_a_deck_is_not_written_over_the_deck_that_is_run(case: Path, fails: Callable[..., str]) -> None:
    said("simulate", case, "--deck", "few.DATA", "-o", "case.nc")
    before = Path("few.DATA").read_text()
    for dry_run in (("--dry-run",), ()):
        assert "few.DATA: is what is read here, and would be replaced" in fails(
            "simulate", "few.DATA", "--deck", "few.DATA", *dry_run
        )
    assert Path("few.DATA").read_text() == before


def test_what_an_earlier_run_has_written_is_replaced(case: Path) -> None:
    for _ in range(2):
        said("simulate", case, "--deck", "few.DATA", "--summary", "--restart")


def test_ctrl_c_leaves_nothing_half_written(
    case: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # In the midst of writing the results, when their file is there already.
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda path, _: (path.touch(), interrupt()))
    monkeypatch.setattr("sys.argv", ["rockbank", "simulate", str(case)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "stopped; nothing is half written" in capfd.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize("method", ["sequential", "newton"])
def test_ctrl_c_in_the_run_leaves_what_is_done(
    case: Path, method: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    main_arguments = ["rockbank", "simulate", str(case), "--method", method]
    monkeypatch.setattr("sys.argv", [*main_arguments, "-o", "whole.nc"])
    with pytest.raises(SystemExit):
        main()
    at_work = {
        "sequential": "rockbank.flow.steppers.sequential.TimeStepper.take",
        "newton": "rockbank.flow.steppers.newton.TimeStepper.iterate",
    }[method]
    module, kind, name = at_work.rsplit(".", 2)
    work, done = getattr(getattr(importlib.import_module(module), kind), name), []

    def interrupted(self: Any, argument: Any) -> Any:
        if len(self.taken if method == "sequential" else self.states[0].reports) == 3:
            done.append(1)
            raise KeyboardInterrupt
        return work(self, argument)

    monkeypatch.setattr(at_work, interrupted)
    monkeypatch.setattr("sys.argv", [*main_arguments, "-o", "part.nc"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert done == [1]
    assert ended.value.code == 130
    out, err = capfd.readouterr()
    assert "stopped by Ctrl-C after 3 of 4 report steps" in out
    assert "iterations" in err
    whole, part = read_results(Path("whole.nc")), read_results(Path("part.nc"))
    assert len(part["time"]) == 3
    np.testing.assert_array_equal(part["bhp"], whole["bhp"][:3])
