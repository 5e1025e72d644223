"""The main job, small and whole: a clone of the project, its data pulled, reproduced, promoted, sampled."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.docs.blocks import blocks, runs
from tests.docs.worlds import CLONE, World
from tests.warm import commands

ROOT = Path(__file__).parents[2]
GENERATORS = ["channels-wgan-lp", "shale-dcgan"]
# Their stages are those of the others: one of another loss, one of the challenger's network, one of another network.
LEFT_OUT = ["shale-wgan-gp", "shale-texture", "channels-bodies"]
CHALLENGER = "shale-quick"

pytestmark = pytest.mark.slow


class Clone:
    """A git repository in a folder, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_project(cls, folder: Path) -> "Clone":
        """A copy of the project's files in a git repository of its own."""
        self = cls(folder)
        tracked = self._in(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split("\n")
        for name in filter(None, tracked):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.run("git", "init", "--quiet")
        self.commit("as it is")
        return self

    def clone(self, folder: Path) -> "Clone":
        """A clone of it, as it was committed."""
        self.run("git", "clone", "--quiet", ".", str(folder))
        return Clone(folder)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        self.run("git", *identity, "commit", "--quiet", "--allow-empty", "-m", message)

    def run(self, *command: str, fails: bool = False) -> str:
        """What a command printed, standard output and error; it has to succeed, or to fail where that is expected."""
        done = self._in(self.folder, *command)
        printed = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, f"{command} gave {done.returncode}:\n{printed}"
        return printed

    def drop_generator(self, name: str) -> None:
        """Take one out of params.yaml, and what the repository keeps of it."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        del params["generators"][name]
        path.write_text(yaml.safe_dump(params, sort_keys=False))
        for kept in self.folder.glob(f"reports/*/{name}.json"):
            kept.unlink()

    def change_params(self, **sections: dict) -> None:
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            for key, value in values.items():
                if isinstance(value, dict):
                    params[section][key].update(value)
                else:
                    params[section][key] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    @staticmethod
    def _in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        bare = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_"))}
        path = f"{commands()}:{bare['PATH']}"
        env = {**bare, "PATH": path, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def shrink(clone: Clone) -> None:
    """Everything as small as it goes, and a gate that anything passes."""
    tiny = {"n_steps": 4, "batch": 4, "n_critic": 1, "critic_width": 8, "evaluate_every": 2, "bf16": False}
    texture = {**tiny, "latent": [372, 10, 10]}
    check = {"n_min": 20, "porosity": [0.0, 0.9]}
    gate = {
        "fid_max": 1e6,
        "kid_max": 1e6,
        "s2_distance_max": 1.0,
        "diversity_min": 0.0,
        "memorisation_min": 0.0,
    }
    clone.change_params(
        prepare={"size": 32, "n_train": 96, "n_validation": 40, "n_test": 80},
        channels={"n_train": 48, "n_validation": 24, "n_test": 48},
        check={"shale": check, "channels": check},
        generators=dict.fromkeys(GENERATORS, tiny),
        challengers={CHALLENGER: texture},
        score={"n_paper": 12, "n_large": 24, "n_progress": 12},
        gate={"shale": gate, "channels": gate},
    )
    for name in LEFT_OUT:
        clone.drop_generator(name)
    # Every stage runs anyway, and DVC reads and writes the whole file after each.
    (clone.folder / "dvc.lock").unlink()
    clone.commit("small")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone after `dvc pull` and `dvc repro`."""
    clone = Clone.of_project(tmp_path_factory.mktemp("clone"))
    clone.run("dvc", "pull", "data.dvc")
    shrink(clone)
    clone.run("dvc", "repro")
    clone.commit("reproduced")
    return clone


def test_the_table_of_generators_has_all(made: Clone) -> None:
    table = made.run("rockbank", "models")
    assert all(name in table for name in (*GENERATORS, CHALLENGER))
    assert table.count("@candidate") == 2


def test_a_second_repro_does_nothing(made: Clone) -> None:
    printed = made.run("dvc", "repro")
    assert "up to date" in printed
    assert "Running stage" not in printed


@pytest.fixture(scope="module")
def pulled(made: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone after `dvc pull`."""
    made.run("dvc", "push")
    made.commit("pushed")
    clone = made.clone(tmp_path_factory.mktemp("fresh") / "clone")
    assert not (clone.folder / "artifacts").exists()
    # The members of the history match are not what this is about.
    clone.run("git", "rm", "--quiet", "matches.dvc")
    clone.run("dvc", "pull")
    return clone


def test_after_a_pull_nothing_differs_and_a_module_that_does_is_named(pulled: Clone) -> None:
    assert "what was pulled is what dvc.lock says" in pulled.run("python", ".ci/status")
    losses = pulled.folder / "src" / "rockbank" / "gan" / "losses.py"
    was = losses.read_text()
    losses.write_text(was + "# Another one.\n")
    printed = pulled.run("python", ".ci/status", fails=True)
    assert "train@shale-dcgan: changed deps: src/rockbank/gan/losses.py modified" in printed
    losses.write_text(was)
    weights = pulled.folder / "artifacts" / "train" / "shale-dcgan" / "weights.safetensors"
    weights.rename(weights.with_suffix(".away"))
    assert "train@shale-dcgan: changed outs" in pulled.run("python", ".ci/status", fails=True)
    weights.with_suffix(".away").rename(weights)


def test_the_remote_has_neither_crops_nor_the_challenger(made: Clone, pulled: Clone) -> None:
    assert list(pulled.folder.glob("artifacts/data/*")) == []
    assert not (pulled.folder / "artifacts" / "train" / CHALLENGER).exists()
    assert {path.name for path in pulled.folder.glob("artifacts/train/*")} == set(GENERATORS)


def test_a_fresh_clone_registers_what_it_pulled_and_trains_the_challenger_alone(pulled: Clone) -> None:
    printed = pulled.run("rockbank", "register")
    assert all(f"registered {name}" in printed for name in GENERATORS)
    pulled.run("rockbank", "promote", "shale", "--first")
    printed = pulled.run("dvc", "repro")
    ran = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    # What `rockbank register` wrote of the channels is what dvc.lock has.
    assert ran - {"table2"} == {
        "prepare", "channels", f"challenge@{CHALLENGER}", "register@shale",
    }  # fmt: skip
    verdict = json.loads((pulled.folder / "artifacts" / "gate" / "shale" / f"{CHALLENGER}.json").read_text())
    assert verdict["champion"] == "1"
    assert f"registered {CHALLENGER}" in printed or f"refused {CHALLENGER}: kid" in printed
    assert "Data and pipelines are up to date" in pulled.run("dvc", "status")
    changed = pulled.run("git", "status", "--porcelain").split("\n")
    assert {line[3:] for line in changed if line} <= {
        "dvc.lock", "matches.dvc", "reports/table2.md", f"reports/scores/{CHALLENGER}.json",
        f"reports/metrics/{CHALLENGER}.json",
    }  # fmt: skip


def test_mlflow_has_a_run_of_each_with_the_steps_and_times_of_its_training(pulled: Clone) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{pulled.folder}/mlflow.db")
    for name in (*GENERATORS, CHALLENGER):
        experiment = client.get_experiment_by_name(name.split("-")[0])
        (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
        assert run.data.tags.get("pulled") == (None if name == CHALLENGER else "true")
        assert run.data.params["batch"] == "4"
        assert "final/kid" in run.data.metrics
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"real_against_generated.png", "s2.png", "training.png", "scores.json"} <= artifacts
        assert len(client.list_artifacts(run.info.run_id, "images")) >= 2
        path = pulled.folder / "artifacts" / "train" / name / "history.csv"
        history = pd.read_csv(path, float_precision="round_trip")
        logged = client.get_metric_history(run.info.run_id, "generator_loss")
        seen = sorted((each.step, each.value, each.timestamp / 1000) for each in logged)
        assert seen == list(zip(history["step"], history["generator_loss"], history["time"], strict=True))
    for model in ("shale", "channels"):
        for version in client.search_model_versions(f"name = '{model}'"):
            assert client.get_run(version.run_id).info.run_name == version.tags["generator"]


def test_a_file_of_another_part_retrains_nothing(made: Clone) -> None:
    residual = made.folder / "src" / "rockbank" / "flow" / "equations" / "residual.py"
    residual.write_text(residual.read_text() + "# Nothing of the GANs.\n")
    # The history match's members are data that this clone did not pull, and no stage's.
    assert "changed deps" not in made.run("dvc", "status")


def test_every_registered_file_is_what_the_card_says_and_the_champion_is_sampled_alike(made: Clone) -> None:
    made.run("rockbank", "promote", "shale")
    assert "already" in made.run("rockbank", "promote", "shale", "--first")
    shown = made.run("rockbank", "show", "shale@champion")
    assert "sha256" in shown
    assert "shale.tif" in shown
    for name in ("a.npy", "b.npy"):
        made.run("rockbank", "sample", "shale@champion", "--n", "5", "--seed", "7", "-o", name)
    one, other = (np.load(made.folder / name) for name in ("a.npy", "b.npy"))
    assert one.shape == (5, 1, 32, 32)
    np.testing.assert_array_equal(one, other)


def test_the_blocks_of_the_pages_run_in_a_clone_as_they_stand(made: Clone) -> None:
    made.run("rockbank", "promote", "shale", "--first")
    pages = [ROOT / page for page, world in runs() if world == CLONE]
    shown = [block for page in pages for block in blocks(page) if block.world == CLONE]
    assert {block.page for block in shown} >= {"README.md", "docs/tutorials/train.md"}
    assert {block.language for block in shown} == {"bash"}
    # A line is a command, and what several pages show is run once.
    lines = {line.split("#")[0].strip(): block for block in shown for line in block.text.splitlines()}
    place = World(folder=made.folder, source=made.folder)
    for line, block in lines.items():
        place.run(replace(block, text=line))
    # What a page has made anew, the stages after it have not taken up yet.
    made.run("dvc", "repro")


def test_metrics_and_plots_are_there_for_dvc(made: Clone) -> None:
    table = made.run("dvc", "metrics", "show")
    assert all(f"reports/metrics/{name}.json" in table for name in GENERATORS)
    assert "extractor" in table
    assert "dvc_plots" in made.run("dvc", "plots", "show")
    assert "train@shale-dcgan" in made.run("dvc", "dag")


def test_table_2_has_our_rows(made: Clone) -> None:
    table = (made.folder / "reports" / "table2.md").read_text()
    assert "DCGAN (shale-dcgan)" in table
    assert not any(name in table for name in LEFT_OUT)
    assert "efficientnet-lite0" in table


def test_a_foreign_state_dict_goes_the_same_way(made: Clone) -> None:
    weights = load_file(made.folder / "artifacts" / "train" / "channels-wgan-lp" / "weights.safetensors")
    torch.save(weights, made.folder / "foreign.pth")
    how = [
        "--network",
        "deepflow",
        "--latent",
        "50,1,2",
        "--family",
        "channels",
        "--name",
        "foreign",
        "--as",
        "foreign",
    ]
    printed = made.run("rockbank", "import", "foreign.pth", *how)
    assert "registered foreign as foreign/1" in printed
    made.run("rockbank", "sample", "foreign@candidate", "--n", "2", "-o", "foreign.npy")
    assert np.load(made.folder / "foreign.npy").shape == (2, 3, 64, 128)
    assert "up to date" in made.run("dvc", "repro")


def test_mlflow_run_reproduces_and_finds_nothing_to_do(made: Clone) -> None:
    assert "up to date" in made.run("mlflow", "run", ".", "--env-manager", "local")


def test_mlflow_run_samples_the_champion(made: Clone) -> None:
    made.run("rockbank", "promote", "channels", "--first")
    made.run(
        "mlflow", "run", ".", "--env-manager", "local", "-e", "sample", "-P", "model=channels@champion", "-P", "n=4"
    )
    assert (made.folder / "samples.png").stat().st_size > 0


def test_bad_data_stop_the_pipeline_before_training(made: Clone, tmp_path: Path) -> None:
    clone = made.clone(tmp_path / "bad")
    clone.run("dvc", "pull", "data.dvc")
    clone.change_params(check={"shale": {"porosity": [0.8, 0.9]}})
    printed = clone.run("dvc", "repro", "train@shale-dcgan", fails=True)
    assert "porosity" in printed
    assert "failed to reproduce 'check@shale'" in printed
    assert not (clone.folder / "artifacts" / "train").exists()


def test_where_none_passes_the_pipeline_ends_with_every_reason(made: Clone) -> None:
    made.change_params(gate={"shale": {"kid_max": 1e-9, "diversity_min": 2.0}})
    printed = made.run("dvc", "repro", "register@shale", fails=True)
    assert "no generator of 'shale' passed the gate" in printed
    verdict = json.loads((made.folder / "artifacts" / "gate" / "shale" / "shale-dcgan.json").read_text())
    assert verdict["passed"] is False
    assert any("diversity" in reason for reason in verdict["reasons"])
    assert any("kid" in reason for reason in verdict["reasons"])
