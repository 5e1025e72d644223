"""What scoring and exporting cost, over the least that they could.

Scoring is held against the bare extractor on the same images: what is above 1 are FID, KID, S2, diversity and
memorisation together. Exporting is held against the bare exporter: what is above 1 are the check of the file and the
parity at four batch sizes. Sampling through ONNX is held against sampling through torch. One process, one run.

    python -m benchmarks.score
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from rockbank.gan.networks import build_generator
from rockbank.gan.onnx_export import export_onnx, parity
from rockbank.gan.weights import sample
from rockbank.generator.latents import draw_latents
from rockbank.metrics.features import features, make_extractor
from rockbank.metrics.score import score
from rockbank.rock.segmentation import Segmentation

N = 400
LATENT, IMAGE = (128,), (1, 64, 64)


def main() -> None:
    """Print the ratios."""
    rng = np.random.default_rng(0)
    rock = rng.integers(0, 256, (3, N, *IMAGE), dtype=np.uint8)
    extractor = make_extractor("efficientnet-lite0")
    whole = seconds(
        lambda: score(
            train=rock[0],
            test=rock[1],
            generated=rock[2],
            segmentation=Segmentation(smoothing=1.5, threshold=0.5, phase="below"),
            extractor=extractor,
            n_paper=100,
            n_large=N,
            seed=0,
            progress=False,
        )
    )
    bare = seconds(lambda: [features(each, extractor) for each in rock])
    print(f"score of {N} samples      {whole:6.1f} s = {whole / bare:5.2f} x the bare extractor, {bare:.1f} s")

    generator = build_generator("table1", LATENT, IMAGE, torch.Generator().manual_seed(0)).eval()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "generator.onnx"
        bare = seconds(lambda: _bare_export(generator, Path(temporary) / "bare.onnx"))
        whole = seconds(lambda: (export_onnx(generator, LATENT, path), parity(generator, path, LATENT)))
        print(f"export with its parity   {whole:6.1f} s = {whole / bare:5.2f} x the bare exporter, {bare:.1f} s")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        latents = draw_latents(0, N, LATENT)
        torch_seconds = seconds(lambda: sample(generator, latents))
        onnx_seconds = seconds(lambda: [session.run(None, {"latent": latents[i : i + 16]}) for i in range(0, N, 16)])
        rate = N / onnx_seconds
        print(f"sampling through ONNX    {rate:6.0f} images a second = {torch_seconds / onnx_seconds:5.2f} x torch's")


def seconds(work: Callable[[], object]) -> float:
    """The least of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _bare_export(generator: torch.nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("n")},)
        example = (torch.zeros(2, *LATENT),)
        torch.onnx.export(generator, example, path, dynamic_shapes=shapes, opset_version=20, verbose=False, dynamo=True)


if __name__ == "__main__":
    main()
