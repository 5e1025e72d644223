"""A registered version made by an enemy: nothing of it is read beyond measure, nothing outside of it, nothing run."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import FileInfo
from onnx import TensorProto, helper

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, sha256, write_json
from rockbank.gan.weights import WeightsMismatch, load_generator
from rockbank.generator import sampler
from rockbank.generator.card import CARD, ONNX, REFERENCE, VERDICT, WEIGHTS, CardMismatch
from rockbank.generator.sampler import Sampler
from rockbank.mlops import registry
from serving.base.errors import LoadRefused
from serving.inference.session import Generator
from tests.tiny_generators import IMAGE, LATENT

Make = Callable[..., Path]


class _Trap:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("taken",)


def _graph(op: str = "Add", domain: str = "", location: str | None = None) -> bytes:
    """image = reshape(W) `op`, whose weights lie in the file `location`."""
    weights = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[256])
    if location is None:
        weights.raw_data = np.zeros(256, np.float32).tobytes()
    else:
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
    nodes = [
        helper.make_node("ReduceSum", ["latent"], ["sum"], keepdims=1),
        helper.make_node(op, ["sum", "W"], ["flat"], domain=domain),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [-1, *IMAGE])
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", *LATENT])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *IMAGE])],
        [weights, shape],
    )
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


@pytest.mark.parametrize(
    "content",
    [_graph(location="secret.bin"), _graph(location="../secret.bin"), _graph(location="/etc/passwd"),
     _graph("Steal", "com.enemy"), b"\x80\x04 pickle", b""],
    ids=["beside", "above", "absolute", "custom operator", "no graph", "empty"],
)  # fmt: skip
def test_a_graph_with_outside_weights_or_foreign_operators_is_opened_by_no_reader(
    tmp_path: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for place in (work, tmp_path):
        (place / "secret.bin").write_bytes(np.ones(256, np.float32).tobytes())
    card = registry.check_folder(folder := generator_folder(onnx_bytes=content))
    with pytest.raises(CardMismatch, match="onnxruntime cannot open it"):
        Sampler(folder, card)
    with pytest.raises(LoadRefused, match="onnxruntime cannot open it"):
        Generator(folder, card, max_batch=1)


def test_the_same_graph_with_its_weights_inside_is_opened(generator_folder: Make) -> None:
    folder = generator_folder(onnx_bytes=_graph())
    assert Sampler(folder, registry.check_folder(folder)).sample(0, 1).shape == (1, *IMAGE)


def test_a_graph_that_is_changed_after_it_was_verified_is_refused_or_not_loaded(
    generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = generator_folder(weights_seed=1), generator_folder(weights_seed=2)
    card, evil = registry.check_folder(folder), (other / ONNX).read_bytes()
    wanted, open_it = Sampler(folder, card).sample(7, 2), sampler.open_session

    def open_late(graph: Any, **keywords: Any) -> Any:
        (folder / ONNX).write_bytes(evil)
        return open_it(graph, **keywords)

    # Between the hash and onnxruntime: the bytes that were hashed are those that it gets.
    monkeypatch.setattr(sampler, "open_session", open_late)
    assert Sampler(folder, card).sample(7, 2).tobytes() == wanted.tobytes()
    assert (folder / ONNX).read_bytes() == evil
    # Between the registry's check and the sampler: it checks again.
    with pytest.raises(CardMismatch, match="sha256 is"):
        Sampler(folder, card)


def test_weights_that_are_a_pickle_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(_Trap())
    with pytest.raises(WeightsMismatch, match="no safetensors weights"):
        load_generator(tmp_path / WEIGHTS, network="table1", latent=(128,), image=(1, 64, 64), content=content)
    assert list(tmp_path.iterdir()) == []


def _with_card(folder: Path, **fields: Any) -> Path:
    """A card with other fields, and a verdict that says it passed."""
    write_json(folder / CARD, {**read_json(folder / CARD), **fields})
    write_json(folder / VERDICT, {"passed": True, "card_sha256": sha256(folder / CARD)})
    return folder


@pytest.mark.parametrize(
    "fields",
    [{"image_shape": [1, 10**9, 10**9]}, {"image_shape": [1, -16, -16]}, {"latent_shape": [10**12]},
     {"latent_shape": []}, {"latent_shape": 7}, {"scores": []}, {"scores": {}}, {"value_range": [["a", "b"]]},
     {"files": {ONNX: "../../etc/passwd"}}, {"golden": []}],
    ids=str,
)  # fmt: skip
def test_a_card_of_impossible_numbers_is_refused(generator_folder: Make, fields: dict[str, Any]) -> None:
    with pytest.raises((InputError, CardMismatch), match=r"card\.json|generator\.onnx"):
        registry.check_folder(_with_card(generator_folder(), **fields))


@pytest.mark.parametrize(
    "text",
    ['{"format": ' + "9" * 5000 + "}", "[" * 100_000, "{", "[]", "\udcff", '"' + "x" * 2**21 + '"',
     lambda: json.dumps({f"key {i}": i for i in range(10**6)})],
    ids=["digits", "nested", "broken", "list", "no text", "long", "a million fields"],
)  # fmt: skip
@pytest.mark.parametrize("name", [CARD, VERDICT])
def test_json_that_fills_memory_or_is_none_is_refused(
    generator_folder: Make, text: str | Callable[[], str], name: str
) -> None:
    folder = generator_folder()
    (folder / name).write_text(text if isinstance(text, str) else text(), encoding="utf-8", errors="surrogateescape")
    with pytest.raises((InputError, CardMismatch, registry.PromotionRefused), match=name):
        registry.check_folder(folder)


def test_a_reference_that_fills_memory_is_refused_before_it_is_read(generator_folder: Make) -> None:
    folder = generator_folder()
    with (folder / REFERENCE).open("r+b") as file:
        file.truncate(2**40)  # A hole: no disk is taken.
    with pytest.raises(CardMismatch, match="1099511627776 bytes, the limit is"):
        registry.check_folder(folder)


def test_a_registry_that_lists_paths_outside_of_a_version_writes_nothing_there(
    store: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Hostile:
        def list_artifacts(self, path: str) -> list[FileInfo]:
            return [FileInfo(path, False, 9) for path in ("../../evil", "/etc/evil", CARD, f"x/../../{ONNX}", "e.zip")]

        def download_artifacts(self, path: str, folder: str) -> None:
            asked.append(path)

    registry.push("shale", generator_folder())
    monkeypatch.setattr(registry.store, "find_files", lambda _: None)
    monkeypatch.setattr(registry, "get_artifact_repository", lambda _: Hostile())
    with pytest.raises(CardMismatch, match="not there"):
        registry.pull("shale/1", store / "pulled")
    assert asked == [CARD]


def test_a_version_that_says_it_is_huge_is_not_fetched(
    store: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Huge:
        def list_artifacts(self, path: str) -> list[FileInfo]:
            return [FileInfo(ONNX, False, 10**15)]

    registry.push("shale", generator_folder())
    monkeypatch.setattr(registry.store, "find_files", lambda _: None)
    monkeypatch.setattr(registry, "get_artifact_repository", lambda _: Huge())
    with pytest.raises(registry.RegistryError, match="1000000000000000 bytes, the limit is"):
        registry.pull("shale/1", store / "pulled")


def test_a_link_to_a_device_or_out_of_the_version_is_no_file_of_it(store: Path, generator_folder: Make) -> None:
    entry = registry.push("shale", generator_folder())
    stored = Path(mlflow.artifacts.download_artifacts(f"models:/{entry.name}/{entry.version}"))
    for target, words in (("/dev/zero", "not there"), ("/etc/passwd", "sha256 is")):
        (stored / ONNX).unlink()
        (stored / ONNX).symlink_to(target)
        with pytest.raises(CardMismatch, match=words):
            registry.pull("shale/1", store / "pulled")
