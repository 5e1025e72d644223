"""The main job, small and whole: a clone of the project, its data pulled, reproduced, promoted, sampled."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
GENERATORS = ["channels-wgan-lp", "shale-dcgan", "shale-wgan-gp"]

pytestmark = pytest.mark.slow


class Clone:
    """A copy of the project's files in a folder and a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = self._in(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split("\n")
        for name in filter(None, tracked):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.run("git", "init", "--quiet")
        self.commit("as it is")

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
        path = f"{Path(sys.executable).parent}:{bare['PATH']}"
        env = {**bare, "PATH": path, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def shrink(clone: Clone) -> None:
    """Everything as small as it goes, and a gate that anything passes."""
    tiny = {"n_steps": 4, "batch": 4, "n_critic": 1, "critic_width": 8, "evaluate_every": 2, "bf16": False}
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
        score={"n_paper": 12, "n_large": 24, "n_progress": 12},
        gate={"shale": gate, "channels": gate},
    )
    clone.commit("small")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone after `dvc pull` and `dvc repro`."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.run("dvc", "pull", "data.dvc")
    shrink(clone)
    clone.run("dvc", "repro")
    clone.commit("reproduced")
    return clone


def test_the_table_of_generators_has_all_three(made: Clone) -> None:
    table = made.run("rockbank", "models")
    assert all(name in table for name in GENERATORS)
    assert table.count("@candidate") == 2


def test_a_second_repro_does_nothing(made: Clone) -> None:
    printed = made.run("dvc", "repro")
    assert "up to date" in printed
    assert "Running stage" not in printed


def test_a_file_of_another_part_retrains_nothing(made: Clone) -> None:
    residual = made.folder / "src" / "rockbank" / "flow" / "residual.py"
    residual.write_text(residual.read_text() + "# Nothing of the GANs.\n")
    # The history match's members are data that this clone did not pull, and no stage's.
    assert "changed deps" not in made.run("dvc", "status")


def test_every_registered_file_is_what_the_card_says_and_the_champion_is_sampled_alike(made: Clone) -> None:
    made.run("rockbank", "promote", "shale")
    assert "already" in made.run("rockbank", "promote", "shale", "--first")
    assert "sha256" in made.run("rockbank", "show", "shale@champion")
    for name in ("a.npy", "b.npy"):
        made.run("rockbank", "sample", "shale@champion", "--n", "5", "--seed", "7", "-o", name)
    one, other = (np.load(made.folder / name) for name in ("a.npy", "b.npy"))
    assert one.shape == (5, 1, 32, 32)
    np.testing.assert_array_equal(one, other)


def test_metrics_and_plots_are_there_for_dvc(made: Clone) -> None:
    table = made.run("dvc", "metrics", "show")
    assert all(f"reports/metrics/{name}.json" in table for name in GENERATORS)
    assert "extractor" in table
    assert "dvc_plots" in made.run("dvc", "plots", "show")
    assert "train@shale-dcgan" in made.run("dvc", "dag")


def test_table_2_has_our_rows(made: Clone) -> None:
    table = (made.folder / "reports" / "table2.md").read_text()
    assert "WGAN-GP" in table
    assert "DCGAN" in table
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
    clone = Clone(tmp_path / "bad")
    clone.run("dvc", "pull", "data.dvc")
    shrink(clone)
    clone.change_params(check={"shale": {"porosity": [0.8, 0.9]}})
    printed = clone.run("dvc", "repro", "train@shale-dcgan", fails=True)
    assert "porosity" in printed
    assert "failed to reproduce 'check@shale'" in printed
    assert not (clone.folder / "artifacts" / "train").exists()


def test_where_none_passes_the_pipeline_ends_with_every_reason(made: Clone) -> None:
    made.change_params(gate={"shale": {"kid_max": 1e-9, "diversity_min": 2.0}})
    printed = made.run("dvc", "repro", "register@shale", fails=True)
    assert "no generator of 'shale' passed the gate" in printed
    for name in ("shale-dcgan", "shale-wgan-gp"):
        verdict = json.loads((made.folder / "artifacts" / "gate" / "shale" / f"{name}.json").read_text())
        assert verdict["passed"] is False
        assert any("diversity" in reason for reason in verdict["reasons"])
        assert any("kid" in reason for reason in verdict["reasons"])
