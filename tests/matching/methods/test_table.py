"""The table of methods: a new method is one class and one entry, and an iteration is the same thing everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.matching.methods.status import MAX_ITERATIONS_REACHED, SAMPLED
from rockbank.matching.methods.table import METHODS, counted, iterations_in_words, methods_in_words
from rockbank.matching.methods.workers import advance, pool
from rockbank.matching.results.posterior import posterior
from rockbank.matching.results.summary import table
from rockbank.matching.run import Run
from rockbank.workflows import match
from rockbank.workflows.match_about import status
from tests.matching.quick import rough_pictures
from tests.matching.tiny import make_run, register, write_case

# A method, and its entry, in a module that the processes of a match can import.
TOY = """
from dataclasses import dataclass

from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.table import METHODS, MethodSpec
from rockbank.matching.problem.cost import Cost
from rockbank.matching.run import Run


@dataclass(frozen=True, kw_only=True)
class Halving:
    max_iterations: int = 3

    @property
    def iteration_cost(self):
        return Cost(forward=1)

    def start(self, objective, target, z):
        return State(records=(self.record(objective, target, z, Cost()),))

    def step(self, objective, target, state):
        record = self.record(objective, target, 0.5 * state.last.z, state.last.cost)
        state = state.then(record, None, {})
        if len(state.records) <= self.max_iterations:
            return state
        return state.ended("shrunk_to_its_end", f"{self.max_iterations} halvings")

    def record(self, objective, target, z, before):
        return Record(z=z, parts=objective.at(z, target).parts, cost=before + Cost(forward=1))


SPEC = MethodSpec(
    make=lambda n, seed: Halving(**({} if n is None else {"max_iterations": n})),
    help="halves the latent",
    iteration="halving",
)


def open_run(folder):
    METHODS["toy"] = SPEC
    return Run(folder)
"""
# An iteration limit that no member of the tiny case stays below, and members that are enough.
LIMIT, N_MEMBERS = 2, {"es-mda-localised": 10}


def said(*arguments: str | Path) -> str:
    """What the command prints on standard output, its lines broken nowhere."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of TOY, registered here and in the processes of a match."""
    (tmp_path / "toy_method.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_method", raising=False)
    import toy_method  # type: ignore[import-not-found]

    monkeypatch.setitem(METHODS, "toy", toy_method.SPEC)
    monkeypatch.setattr(match, "pool", lambda _, *rest: pool(toy_method.open_run, *rest))
    return toy_method


@pytest.mark.slow
def test_a_new_method_is_one_class_and_one_entry(store: Path, toy: Any) -> None:
    register(store / "generator")
    case = write_case(store)
    printed = said("match", case, "--method", "toy", "--dry-run", "--workers", "1")
    assert "toy: halves the latent" in printed
    assert "if every member takes 3 halvings" in printed
    with rough_pictures():
        said("match", case, "--method", "toy", "--members", "2", "--iterations", "2", "--workers", "1")
    folder = Path("matches/case-toy")
    printed = said("match", "status", folder)
    assert "2 halvings at most" in printed
    assert "2 shrunk to their end" in printed
    for i, state in enumerate(Run(folder).states()):
        assert state is not None
        assert len(state.records) == 3
        assert (state.last.z == 0.25 * Run(folder).member(i).z).all()
    with rough_pictures():
        assert "wrote matches/case-toy/report.html" in said("match", "report", folder, "--workers", "1")
    assert "Both members ended." in (folder / "report.html").read_text(encoding="utf-8")
    assert pd.read_csv(folder / "table.csv").iterations.tolist() == [2, 2]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


def end(run: Run) -> None:
    """All its members, in this process."""

    def parallel_map(function: Any, arguments: Any) -> list[Any]:
        return [function(run, argument) for argument in arguments]

    if run.ensemble_method is None:
        for i in range(run.settings.members):
            advance(run, i, lambda _: None, lambda: False)
    else:
        run.ensemble_method.run(run, run.settings.members, run.settings.seed, parallel_map)


@pytest.mark.parametrize("method", [name for name, spec in METHODS.items() if spec.iteration is not None])
def test_the_number_at_the_limit_is_that_of_the_option(method: str, case: Path, tmp_path: Path) -> None:
    """In the status and in the table, of the dataset and of the file."""
    run = make_run(tmp_path / "run", case, method=method, iterations=LIMIT, members=N_MEMBERS.get(method, 3))
    end(run)
    rows, rest = status(run.folder)
    assert rest["iterations"] == f"{counted(LIMIT, METHODS[method].iteration)} at most"
    assert [row[2] for row in rows] == [str(LIMIT)] * len(rows)
    ends = {state.status for state in run.states() if state is not None}
    assert ends <= ({"converged"} if run.spec.is_ensemble else {MAX_ITERATIONS_REACHED, SAMPLED})
    if not run.spec.is_ensemble and METHODS[method].iteration != "sample":
        assert {row[1] for row in rows} == {"reached its iteration limit"}
    dataset = posterior(run, lambda function, arguments: [function(run, argument) for argument in arguments])
    assert table(dataset).iterations.tolist() == [LIMIT] * len(rows)


def test_help_has_every_method_and_what_its_iterations_are() -> None:
    printed = said("match", "--help")
    for name, spec in METHODS.items():
        assert f"{name}: {spec.help}" in methods_in_words()
        assert spec.iteration is None or f"{spec.iteration}s of" in iterations_in_words()
        assert name in printed


def test_the_table_costs_no_import_of_torch() -> None:
    code = "import sys, rockbank.matching.methods.table; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
