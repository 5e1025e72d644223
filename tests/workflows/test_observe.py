"""`rockbank observe`: what it makes is a run and noise, by the seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rockbank.cli.main import app, main
from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import Result, simulate
from rockbank.matching.io.csv import read_table
from rockbank.matching.problem.observations import Observations, observables
from rockbank.workflows.observe import Plan, measure, read_observed

CASES = Path(__file__).parents[2] / "cases"
DAY = 86400.0
CASE = """
title: A few cells
grid: {shape: [6, 5], spacing: [10, 10, 10]}
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
matching: {observations: {file: not/there/yet.csv}}
"""
SIGMAS = ("--sigma-bhp", "2 bar", "--sigma-rate", "1 m3/day")
SIGMA = {"bhp": 2e5, "water_rate": 1 / DAY, "oil_rate": 1 / DAY}


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A case file alone in a folder of its own, from which the command is run."""
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text(CASE)
    return Path("few.yaml")


def said(*arguments: str | Path) -> str:
    """What the command prints on standard output."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "120"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def ran(case: Case) -> Result:
    """One run, to round-off."""
    options = Options(method="newton", cnv=1e-12, mb=1e-14)
    return simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)


def plan(case: Case, observed: str | None = None, seed: int = 1) -> Plan:
    return Plan(observed=read_observed(observed, case), sigma=SIGMA, seed=seed, output=Path("obs.csv"))


def residuals(case: Case, result: Result, observed: Observations) -> np.ndarray:
    places = observed.places(case.schedule.steps, [well.name for well in case.wells])
    return (observed.value - observables(result, places).numpy()) / observed.sigma


def test_a_file_of_a_run_and_noise_is_written(case: Path) -> None:
    printed = said("observe", case, *SIGMAS, "--seed", "5", "--tolerance", "1e-10")
    for shown in ("A few cells", "6 x 5 = 30", "INJ: bhp; PROD: water_rate, oil_rate", "wrote observations.csv"):
        assert shown in printed
    loaded = load_case(case)
    found = read_table(Path("observations.csv"), loaded)
    wanted = measure(loaded, ran(loaded), plan(loaded, seed=5))
    assert (found.well, found.quantity) == (wanted.well, wanted.quantity)
    # Two solvers, each far below the noise.
    np.testing.assert_allclose((found.value - wanted.value) / wanted.sigma, 0, atol=1e-6)
    assert sorted(path.name for path in Path().iterdir()) == ["few.yaml", "observations.csv"]


def test_the_seed_and_what_is_observed_decide_and_the_order_does_not(case: Path) -> None:
    for name, observed, seed in (
        ("a", "INJ:bhp PROD:water_rate,oil_rate", "5"),
        ("b", "PROD:oil_rate,water_rate INJ:bhp", "5"),
        ("c", "INJ:bhp PROD:water_rate,oil_rate", "6"),
        ("d", "PROD:bhp", "5"),
    ):
        said("observe", case, *SIGMAS, "--seed", seed, "--observed", observed, "-o", f"{name}.csv")
    a, b, c, d = (Path(f"{name}.csv").read_text() for name in "abcd")
    assert a == b != c
    assert [line.split(",")[2:4] for line in d.splitlines()[1:]] == [["PROD", "bhp"]] * 4


def test_the_noise_is_standard_normal_by_the_standard_deviations(case: Path) -> None:
    loaded = load_case(case)
    result = ran(loaded)
    noise = np.stack([residuals(loaded, result, measure(loaded, result, plan(loaded, seed=s))) for s in range(200)])
    n = noise.size
    # The mean of n numbers of N(0, 1), and of their squares; five standard deviations.
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / n)
    # Neither within a set nor from seed to seed do they hang together.
    correlation = np.corrcoef(noise.T) - np.eye(noise.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(noise))


def test_a_dry_run_says_what_would_be_observed_and_writes_nothing(case: Path) -> None:
    printed = said("observe", case, *SIGMAS, "--observed", "INJ:bhp", "--dry-run")
    assert "INJ: bhp" in printed
    assert "PROD: " not in printed
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.fixture
def fails(case: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which has to end with status 1 and one line of error, before anything is printed or written."""

    def run(*arguments: str, has_begun: bool = False) -> str:
        monkeypatch.setattr("sys.argv", ["rockbank", "observe", str(case), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        assert ended.value.code == 1
        *progress, line = printed.err.strip().splitlines()
        assert has_begun or (printed.out, progress) == ("", [])
        assert [path.name for path in Path().iterdir()] == ["few.yaml"]
        return line

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--sigma-bhp: is missing for bhp of INJ; say how far it is to be trusted"),
        (("--sigma-bhp", "2 bar"), "--sigma-rate: is missing for water_rate of PROD"),
        ((*SIGMAS, "--sigma-bhp", "2 m3"), "--sigma-bhp: unknown unit 'm3' of a pressure; known are"),
        ((*SIGMAS, "--sigma-rate", "0"), "--sigma-rate: got '0'; it must be positive"),
        ((*SIGMAS, "--sigma-rate", "-1 m3/day"), "--sigma-rate: got '-1 m3/day'; it must be positive"),
        ((*SIGMAS, "--observed", "INJ"), "--observed: got 'INJ'; write such as 'INJ:bhp PROD:water_rate,oil_rate'"),
        ((*SIGMAS, "--observed", " "), "--observed: got nothing; write such as"),
        ((*SIGMAS, "--observed", "P1:bhp"), "--observed: no well 'P1'; the case has ['INJ', 'PROD']"),
        (
            (*SIGMAS, "--observed", "INJ:thp"),
            "--observed: got 'thp' of INJ; known are ['bhp', 'water_rate', 'oil_rate']",
        ),
        ((*SIGMAS, "--observed", "INJ:bhp INJ:bhp"), "--observed: bhp of INJ is there twice; keep one"),
        ((*SIGMAS, "-o", "obs.nc"), "--output: got 'obs.nc'; use a name that ends in .csv"),
        ((*SIGMAS, "-o", "few.yaml/obs.csv"), "few.yaml/obs.csv: cannot be written, "),
        ((*SIGMAS, "--tolerance", "-1"), "options: got tolerance -1.0; it must be positive"),
    ],
)
def test_what_cannot_be_observed_is_one_line_of_error(
    fails: Callable[..., str], arguments: tuple[str, ...], says: str
) -> None:
    for dry_run in (("--dry-run",), ()):
        assert says in fails(*arguments, *dry_run)


def test_observations_that_the_case_names_are_replaced_only_where_that_is_asked(case: Path) -> None:
    case.write_text(CASE.replace("not/there/yet.csv", "observations.csv"))
    said("observe", case, *SIGMAS)
    before = Path("observations.csv").read_text()
    for dry_run in (("--dry-run",), ()):
        with pytest.raises(InputError, match=r"^observations.csv: is what is read here.* another name, or --replace$"):
            said("observe", case, *SIGMAS, "--seed", "8", *dry_run)
    assert Path("observations.csv").read_text() == before
    said("observe", case, *SIGMAS, "--seed", "8", "--replace")
    assert Path("observations.csv").read_text() != before


def test_noise_that_makes_a_pressure_impossible_is_refused(fails: Callable[..., str]) -> None:
    sigmas = ("--sigma-bhp", "2000 bar", "--sigma-rate", "1 m3/day")
    assert "--sigma-bhp: with noise the bhp of INJ at " in fails(*sigmas, "--observed", "INJ:bhp", has_begun=True)


@pytest.mark.slow
def test_the_observations_of_the_repository_are_what_their_command_makes() -> None:
    case = load_case(CASES / "deepflow.yaml")
    case = replace(case, options=Options(tolerance=1e-10))
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    sigma = {"bhp": 2e5, "water_rate": 9 / DAY, "oil_rate": 9 / DAY}
    plan = Plan(observed=read_observed(None, case), sigma=sigma, seed=42, output=Path("obs.csv"))
    wanted, found = measure(case, result, plan), read_table(CASES / "deepflow" / "observations.csv", case)
    assert (found.well, found.quantity) == (wanted.well, wanted.quantity)
    # The tolerance of the run leaves 1e-8 of the rates and pressures, which are 40 to 200 sigma.
    np.testing.assert_allclose((found.value - wanted.value) / wanted.sigma, 0, atol=1e-5)
    np.testing.assert_allclose(found.sigma, wanted.sigma, rtol=4e-16)
