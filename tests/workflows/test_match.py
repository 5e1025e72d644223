"""`rockbank match`: what a person types, what comes of it in the folder and in MLflow, whatever happens meanwhile."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from markupsafe import escape
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.core.errors import InputError
from rockbank.core.files import read_json, write_json
from rockbank.gan.bodies import SOFT, STEEP, BodiesGenerator
from rockbank.gan.weights import load_generator
from rockbank.generator.card import WEIGHTS
from rockbank.matching.methods.es_mda import Turn, respond
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import MAX_ITERATIONS_REACHED
from rockbank.matching.methods.workers import advance
from rockbank.matching.results.posterior import posterior, read_posterior, write_posterior
from rockbank.matching.results.report import write_report
from rockbank.matching.run import GENERATOR, Run
from rockbank.mlops import registry, tracking
from rockbank.workflows import match
from rockbank.workflows.match_about import about, hours, status
from rockbank.workflows.match_request import MATCHES, MatchRequest
from tests.matching.quick import Here, rough_pictures
from tests.matching.tiny import checkpoints, make_run, register, write_case, write_tiny_bodies
from tests.workflows.mlflow_runs import children

pytestmark = pytest.mark.usefixtures("quick")


def said(*arguments: str | Path) -> str:
    """What the command prints on standard output; an error of its own comes out as it is."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "100"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_help_tells_of_the_run_and_of_its_other_commands() -> None:
    for arguments in ((), ("--help",)):
        printed = said("match", *arguments)
        assert "rockbank match [OPTIONS] [CASE]" in printed
        assert "rockbank match status|resume|report RUN" in printed
        assert f"else {SOFT:g}, and {STEEP:g} softens none" in " ".join(printed.replace("│", " ").split())
        for option in ("--generator", "--method", "--members", "--seed", "--terms", "--scaling", "--iterations"):
            assert option in printed
    assert "--workers" in said("match", "resume", "--help")


def test_a_dry_run_says_what_would_be_run_and_writes_nothing(case: Path) -> None:
    before = sorted(path.name for path in case.parent.iterdir())
    # A line of the table may be broken where the time that it tells is long.
    printed = " ".join(said("match", "--members", "5", case, "--dry-run", "--terms", "flow", "--workers", "2").split())
    for shown in (
        "A tiny match",
        "16 x 16",
        "10: 5 bhp of INJ, 5 oil_rate of PROD",
        "32 cells, 12 of them sand",
        "tiny/1",
        "rml",
        "5, seed 3",
        "flow, prior; scaling: posterior",
        "hours on 2 cores",
        "matches/case-rml",
    ):
        assert shown in printed
    assert sorted(path.name for path in case.parent.iterdir()) == before
    # The wells alone take no runs but the results'.
    printed = " ".join(said("match", "--members", "5", case, "--dry-run", "--terms", "wells").split())
    assert "wells, prior; scaling: posterior" in printed
    assert "if every member takes" not in printed


@pytest.mark.parametrize(("members", "workers", "rounds"), [(3, 1, 3), (3, 2, 2), (3, 3, 1), (3, 16, 1), (5, 2, 3)])
def test_workers_that_have_no_member_do_not_shorten_the_estimate(members: int, workers: int, rounds: int) -> None:
    assert hours(members, workers, n_runs=10, seconds=36.0) == pytest.approx(rounds * 0.1, rel=1e-12)


def test_a_dry_run_refuses_an_executor_that_is_none(case: Path) -> None:
    answer = CliRunner().invoke(app, ["match", str(case), "--dry-run", "--executor", "nonsense"])
    assert answer.exit_code == 1
    assert "got 'nonsense'" in answer.stderr


def test_a_dry_run_says_why_the_first_members_rock_is_impossible(case: Path) -> None:
    text = yaml.safe_load(case.read_text())
    for key in ("generator", "facies", "geology"):
        del text["matching"][key]
    text["matching"]["parameters"] = {"kr": {"curves": {"priors": {"oil.exponent": {"mean": -5, "deviation": 0.1}}}}}
    case.write_text(yaml.safe_dump(text))
    said_of = about(case, MatchRequest(), 1)["time"]
    assert said_of.startswith("not known, the first member's rock cannot be simulated: ")
    assert "need an exponent of at least 1" in said_of


def test_without_a_case_it_is_deepflows(case: Path) -> None:
    shutil.copytree(case.parent, "cases", ignore=lambda *_: {"cases", "matches"})
    Path("cases/case.yaml").rename("cases/deepflow.yaml")
    printed = " ".join(said("match", "--dry-run", "--method", "gauss-newton").split())
    assert "matches/deepflow-gauss-newton" in printed


def test_edges_of_bodies_are_softened_for_a_match_and_those_of_a_convolution_cannot_be(case: Path) -> None:
    registry.push("bodies", write_tiny_bodies(case.parent / "bodies"))
    bodies = MatchRequest(generator="bodies/1", method="prior")
    assert about(case, bodies, 1)["generator"].endswith(", its edges softened to 4 a cell")
    run = Run(match.begin(case, replace(bodies, edges=6.0)))
    assert run.settings.edges == 6
    generator = load_generator(
        run.folder / GENERATOR / WEIGHTS, network="bodies", latent=run.card.latent_shape, image=run.card.image_shape
    )
    assert isinstance(generator, BodiesGenerator)
    z = torch.randn(2, run.rock.n_latent, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image = (1 + generator.double().softened(6.0)(z)[:, 0].mT) / 2
    torch.testing.assert_close(run.rock.facies(run.rock.variables(z)), image, rtol=0, atol=1e-12)
    assert read_json(run.folder / "run.json")["edges"] == 6
    assert Run(match.begin(case, bodies)).settings.edges == 4
    assert Run(match.begin(case, MatchRequest(method="prior"))).settings.edges is None
    # Runs of before say nothing of edges, and took images as they are.
    settings = read_json(run.folder / "run.json")
    del settings["edges"]
    write_json(run.folder / "run.json", settings)
    image = (1 + generator(z)[:, 0].mT) / 2
    of_before = Run(run.folder).rock
    torch.testing.assert_close(of_before.facies(of_before.variables(z)), image, rtol=0, atol=1e-12)


def test_edges_that_cannot_be_had_are_refused(case: Path) -> None:
    registry.push("bodies", write_tiny_bodies(case.parent / "bodies"))
    for edges in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"edges: got {edges:g}; give a steepness, 1/cell, above 0"):
            about(case, MatchRequest(generator="bodies/1", edges=edges), 1)
    with pytest.raises(ValueError, match=r"edges: got 40\.5; give at most 40 a cell, as in the images"):
        about(case, MatchRequest(generator="bodies/1", edges=40.5), 1)
    with pytest.raises(ValueError, match="edges: got 4; images of the network 'table1' have none that could be softe"):
        about(case, MatchRequest(edges=4.0), 1)
    text = yaml.safe_load(case.read_text())
    for key in ("generator", "facies", "geology"):
        text["matching"].pop(key, None)
    text["matching"]["parameters"] = {"k": {"multiplier": {"of": "porosity", "prior": {"low": 0.5, "high": 2}}}}
    case.write_text(yaml.safe_dump(text))
    with pytest.raises(ValueError, match=r"--edges: got 4; none of the case's parameters \['k'\] is a generator's"):
        about(case, MatchRequest(edges=4.0), 1)


@pytest.mark.parametrize(
    ("asked", "keys", "says"),
    [
        ({"method": "newton"}, {}, "method: got 'newton'; known are ['prior', "),
        ({"terms": "flow,well"}, {}, "--terms: got 'well'; known are ['flow', 'wells']"),
        ({"scaling": "mine"}, {}, "scaling: got 'mine'; known are ['posterior', 'published']"),
        ({"iterations": 0}, {}, "iterations: got 0"),
        ({"scaling": "published"}, {}, "scaling: got 'published'; rml samples the posterior, which that is not"),
        ({"name": "../other"}, {}, "--name: got '../other'; give the name of a folder"),
        ({}, {"generator": None}, "--generator: is given neither here nor in the case file's section 'matching'"),
        ({}, {"members": None}, "--members: is given neither here nor in the case file's section 'matching'"),
        ({}, {"membres": 3}, "case.yaml: unknown key 'membres' in section 'matching'"),
        ({}, {"observations": {"file": "none.csv"}}, "none.csv"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, object],
    keys: dict[str, object],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    case = write_case(tmp_path, **keys)
    before = sorted(path.name for path in tmp_path.iterdir())
    request = MatchRequest(**asked)  # type: ignore[arg-type]
    for would in (lambda: about(case, request, 1), lambda: match.begin(case, request)):
        with pytest.raises(ValueError, match=re.escape(says)):
            would()
    assert [path.name for path in tmp_path.rglob("*") if path.name == "run.json"] == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "matches") == before


def test_a_dry_run_refuses_a_folder_that_is_taken_or_cannot_be_made(case: Path) -> None:
    (MATCHES / "taken").mkdir(parents=True)
    with pytest.raises(ValueError, match="matches/taken: is there already; 'rockbank match resume matches/taken'"):
        about(case, MatchRequest(name="taken"), 1)
    shutil.rmtree(MATCHES)
    MATCHES.touch()
    with pytest.raises(ValueError, match=r"matches/new: cannot be written, .*matches is a file"):
        about(case, MatchRequest(name="new"), 1)


def test_a_generator_that_does_not_fit_the_grid_is_refused_with_both_shapes(case: Path) -> None:
    text = case.read_text().replace("- 16\n  - 16", "- 16\n  - 15").replace("0..15", "0..14")
    np.save(case.parent / "k.npy", np.load(case.parent / "k.npy")[:, :15])
    case.write_text(text)
    with pytest.raises(ValueError, match=r"grid: got \(16, 15\) cells, the generator makes sections of \(16, 16\)"):
        match.begin(case, MatchRequest())
    assert not MATCHES.exists()


def test_rml_is_the_method_where_none_is_named(store: Path) -> None:
    register(store / "generator")
    folder = match.begin(write_case(store, method=None), MatchRequest())
    assert (folder, Run(folder).settings.method) == (Path("matches/case-rml"), "rml")


def test_a_run_has_a_folder_of_its_own(case: Path) -> None:
    folders = [match.begin(case, MatchRequest(method="prior")) for _ in range(2)]
    assert [str(folder) for folder in folders] == ["matches/case-prior", "matches/case-prior-2"]
    assert str(match.begin(case, MatchRequest(name="mine"))) == "matches/mine"
    with pytest.raises(ValueError, match=r"matches/mine: is there already; 'rockbank match resume matches/mine'"):
        match.begin(case, MatchRequest(name="mine"))
    settings = Run(folders[1]).settings
    assert (settings.generator, settings.members, settings.seed) == ("tiny/1", 3, 3)


def test_status_has_a_row_for_each_member_and_the_reasons(case: Path) -> None:
    folder = match.begin(case, MatchRequest(iterations=2))
    run = Run(folder)
    advance(run, 0, lambda _: None, lambda: False)
    State(records=()).ended("failed", "NewtonError: step 3").save(run.checkpoint(1))
    printed = said("match", "status", folder)
    state = State.load(run.checkpoint(0))
    for shown in (f"{state.last.parts.total:.5g}", "not begun", "member 1 failed", "NewtonError: step 3", "none yet"):
        assert shown in printed


def test_a_status_is_whole_on_a_narrow_screen(case: Path) -> None:
    folder = match.begin(case, MatchRequest(iterations=2))
    run = Run(folder)
    for i in range(3):
        state = advance(run, i, lambda _: None, lambda: False)
        state.ended(MAX_ITERATIONS_REACHED, "2 Jacobians").save(run.checkpoint(i))
    result = CliRunner().invoke(app, ["match", "status", str(folder)], env={"COLUMNS": "80"})
    assert f"{state.last.parts.time_mean:.3g}" in result.stdout
    assert "…" not in result.stdout


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its case, and the report of its checkpoints."""
    folder: Path = tmp_path_factory.mktemp("reported")
    run = make_run(folder / "run", write_case(folder), iterations=2, members=3)
    advance(run, 0, lambda _: None, lambda: False)
    State(records=()).ended("failed", "NewtonError: step 3").save(run.checkpoint(1))
    dataset = posterior(run, lambda function, arguments: Here(run).map(function, arguments, lambda: None))
    write_posterior(run.folder, dataset)
    with rough_pictures():
        write_report(run.folder, dataset)
    return folder


class TestResultsOnly:
    """A run whose members' checkpoints are not there, as `dvc pull` brings it."""

    @pytest.fixture
    def run(self, reported: Path, tmp_path: Path) -> Run:
        return Run(shutil.copytree(reported, tmp_path / "reported") / "run")

    @pytest.fixture
    def page(self, run: Run) -> str:
        """The report of the checkpoints, which are gone afterwards, and so is what they were made with."""
        path = run.folder / "report.html"
        page = path.read_text(encoding="utf-8")
        path.unlink()
        (run.folder / "table.csv").unlink()
        shutil.rmtree(run.folder / "members")
        shutil.rmtree(run.folder / "generator")
        (run.folder / run.settings.case).unlink()
        return page

    def test_the_report_is_that_of_the_checkpoints(
        self, run: Run, page: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = (run.folder / "posterior.nc").read_bytes()
        assert "table.csv" in said("match", "report", run.folder)
        assert (run.folder / "report.html").read_text(encoding="utf-8") == page
        assert len((run.folder / "table.csv").read_text().splitlines()) == 1 + 3
        assert (run.folder / "posterior.nc").read_bytes() == before
        match.report(run.folder, 1)
        assert "holds results only, without members/" in capfd.readouterr().err

    def test_results_become_compact_without_their_checkpoints_too(self, run: Run, page: str) -> None:
        before = (run.folder / "posterior.nc").stat().st_size
        said("match", "report", run.folder, "--compact")
        assert (run.folder / "posterior.nc").stat().st_size < before
        assert "permeability" not in read_posterior(run.folder)

    def test_status_tells_the_same_of_the_members(self, run: Run) -> None:
        rows, told = status(run.folder)
        shutil.rmtree(run.folder / "members")
        rows_alone, told_alone = status(run.folder)
        note = told_alone.pop("checkpoints")
        assert note == "none, there are results only: 'report' works, 'resume' needs members/"
        assert told_alone == told | {"members": "1 reached its iteration limit, 1 failed, 1 running"}
        # A member that has not begun, which is the last one, has a row without numbers.
        assert rows_alone == [*rows, ("2", "running", "", "", "", "", "")]
        assert "results only" in said("match", "status", run.folder)

    def test_resume_says_what_is_missing_and_begins_nothing(self, run: Run) -> None:
        shutil.rmtree(run.folder / "members")
        (run.folder / "posterior.nc").touch()
        missing = rf"{run.folder}: members/, the checkpoints of its members, is not there.*results only.*--method rml"
        with pytest.raises(InputError, match=missing):
            match.go_on(run.folder, 1)
        assert not (run.folder / "members").exists()

    def test_nothing_is_reported_of_neither_checkpoints_nor_results(self, run: Run) -> None:
        shutil.rmtree(run.folder / "members")
        (run.folder / "posterior.nc").unlink()
        with pytest.raises(InputError, match=r"holds neither members/.*nor posterior.nc; 'dvc pull'"):
            match.report(run.folder, 1)


@pytest.mark.slow
def test_a_compact_dataset_counts_as_the_members_own(store: Path) -> None:
    run = make_run(store / "run", write_case(store), method="prior", members=2)
    for i in range(2):
        advance(run, i, lambda _: None, lambda: False)
    match.report(run.folder, 1, is_compact=True)
    before = (run.folder / "posterior.nc").read_bytes()
    # Nothing is simulated again, for it is of the checkpoints as they are.
    match.report(run.folder, 1)
    assert (run.folder / "posterior.nc").read_bytes() == before


@pytest.mark.slow
def test_a_report_is_made_of_the_members_as_they_are(case: Path) -> None:
    folder = match.begin(case, MatchRequest(iterations=2))
    advance(Run(folder), 1, lambda _: None, lambda: False)
    printed = said("match", "report", folder, "--workers", "1")
    assert "wrote matches/case-rml/report.html" in printed
    dataset = read_posterior(folder)
    assert [status == "running" for status in dataset.status.values] == [True, False, True]
    assert np.isfinite(dataset.z.sel(ensemble="posterior")).any("latent").values.tolist() == [False, True, False]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Of 3 members, 1 ended, 2 are still running and 0 failed." in page
    # Of the same members nothing is simulated again.
    before = (folder / "posterior.nc").stat().st_mtime_ns
    said("match", "report", folder)
    assert (folder / "posterior.nc").stat().st_mtime_ns == before


@pytest.mark.slow
def test_members_that_collapsed_are_warned_of_wherever_the_match_is_told(
    case: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = match.begin(case, MatchRequest(method="es-mda", members=3))
    run = Run(folder)
    for i in range(3):
        z = run.member(0).z + 1e-3 * i
        respond(run, Turn(member=i, assimilation=0, z=z, tolerance=1e-4))
        path = run.checkpoint(i)
        State.load(path).ended("converged", "1 assimilation").save(path)
    collapsed = "the members have collapsed: their spread is 0.001 of the prior's"
    assert collapsed in " ".join(said("match", "status", folder).split())
    match.report(folder, 1)
    assert f"warning {collapsed}" in capfd.readouterr().err
    assert collapsed in " ".join(said("match", "status", folder).split())
    assert collapsed in (folder / "table.csv").read_text()
    assert f"Warning: {escape(collapsed)}" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_match_leaves_results_in_its_folder_and_in_mlflow(case: Path) -> None:
    printed = said("match", case, "--iterations", "2", "--workers", "1")
    folder = Path("matches/case-rml")
    assert "wrote matches/case-rml/report.html" in printed
    dataset = read_posterior(folder)
    run = Run(folder)
    for i, state in enumerate(run.states()):
        assert state is not None
        assert state.status != "running"
        np.testing.assert_array_equal(dataset.z.sel(ensemble="posterior", member=i), state.last.z)
    client = mlflow.MlflowClient()
    logged = json.loads((folder / "mlflow.json").read_text())
    parent = client.get_run(logged["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics[f"{tracking.FINAL}done"] == 3
    assert f"{tracking.FINAL}posterior time_mean" in parent.data.metrics
    artifacts = {file.path for file in client.list_artifacts(logged["run_id"])}
    assert {"report.html", "table.csv", "posterior.nc", "fans.png", "facies.png"} <= artifacts
    assert set(children(logged["run_id"])) == {"0", "1", "2"}
    # A finished match: nothing is simulated again, and MLflow has no second run of it.
    before = (folder / "posterior.nc").stat().st_mtime_ns, checkpoints(folder)
    said("match", "resume", folder)
    assert ((folder / "posterior.nc").stat().st_mtime_ns, checkpoints(folder)) == before
    assert json.loads((folder / "mlflow.json").read_text()) == logged
    assert len(client.search_runs([parent.info.experiment_id])) == 4


def test_a_run_goes_along_with_a_project_that_moves(case: Path, tmp_path: Path) -> None:
    folder = match.begin(case, MatchRequest(members=1, method="prior"))
    other = tmp_path / "other"
    shutil.copytree(case.parent, other)
    shutil.rmtree(case.parent / "matches")
    case.unlink()
    assert len(Run(other / folder).case.observations) == 10
