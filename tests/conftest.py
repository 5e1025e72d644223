"""A small generator, complete with card and verdict, and a registry of one's own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rockbank.card import CARD, HASHED, ONNX, REFERENCE, SAMPLES, VERDICT, WEIGHTS, ModelCard, fingerprints
from rockbank.files import sha256, write_json
from rockbank.latents import draw_latents
from rockbank.morphology import Segmentation, describe, segment

LATENT = (4,)
IMAGE = (1, 16, 16)


SEGMENTATION = Segmentation(smoothing=0.0, threshold=0.5, phase="below")


def tiny_weights(seed: int = 0) -> np.ndarray:
    """W of `write_tiny_onnx`."""
    return np.random.default_rng(seed).standard_normal((4, 256)).astype(np.float32)


def tiny_images(seed: int, n: int, weights_seed: int = 0) -> np.ndarray:
    """What the tiny generator makes of a seed, by numpy: the naive reference of onnxruntime."""
    return np.tanh(draw_latents(seed, n, LATENT) @ tiny_weights(weights_seed)).reshape(-1, *IMAGE)


def tiny_golden(weights_seed: int = 0) -> dict[str, Any]:
    """The golden sample of the tiny generator."""
    places = np.linspace(0, 255, 16).astype(int)
    values = tiny_images(2019, 1, weights_seed).ravel()[places]
    return {"seed": 2019, "places": places.tolist(), "values": [float(value) for value in values]}


def write_tiny_onnx(path: Path, weights_seed: int = 0) -> None:
    """image = tanh(latent W), W drawn from a fixed seed."""
    weights = tiny_weights(weights_seed)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["latent", "W"], ["flat"]),
            helper.make_node("Tanh", ["flat"], ["grey"]),
            helper.make_node("Reshape", ["grey", "shape"], ["image"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *IMAGE])],
        [numpy_helper.from_array(weights, "W"), numpy_helper.from_array(np.array([-1, *IMAGE]), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def write_generator(
    folder: Path,
    *,
    kid: float = 0.1,
    passed: bool = True,
    extractor: str = "tiny",
    family: str = "shale",
    weights_seed: int = 0,
    golden: dict[str, Any] | None = None,
    onnx_bytes: bytes | None = None,
) -> Path:
    """A generator's folder as export and gate leave it.

    Args:
        weights_seed: another one is another generator.
        golden: in the card; None for the true one.
        onnx_bytes: what stands in generator.onnx, if not the generator.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_onnx(folder / ONNX, weights_seed)
    if onnx_bytes is not None:
        (folder / ONNX).write_bytes(onnx_bytes)
    (folder / WEIGHTS).write_bytes(b"weights of " + str(kid).encode())
    # As from held-out rock, though the same generator drew it: nothing that it samples is far from this.
    rock = (tiny_images(11, 200, weights_seed) + 1) / 2
    write_json(folder / REFERENCE, describe(segment(rock, SEGMENTATION)))
    (folder / SAMPLES).write_bytes(b"picture")
    scores = {
        "extractor": extractor,
        "large": {"n": 1000, "fid": 10.0, "kid": kid},
        "s2_distance": 0.01,
        "diversity": 0.9,
        "memorisation": 0.95,
    }
    ModelCard(
        generator="tiny",
        family=family,
        network="tiny",
        loss="wgan-gp",
        latent_shape=LATENT,
        image_shape=IMAGE,
        value_range=((-1.0, 1.0),),
        voxel_size=60e-9,
        segmentation=SEGMENTATION,
        data_md5="d41d8cd98f00b204e9800998ecf8427e.dir",
        git_commit=None,
        scores=scores,
        parity=1e-6,
        golden=tiny_golden(weights_seed) if golden is None else golden,
        files=fingerprints(folder),
    ).save(folder)
    verdict = {
        "passed": passed,
        "reasons": [] if passed else ["kid is too large"],
        "card_sha256": sha256(folder / CARD),
    }
    write_json(folder / VERDICT, verdict)
    assert set(HASHED) <= {path.name for path in folder.iterdir()}
    return folder


@pytest.fixture
def generator_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a generator's folder; keywords as those of write_generator."""
    made = iter(range(1000))
    return lambda **keywords: write_generator(tmp_path / "generators" / str(next(made)), **keywords)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sqlite store without a row: MLflow's migrations of the schema take seconds, so they are run once."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Iterator[Path]:
    """A working folder whose MLflow store is its own sqlite file."""
    import mlflow

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rockbank.tracking.SYSTEM_METRICS_SECONDS", 1)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(None)
