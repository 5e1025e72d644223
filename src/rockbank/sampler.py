"""Samples of a pulled generator through its ONNX graph, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float32

from rockbank.card import ONNX, ModelCard
from rockbank.latents import draw_latents
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


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists()
