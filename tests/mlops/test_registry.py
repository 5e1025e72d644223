"""A version comes out of the registry as it went in, and only a gated one becomes champion."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, sha256, write_json
from rockbank.core.paths import ProjectPaths
from rockbank.generator.card import CARD, ONNX, VERDICT, CardMismatch, ModelCard
from rockbank.mlops import promotion, registry, tracking
from rockbank.mlops.failures import StoreError
from rockbank.mlops.store import connect
from rockbank.params import GateParams
from rockbank.stages.judge import gate

LIMITS = {
    "shale": GateParams(
        fid_max=50.0, kid_max=0.9, s2_distance_max=0.02, diversity_min=0.6, memorisation_min=0.5, kid_gain_min=0.0
    )
}
Make = Callable[..., Path]


def stored(entry: registry.Entry) -> Path:
    """The folder in which the local store keeps a version."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{entry.name}/{entry.version}"))


def test_a_version_comes_out_as_it_went_in(store: Path, generator_folder: Make) -> None:
    folder = generator_folder()
    entry = registry.push("shale", folder)
    pulled, card = registry.pull("shale/1", store / "pulled")
    assert pulled.version == entry.version == "1"
    assert card.generator == "tiny"
    for path in folder.iterdir():
        assert sha256(store / "pulled" / path.name) == sha256(path)


def test_the_same_files_are_registered_once(store: Path, generator_folder: Make) -> None:
    folder = generator_folder()
    assert registry.push("shale", folder).version == registry.push("shale", folder).version
    assert len(registry.versions("shale")) == 1


def test_a_version_links_to_the_run_that_trained_it(store: Path, generator_folder: Make) -> None:
    assert registry.push("shale", generator_folder(kid=0.2)).run_id is None
    with tracking.start("shale", "tiny", {}) as run:
        pass
    entry = registry.push("shale", generator_folder(kid=0.1), run.run_id)
    assert entry.run_id == run.run_id == registry.resolve("shale/2").run_id


def test_a_card_that_names_its_run_as_they_once_did_is_read(generator_folder: Make) -> None:
    folder = generator_folder()
    write_json(folder / CARD, {**read_json(folder / CARD), "run_id": "0" * 32})
    assert ModelCard.load(folder).generator == "tiny"


def test_a_name_that_no_command_could_resolve_is_not_registered(store: Path, generator_folder: Make) -> None:
    with pytest.raises(InputError, match="'my model': no name of a registered model; use letters"):
        registry.push("my model", generator_folder())
    assert registry.names() == []


def test_what_did_not_pass_the_gate_is_not_registered(store: Path, generator_folder: Make) -> None:
    with pytest.raises(registry.PromotionRefused, match="did not pass the gate: kid is too large"):
        registry.push("shale", generator_folder(passed=False))
    assert registry.names() == []


def test_a_verdict_on_another_card_is_worth_nothing(store: Path, generator_folder: Make) -> None:
    folder, other = generator_folder(kid=0.1), generator_folder(kid=0.2)
    (folder / VERDICT).write_bytes((other / VERDICT).read_bytes())
    with pytest.raises(registry.PromotionRefused, match="speaks of another card"):
        registry.push("shale", folder)


def test_a_file_changed_in_the_store_is_neither_pulled_nor_promoted(store: Path, generator_folder: Make) -> None:
    entry = registry.push("shale", generator_folder())
    with (stored(entry) / ONNX).open("ab") as file:
        file.write(b"!")
    with pytest.raises(CardMismatch, match=ONNX):
        registry.pull("shale/1", store / "pulled")
    assert not (store / "pulled").exists()
    with pytest.raises(CardMismatch, match=ONNX):
        promotion.promote("shale", LIMITS, "1")
    assert registry.champion("shale") is None


def test_a_forged_card_is_noticed(store: Path, generator_folder: Make) -> None:
    """A card, files and verdict that agree with each other, but are not those that were registered."""
    entry = registry.push("shale", generator_folder(kid=0.5))
    for path in generator_folder(kid=0.1).iterdir():
        (stored(entry) / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CardMismatch, match=f"{CARD} is not the one that was registered"):
        registry.pull("shale/1", store / "pulled")


def test_promotion_moves_the_alias_and_remembers_the_champion_before(store: Path, generator_folder: Make) -> None:
    for kid in (0.3, 0.2, 0.1):
        registry.push("shale", generator_folder(kid=kid))
    assert promotion.promote("shale", LIMITS, "1")[1] is None
    assert promotion.promote("shale", LIMITS, "2")[1].version == "1"  # type: ignore[union-attr]
    registry.set_alias("shale", registry.CANDIDATE, "3")
    assert promotion.promote("shale", LIMITS)[0].version == "3"
    assert registry.resolve("shale@champion").version == "3"
    assert promotion.rollback("shale")[0].version == "2"
    assert promotion.rollback("shale")[0].version == "1"
    with pytest.raises(registry.RegistryError, match="no earlier champion"):
        promotion.rollback("shale")
    assert registry.resolve("shale").version == "1"


def test_a_worse_generator_is_not_promoted(store: Path, generator_folder: Make) -> None:
    for kid in (0.1, 0.2):
        registry.push("shale", generator_folder(kid=kid))
    promotion.promote("shale", LIMITS, "1")
    with pytest.raises(registry.PromotionRefused, match=r"kid 0\.2 against 0\.1 of the champion, version 1"):
        promotion.promote("shale", LIMITS, "2")
    assert registry.resolve("shale@champion").version == "1"


def test_scores_of_another_extractor_are_not_compared(store: Path, generator_folder: Make) -> None:
    registry.push("shale", generator_folder(kid=0.1))
    registry.push("shale", generator_folder(kid=0.2, extractor="inception"))
    promotion.promote("shale", LIMITS, "1")
    assert promotion.promote("shale", LIMITS, "2")[0].version == "2"


def test_promoting_the_champion_changes_nothing(store: Path, generator_folder: Make) -> None:
    registry.push("shale", generator_folder())
    promotion.promote("shale", LIMITS, "1")
    promotion.promote("shale", LIMITS, "1")
    with pytest.raises(registry.RegistryError, match="no earlier champion"):
        promotion.rollback("shale")


def test_the_limits_are_those_of_the_cards_family_whatever_the_model_is_called(
    store: Path, generator_folder: Make
) -> None:
    registry.push("mine", generator_folder())
    assert promotion.promote("mine", LIMITS, "1")[0].name == "mine"
    with pytest.raises(ValueError, match=r"a generator of 'shale', which .* known are \['channels'\]"):
        promotion.promote("mine", {"channels": LIMITS["shale"]}, "1")
    registry.push("mine", generator_folder(kid=0.9))
    with pytest.raises(registry.PromotionRefused, match=r"params.yaml: gate\.shale\.kid_gain_min"):
        promotion.promote("mine", LIMITS, "2")


def test_a_registry_that_does_not_answer_is_not_taken_for_one_without_a_champion(
    store: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")
    connect("http://127.0.0.1:9", timeout=1.0)
    with pytest.raises(StoreError, match="nobody listens there"):
        registry.champion("shale")
    export = generator_folder()
    paths = ProjectPaths(artifacts=store / "artifacts")
    shutil.copytree(export, paths.export("tiny"))
    with pytest.raises(StoreError, match="nobody listens there"):
        gate("tiny", LIMITS, paths, against="shale")
    assert not paths.verdict("shale", "tiny").exists()


@pytest.mark.parametrize(
    "reference", ["", "shale@", "@champion", "shale/one", "../etc/1", "shale/1/2", "a b@c", "x" * 65]
)
def test_what_is_no_reference_is_refused(store: Path, reference: str) -> None:
    with pytest.raises(ValueError, match="use NAME@ALIAS"):
        registry.resolve(reference)


def test_an_unknown_model_alias_or_version_is_answered_with_the_known_ones(store: Path, generator_folder: Make) -> None:
    registry.push("shale", generator_folder())
    with pytest.raises(registry.RegistryError, match=r"known are \['shale'\]"):
        registry.resolve("sandstone@champion")
    with pytest.raises(registry.RegistryError, match=r"versions of 'shale' are \['shale/1'\]"):
        registry.resolve("shale@champion")
    with pytest.raises(registry.RegistryError, match=r"versions of 'shale' are \['shale/1'\]"):
        registry.resolve("shale/9")
