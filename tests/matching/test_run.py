"""A run's folder: what it was asked is what is done, and nothing that it hangs on changes unseen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from rockbank.core.files import replacing_folder
from rockbank.gan.weights import save_weights
from rockbank.generator.card import WEIGHTS, CardMismatch, ModelCard, fingerprints
from rockbank.matching.methods.state import State
from rockbank.matching.methods.table import METHODS
from rockbank.matching.methods.workers import advance
from rockbank.matching.run import GENERATOR, Run, new_folder
from rockbank.matching.settings import Settings
from tests.matching.tiny import make_run, write_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


def ended(run: Run, i: int = 0) -> State:
    return advance(run, i, lambda _: None, lambda: False)


def same(a: State, b: State) -> bool:
    """Bit for bit, latents, parts and costs."""
    return len(a.records) == len(b.records) and all(
        one.z.tobytes() == other.z.tobytes() and (one.parts, one.cost) == (other.parts, other.cost)
        for one, other in zip(a.records, b.records, strict=True)
    )


def test_a_member_does_not_depend_on_the_number_of_members(case: Path, tmp_path: Path) -> None:
    few, many = (make_run(tmp_path / str(n), case, members=n) for n in (2, 5))
    for i in range(2):
        one, other = few.member(i), many.member(i)
        np.testing.assert_array_equal(one.z, other.z)
        np.testing.assert_array_equal(one.target.observed, other.target.observed)
    drawn = np.array([many.member(i).target.observed for i in range(5)])
    assert len(np.unique(drawn, axis=0)) == 5


def test_the_order_of_members_changes_nothing(case: Path, tmp_path: Path) -> None:
    forth, back = make_run(tmp_path / "forth", case, iterations=2), make_run(tmp_path / "back", case, iterations=2)
    states = [ended(forth, i) for i in range(2)]
    for i in (1, 0):
        assert same(ended(back, i), states[i])


def test_the_order_of_observations_changes_nothing(tmp_path: Path) -> None:
    states = []
    for name in ("as", "turned"):
        (tmp_path / name).mkdir()
        case = write_case(tmp_path / name)
        if name == "turned":
            head, *rows = (case.parent / "observations.csv").read_text().splitlines()
            (case.parent / "observations.csv").write_text("\n".join([head, *reversed(rows)]))
        states.append(ended(make_run(tmp_path / name / "run", case, iterations=2)))
    assert same(*states)


@pytest.mark.parametrize("method", ["rml", "gauss-newton", "adam", "prior"])
@pytest.mark.parametrize("settings", [{}, {"flow": False, "wells": False}])
def test_a_run_without_data_returns_the_prior(
    tmp_path: Path, settings: dict[str, bool], method: str, case: Path
) -> None:
    bare = case if settings else write_case(tmp_path, observations=None, facies=None)
    run = make_run(tmp_path / "run", bare, method=method, **settings)
    for i in range(3):
        state = ended(run, i)
        assert state.status == "converged"
        assert state.reason.endswith("a draw of the prior")
        np.testing.assert_array_equal(state.last.z, run.member(i).z)


def test_draws_are_of_the_prior(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case)
    z = np.array([run.member(i).z for i in range(200)])
    # 800 numbers: four standard errors of mean and variance.
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


def test_perturbed_observations_differ_by_their_own_noise(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case)
    of = run.objective.observations
    noise = np.array([(run.member(i).target.observed - of.value) / of.sigma for i in range(200)])
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    exact = make_run(tmp_path / "exact", case, method="gauss-newton").member(0).target
    np.testing.assert_array_equal(exact.observed, of.value)
    np.testing.assert_array_equal(exact.prior_mean, 0)


def other_rate(path: Path) -> None:
    path.write_text(path.read_text().replace("60 m3/day", "61 m3/day"))


def scale_rock(path: Path) -> None:
    np.save(path, 1.001 * np.load(path))


def first_value(path: Path) -> None:
    head, row, *rest = path.read_text().splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    cells["value"] = str(float(cells["value"]) * 1.0001)
    path.write_text("\n".join([head, ",".join(cells.values()), *rest]))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("case.yaml", other_rate, "says of the schedule is not what it was when the run"),
        ("case.yaml", Path.unlink, "case.yaml: no such file; it is not what it was"),
        ("observations.csv", first_value, "says of the observations is not what it was"),
        ("k.npy", scale_rock, "says of the rock is not what it was"),
    ],
)
def test_a_changed_input_is_refused_by_name(
    tmp_path: Path, name: str, change: Callable[[Path], None], says: str
) -> None:
    case = write_case(tmp_path)
    folder = make_run(tmp_path / "run", case).folder
    assert len(Run(folder).case.observations) == 10
    change(tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(says)):
        _ = Run(folder).objective


def test_what_does_not_touch_the_match_may_change_in_the_case_file(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    folder = make_run(tmp_path / "run", case).folder
    case.write_text(case.read_text().replace("members: 3", "members: 5") + "# another\n")
    assert Run(folder).objective.has_flow
    assert Run(folder).settings.members == 3


def test_another_generator_in_the_run_is_refused_though_its_own_card_says_the_same(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case)
    folder = run.folder / GENERATOR
    weights = load_file(folder / WEIGHTS)
    save_weights({name: 1.01 * of if of.is_floating_point() else of for name, of in weights.items()}, folder / WEIGHTS)
    replace(ModelCard.load(folder), files=fingerprints(folder)).save(folder)
    with pytest.raises(ValueError, match=r"card\.json: is not what it was when the run began; put the generator's"):
        _ = run.objective


def test_a_changed_generator_is_refused(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case)
    weights = run.folder / GENERATOR / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CardMismatch, match=WEIGHTS):
        _ = run.objective


def test_a_run_is_what_its_folder_says(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case, seed=11, method="adam", scaling="published", iterations=4)
    assert Run(run.folder).settings == run.settings
    assert Run(run.folder).max_iterations == 4
    with pytest.raises(ValueError, match=r"nowhere: holds no run; 'rockbank match CASE\.yaml' makes one"):
        Run(tmp_path / "nowhere")
    (run.folder / "run.json").write_text('{"case": "a"}')
    with pytest.raises(ValueError, match=r"run\.json: no settings of a run"):
        Run(run.folder)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "newton"}, "method: got 'newton'; known are ['prior', 'adam', 'gauss-newton', 'rml', "),
        ({"scaling": "mine"}, "scaling: got 'mine'; known are ['posterior', 'published']"),
        ({"members": 0}, "members: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"iterations": 0}, "iterations: got 0"),
        ({"iterations": 3, "method": "prior"}, "iterations: got 3; method 'prior' has none"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    asked = {"case": "c", "case_sha256": "", "inputs": {}, "generator": "g/1", "method": "rml", "members": 1, "seed": 0}
    with pytest.raises(ValueError, match=re.escape(says)):
        Settings(**asked | settings)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_its_number_of_iterations(case: Path, tmp_path: Path, method: str) -> None:
    run = make_run(tmp_path / "run", case, method=method, iterations=None if method == "prior" else 5)
    assert run.max_iterations == (0 if method == "prior" else 5)


def test_what_another_command_is_writing_beside_a_new_run_stays(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "generator") as other:
        (other / "weights").touch()
        with new_folder(tmp_path / "run"):
            pass
    assert (tmp_path / "generator" / "weights").is_file()


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "run") as beside:
        (beside / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "run") as beside:
        (beside / "all").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["all"]


def test_a_folder_never_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="is there already; 'rockbank match resume"), new_folder(folder) as beside:
        # By another command, in the meantime.
        folder.mkdir()
        (folder / "theirs").touch()
        (beside / "mine").touch()
    with pytest.raises(ValueError, match="--name gives another"), new_folder(folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in folder.iterdir()] == ["theirs"]


def test_one_process_at_a_time_works_on_a_run(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case)
    with run.held(), pytest.raises(ValueError, match="another process works on this run"), Run(run.folder).held():
        pass
    with Run(run.folder).held():
        pass
