"""params.yaml is read once, checked whole, and says what is wrong with it."""

import re
from pathlib import Path

import pytest
import yaml

from rockbank.core.errors import InputError
from rockbank.params import load_params

ROOT = Path(__file__).parents[1]
FILES = ["params.yaml", "params/paper.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_the_files_in_the_repository_load(name: str) -> None:
    params = load_params(ROOT / name)
    assert {generator.family for generator in params.generators.values()} == {"shale", "channels"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"generators.shale-dcgan.batchsize": 32}, "unknown key 'batchsize' in section 'generators.shale-dcgan'"),
        ({"prepare.size": 60}, "prepare.size: got 60; use a multiple of 16"),
        ({"prepare.size": "64"}, "prepare.size: expected a whole number, got '64'"),
        ({"prepare.test_fraction": 1.5}, "prepare.test_fraction: got 1.5"),
        ({"prepare.test_fraction": 0.6, "prepare.validation_fraction": 0.5}, "nothing is left to train on"),
        ({"prepare.split": "halves"}, "prepare.split: got 'halves'; known are"),
        ({"generators.shale-dcgan.loss": "lsgan"}, "generators.shale-dcgan.loss: got 'lsgan'; known are"),
        ({"generators.shale-dcgan.penalty": 10}, "the loss 'dcgan' has no gradient penalty"),
        ({"generators.shale-wgan-gp.penalty": 0}, "the loss 'wgan-gp' needs a positive weight"),
        ({"generators.shale-wgan-gp.spectral_steps": 9}, "the network 'table1' has no noise to fit: set it to 0"),
        ({"generators.shale-texture.spectral_steps": -1}, "use 0 or a positive number"),
        ({"generators.shale-wgan-gp.batch": 1}, "batch norm needs at least 2"),
        ({"generators.shale-wgan-gp.family": "coal"}, "'coal' has no section in 'check'"),
        (
            {"generators.shale-texture.dropout": 0.25},
            "generators.shale-texture.dropout: got 0.25; the critic of 'texture'",
        ),
        (
            {"generators.shale-texture.loss": "wgan-gp", "generators.shale-texture.penalty": 10.0},
            "generators.shale-texture.loss: got 'wgan-gp'; the critic of 'texture' judges feature maps",
        ),
        ({"generators.shale-dcgan.clip": -1}, "generators.shale-dcgan.clip: got -1.0; use a norm of at least 0"),
        ({"generators.shale-dcgan.seed": -1}, "generators.shale-dcgan.seed: got -1; use a whole number from 0 to"),
        ({"prepare.seed": -1}, "prepare.seed: got -1; use a whole number from 0 to"),
        ({"channels.seed": 2**64}, "channels.seed: got 18446744073709551616; use a whole number from 0 to"),
        ({"score.seed": 2**32}, "score.seed: got 4294967296; use a whole number from 0 to 4294967295"),
        ({"score.extractor": "vgg"}, "score.extractor: got 'vgg'"),
        (
            {"score.second_extractor": "efficientnet-lite1"},
            "score.second_extractor: got 'efficientnet-lite1'; known are",
        ),
        ({"score.second_extractor": "efficientnet-lite0"}, "it is the first one: name another, or null"),
        ({"score.n_large": 10}, "use at least n_paper, which is 100"),
        ({"check.shale.porosity": [0.3, 0.1]}, "check.shale.porosity: got [0.3, 0.1]"),
        ({"check.shale.porosity": [0.3]}, "check.shale.porosity: expected a list of 2 values"),
        ({"generators": {}}, "name at least one generator"),
        ({"gate.shale.kid_gain_min": 2}, "gate.shale.kid_gain_min: got 2"),
    ],
)
def test_a_bad_value_is_refused_by_file_section_and_key(tmp_path: Path, change: dict[str, object], says: str) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in change.items():
        *sections, last = key.split(".")
        section = raw
        for name in sections:
            section = section[name]
        section[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_params(path)
    assert str(path) in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    del raw["score"]["seed"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ValueError, match="missing key 'seed' in section 'score'"):
        load_params(path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run from the project's root"):
        load_params(tmp_path / "params.yaml")


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("prepare: [")
    with pytest.raises(ValueError, match=r"params\.yaml: not YAML"):
        load_params(path)


def test_a_family_without_limits_is_answered_with_the_known_ones() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.check_of("shale") == params.check["shale"]
    assert params.gate_of("shale") == params.gate["shale"]
    for limits_of, section in ((params.check_of, "check"), (params.gate_of, "gate")):
        with pytest.raises(
            InputError, match=f"'coal' has no section in '{section}' of params.yaml; .*'channels', 'shale'"
        ):
            limits_of("coal")


def test_an_unknown_generator_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"known are .*shale-dcgan"):
        load_params(ROOT / "params.yaml").generator("shale-vae")


@pytest.mark.parametrize("name", ["a.b", "", "../esc", "my generator", "x" * 65])
def test_a_name_that_no_version_can_have_is_refused(tmp_path: Path, name: str) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["challengers"][name] = raw["challengers"]["shale-quick"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match=re.escape(f"challengers: got the name '{name}'; use letters, digits")):
        load_params(path)
