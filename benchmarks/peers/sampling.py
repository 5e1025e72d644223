"""What every peer computes: a seed and a number in, an npy file out. It needs numpy and onnxruntime alone."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


class Sampler:
    """A generator's folder, named by the environment's GENERATOR, on one thread as the service is given.

    Attributes:
        image_shape: channels, height and width of a sample.
    """

    def __init__(self) -> None:
        import onnxruntime

        folder = Path(os.environ["GENERATOR"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("THREADS", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "generator.onnx"), options, providers=["CPUExecutionProvider"]
        )
        card = json.loads((folder / "card.json").read_text())
        self._latent = tuple(card["latent_shape"])
        self.image_shape = tuple(card["image_shape"])
        bounds = np.asarray(card["value_range"], dtype=np.float32).T[:, :, None, None]
        self._low, self._scale = bounds[0], bounds[1] - bounds[0]

    def __call__(self, request: dict[str, Any]) -> bytes:
        """The samples of `{"seed": .., "n": ..}` as intensity, in numpy's format."""
        file = io.BytesIO()
        np.save(file, self.images(request["seed"], request["n"]))
        return file.getvalue()

    def images(self, seed: int, n: int) -> np.ndarray:
        """Intensities of shape (n, c, h, w)."""
        rng = np.random.Generator(np.random.Philox(key=seed))
        latents = rng.standard_normal((n, *self._latent), dtype=np.float32)
        (images,) = self._session.run(None, {"latent": latents})
        return np.clip((images - self._low) / self._scale, 0.0, 1.0)
