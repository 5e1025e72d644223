"""Generators small enough to be computed by numpy too, complete with card and verdict."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rockbank.core.files import sha256, write_json
from rockbank.generator.card import CARD, HASHED, ONNX, REFERENCE, SAMPLES, VERDICT, WEIGHTS, ModelCard, fingerprints
from rockbank.generator.latents import Lattice, draw_latents
from rockbank.rock.descriptors import describe
from rockbank.rock.segmentation import Segmentation, segment

LATENT = (4,)
IMAGE = (1, 16, 16)
# Of a tiny endless generator, whose tiles are 32 x 32 pixels.
LATTICE = Lattice(cell=2, margin=1)
ENDLESS_LATENT = (8, 10, 10)
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


def endless_weights(seed: int = 0) -> np.ndarray:
    """K of `write_endless_onnx`."""
    return (np.random.default_rng(seed).standard_normal((4, 4, 3, 3)) / 6).astype(np.float32)


def write_endless_onnx(path: Path, weights_seed: int = 0) -> None:
    """image = tanh(pixels(K * coarse) + pixels(noise) / 2), a cell of four channels being 2 x 2 pixels.

    The first four channels are convolved with K, unpadded; the others are the noise of the pixels.
    """
    constants = {
        "K": endless_weights(weights_seed),
        "parts": np.array([4, 4]),
        "begin": np.array([1, 1]),
        "end": np.array([-1, -1]),
        "sides": np.array([2, 3]),
        "half": np.array(0.5, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Split", ["latent", "parts"], ["coarse", "packed"], axis=1),
        helper.make_node("Conv", ["coarse", "K"], ["finer"], pads=[0, 0, 0, 0]),
        helper.make_node("Slice", ["packed", "begin", "end", "sides"], ["inner"]),
        helper.make_node("Mul", ["inner", "half"], ["noise"]),
        helper.make_node("Add", ["finer", "noise"], ["sum"]),
        helper.make_node("DepthToSpace", ["sum"], ["pixels"], blocksize=2, mode="CRD"),
        helper.make_node("Tanh", ["pixels"], ["image"]),
    ]
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["n", 8, "h", "w"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "2*h - 4", "2*w - 4"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def endless_images(latents: np.ndarray, weights_seed: int = 0) -> np.ndarray:
    """What the tiny endless generator makes of latents of any extent, by numpy: the naive reference."""
    coarse, noise = latents[:, :4], latents[:, 4:, 1:-1, 1:-1]
    views = np.lib.stride_tricks.sliding_window_view(coarse, (3, 3), axis=(2, 3))
    cells = np.einsum("nchwij,dcij->ndhw", views, endless_weights(weights_seed)) + noise / 2
    n, _, h, w = cells.shape
    return np.tanh(cells.reshape(n, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(n, 1, 2 * h, 2 * w))


def endless_golden(weights_seed: int = 0) -> dict[str, Any]:
    """The golden sample of the tiny endless generator."""
    places = np.linspace(0, 255, 16).astype(int)
    latents = draw_latents(2019, 1, ENDLESS_LATENT, lattice=LATTICE)
    values = endless_images(latents, weights_seed).ravel()[places]
    return {"seed": 2019, "places": places.tolist(), "values": [float(value) for value in values]}


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
    endless: bool = False,
) -> Path:
    """A generator's folder as export and gate leave it.

    Args:
        weights_seed: another one is another generator.
        golden: in the card; None for the true one.
        onnx_bytes: what stands in generator.onnx, if not the generator.
        endless: whether its images may have any size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (write_endless_onnx if endless else write_tiny_onnx)(folder / ONNX, weights_seed)
    if onnx_bytes is not None:
        (folder / ONNX).write_bytes(onnx_bytes)
    (folder / WEIGHTS).write_bytes(b"weights of " + str(kid).encode())
    # As from held-out rock, though the same generator drew it: nothing that it samples is far from this.
    if endless:
        images = endless_images(draw_latents(11, 200, ENDLESS_LATENT, lattice=LATTICE), weights_seed)
    else:
        images = tiny_images(11, 200, weights_seed)
    rock = (images + 1) / 2
    true_golden = endless_golden if endless else tiny_golden
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
        latent_shape=ENDLESS_LATENT if endless else LATENT,
        image_shape=IMAGE,
        value_range=((-1.0, 1.0),),
        voxel_size=60e-9,
        segmentation=SEGMENTATION,
        data_md5="d41d8cd98f00b204e9800998ecf8427e.dir",
        scans={"a.tif": "0" * 64},
        git_commit=None,
        scores=scores,
        parity=1e-6,
        golden=true_golden(weights_seed) if golden is None else golden,
        files=fingerprints(folder),
        lattice=LATTICE if endless else None,
    ).save(folder)
    verdict = {
        "passed": passed,
        "reasons": [] if passed else ["kid is too large"],
        "card_sha256": sha256(folder / CARD),
    }
    write_json(folder / VERDICT, verdict)
    assert set(HASHED) <= {path.name for path in folder.iterdir()}
    return folder
