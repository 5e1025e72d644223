"""Samples of a pulled generator through its ONNX graph, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import tifffile
from jaxtyping import Float32

from rockbank.card import ONNX, ModelCard
from rockbank.crops import to_bytes
from rockbank.files import replacing
from rockbank.latents import draw_latents
from rockbank.pictures import save_grid
from rockbank.ranges import to_intensity

# 16 images a call cost less per image than 64 on two cores, and bound the memory of a large n.
BATCH = 16


class Sampler:
    """A generator's ONNX session; the latent is its input, so the caller's seed decides the sample."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        """Open the graph in `folder`, on a GPU where onnxruntime really gets one, else on the CPU."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # the missing CUDA libraries of a CPU machine are no news to its user
        available = onnxruntime.get_available_providers()
        wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
        if not _has_gpu():
            wanted = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers=wanted)
        self._card = card

    @property
    def provider(self) -> str:
        """What the session really runs on; onnxruntime falls back to the CPU without an error."""
        return str(self._session.get_providers()[0])

    def sample(self, seed: int, n: int, truncation: float | None = None) -> Float32[np.ndarray, "n c h w"]:
        """`n` samples as intensity in [0, 1]; sample i of a seed does not depend on `n`."""
        return np.concatenate(list(self.batches(seed, n, truncation)))

    def batches(self, seed: int, n: int, truncation: float | None = None) -> Iterator[Float32[np.ndarray, "b c h w"]]:
        """The same samples, `BATCH` at a time."""
        latents = draw_latents(seed, n, self._card.latent_shape, truncation)
        (name,) = (each.name for each in self._session.get_inputs())
        for start in range(0, n, BATCH):
            (image,) = self._session.run(None, {name: latents[start : start + BATCH]})
            yield np.clip(to_intensity(np.asarray(image), self._card.value_range), 0.0, 1.0)


def write_samples(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    """Write samples as a picture (.png), an array (.npy) or a stack of 8-bit pages with their scale (.tif).

    Args:
        path: its suffix says which.
        samples: intensity in [0, 1].
        voxel_size: metres.

    Raises:
        ValueError: for any other suffix.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: cannot write '{path.suffix}'; use one of {sorted(WRITERS)}")
    with replacing(path) as beside:
        WRITERS[path.suffix](beside.with_suffix(path.suffix), samples, voxel_size)


def _write_picture(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    save_grid(path, samples)


def _write_array(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    np.save(path, samples, allow_pickle=False)


def _write_stack(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    per_centimetre = 0.01 / voxel_size
    pages = to_bytes(samples).reshape(-1, *samples.shape[2:])
    tifffile.imwrite(
        path,
        pages,
        photometric="minisblack",
        resolution=(per_centimetre, per_centimetre),
        resolutionunit="CENTIMETER",
        imagej=True,
        metadata={"spacing": voxel_size * 1e6, "unit": "um"},
    )


WRITERS = {".png": _write_picture, ".npy": _write_array, ".tif": _write_stack}


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists()
