"""One generator in onnxruntime: latents in, images out, the same bits in whatever batch."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from rockbank.generator.card import INPUT, ONNX, OUTPUT, CardMismatch, ModelCard
from rockbank.generator.latents import draw_latents, latent_blocks
from rockbank.generator.sampler import CUDA, has_gpu, open_session, provider
from serving.base.errors import LoadRefused
from serving.inference.runners import Runner, bound_runner, plain_runner

# Between a golden sample, which is torch's, and this machine's: as much as most networks' export allows, or twice what
# the export measured.
GOLDEN_TOLERANCE, GOLDEN_PARITIES = 2e-4, 2.0
_PROBE_SEED = 2019


class Computes(Protocol):
    """What a queue may stand before.

    Attributes:
        buckets: batch sizes, ascending; the last one is the largest batch that `run` takes.
    """

    buckets: tuple[int, ...]

    def run(self, latents: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n c h w"]:
        """Images in the network's range."""
        ...


class Generator:
    """An ONNX session that computes batches of a few fixed sizes, the buckets.

    A batch is filled up to the next bucket. onnxruntime's kernels, and with them the last bits of an image, may differ
    between batch sizes; so only those buckets are kept that give the bits of the largest one, on this machine.

    Attributes:
        card: of the version.
        provider: what the session runs on.
        buckets: batch sizes, ascending; the last one is the largest batch that `run` takes.
        n_read: of an endless generator, as `latent_blocks` takes it: what its images depend on.
    """

    def __init__(
        self, folder: Path, card: ModelCard, *, threads: int = 0, max_batch: int = 16, cuda_graphs: bool = False
    ) -> None:
        """Open the graph in `folder`, and compute a batch of each size once.

        Args:
            threads: of one batch on the CPU; 0 for one a core.
            max_batch: samples, at most, of one batch.
            cuda_graphs: replay one CUDA graph a bucket.

        Raises:
            LoadRefused: where it, its input or its output is not the card's, or onnxruntime cannot run it.
        """
        self.card = card
        try:
            graph = card.read(folder, ONNX)
        except CardMismatch as error:
            raise LoadRefused(str(error), "hash") from error
        self._lock = threading.Lock()
        try:
            # The cores are shared with encoding and sending; on two busy ones spinning cost 16 samples of the channels
            # 159 ms in place of 74.
            self._session = open_session(graph, threads=threads, spinning=False, cuda_graphs=cuda_graphs)
        # onnxruntime's own errors have no other base in common.
        except Exception as error:
            raise LoadRefused(
                f"{folder / ONNX}: onnxruntime cannot open it: {error}; export the generator again", "onnx"
            ) from error
        self.provider = provider(self._session)
        self._check_signature(folder / ONNX)
        self._alone = plain_runner(self._session, without_graph=cuda_graphs and self.provider == CUDA)
        self._runners: dict[int, Runner] = {}
        self.buckets: tuple[int, ...] = (max_batch,)
        self.n_read: tuple[int, ...] = ()
        try:
            self.buckets = self._warm_up(max_batch, cuda_graphs)
            self.n_read = self._find_read()
        except Exception as error:
            raise LoadRefused(
                f"{folder / ONNX}: onnxruntime cannot run a batch of {max_batch}: {error}; export the generator again",
                "onnx",
            ) from error

    def run(self, latents: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n c h w"]:
        """Images in the network's range, of at most `buckets[-1]` latents; an image does not depend on the others."""
        n = len(latents)
        bucket = next(size for size in self.buckets if size >= n)
        if n < bucket:
            filled = np.zeros((bucket, *latents.shape[1:]), dtype=np.float32)
            filled[:n] = latents
            latents = filled
        with self._lock:
            return self._runners[bucket](latents)[:n]

    def run_alone(self, latent: Float32[np.ndarray, "1 *latent"]) -> Float32[np.ndarray, "1 c h w"]:
        """The image of one latent of an endless generator, of any extent."""
        with self._lock:
            return self._alone(latent)

    def sample(self, seed: int, n: int) -> Float32[np.ndarray, "n c h w"]:
        """`n` images of a seed in the network's range, a bucket at a time."""
        size = self.buckets[-1]
        latents = draw_latents(seed, n, self.card.latent_shape, lattice=self.card.lattice)
        return np.concatenate([self.run(latents[start : start + size]) for start in range(0, n, size)])

    def golden_difference(self) -> float:
        """The largest difference from the card's golden values, in units of the network's range; NaN gives infinity.

        Raises:
            LoadRefused: where the card has no golden sample, or one that does not fit its images.
        """
        golden, n_values = self.card.golden, int(np.prod(self.card.image_shape))
        places, values = golden.get("places"), golden.get("values")
        if not places or not values or len(places) != len(values) or not 0 <= min(places) <= max(places) < n_values:
            raise LoadRefused(
                f"'{self.card.generator}': its card has no golden sample for images of {n_values} values; "
                "export the generator again",
                "golden",
            )
        image = self.sample(int(golden["seed"]), 1).ravel()
        difference = float(np.abs(image[places] - np.asarray(values, dtype=np.float32)).max())
        return difference if np.isfinite(difference) else float("inf")

    @property
    def golden_tolerance(self) -> float:
        """What the golden difference of a version that may be served is at most."""
        return max(GOLDEN_TOLERANCE, GOLDEN_PARITIES * self.card.parity)

    def check_golden(self) -> float:
        """The golden difference of a version that may be served.

        Raises:
            LoadRefused: where it is above `golden_tolerance`.
        """
        difference, tolerance = self.golden_difference(), self.golden_tolerance
        if difference > tolerance:
            raise LoadRefused(
                f"'{self.card.generator}': its golden sample differs by {difference:.3g} > {tolerance:.3g}; "
                "this machine does not compute what was exported: look at its onnxruntime and its provider",
                "golden",
            )
        return difference

    @property
    def gpu_missed(self) -> bool:
        """Whether a GPU is there and the session does not run on it."""
        return has_gpu() and self.provider != CUDA

    def require_gpu(self) -> None:
        """Refuse a session that fell back to the CPU.

        Raises:
            LoadRefused: naming the provider that it got.
        """
        if self.provider != CUDA:
            raise LoadRefused(
                f"'{self.card.generator}': onnxruntime runs it on {self.provider}, and require_gpu asks for {CUDA}; "
                "look at the driver and the CUDA libraries, or set ROCKBANK_REQUIRE_GPU=false",
                "provider",
            )

    def _check_signature(self, path: Path) -> None:
        # A symbol stands for what may have any extent, as the sides of an endless generator's images.
        inputs = {each.name: (each.type, _extents(each.shape[1:])) for each in self._session.get_inputs()}
        outputs = {each.name: (each.type, tuple(each.shape[1:])) for each in self._session.get_outputs()}
        latent = tuple(dynamic_shapes(self.card)[0][1:])
        wanted = {INPUT: ("tensor(float)", latent)}, {OUTPUT: ("tensor(float)", self.card.image_shape)}
        if inputs != wanted[0] or [*outputs] != [OUTPUT] or outputs[OUTPUT][0] != "tensor(float)":
            raise LoadRefused(
                f"{path}: takes {inputs} and gives {outputs}, its card says {wanted[0]} and {wanted[1]}; export again",
                "onnx",
            )

    def _warm_up(self, max_batch: int, cuda_graphs: bool) -> tuple[int, ...]:
        """Run each bucket, and keep those that agree with the largest one to the bit."""
        latents = draw_latents(_PROBE_SEED, max_batch, self.card.latent_shape, lattice=self.card.lattice)
        kept = [max_batch]
        largest = self._add_runner(max_batch, cuda_graphs)(latents)
        if largest.shape != (max_batch, *self.card.image_shape):
            raise ValueError(f"its images are {largest.shape[1:]}, its card says {self.card.image_shape}")
        size = max_batch // 2
        while size:
            run = self._add_runner(size, cuda_graphs)
            # The last place of the largest batch as the first of a small one, and so on: place matters no more
            # than size may. The order in which a kernel sums does not depend on what it sums.
            parts = [run(latents[start : start + size]) for start in range(0, max_batch - size + 1, size)]
            if np.array_equal(np.concatenate(parts), largest[: len(parts) * size]):
                kept.append(size)
            else:
                del self._runners[size]
            size //= 2
        return tuple(sorted(kept))

    def _find_read(self) -> tuple[int, ...]:
        """Of the margin's cells, how many first numbers an image depends on, by their distance from the edge.

        The noise of the finer layers is cropped to the image. Of the 53568 numbers of a latent of the shale 16960 are
        read; drawing them all takes 0.87 ms and these 0.49, where computing the image takes 8.0.
        """
        lattice, shape = self.card.lattice, self.card.latent_shape
        if lattice is None:
            return ()
        latent, other = np.split(draw_latents(_PROBE_SEED, 2, shape, lattice=lattice), 2)
        image, (n_channels, height, width) = self.run_alone(latent), shape
        rows, columns = np.arange(height)[:, None], np.arange(width)
        distances = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns))

        def is_enough(distance: int, n: int) -> bool:
            changed, cells = latent.copy(), distances == distance
            changed[:, n:, cells] = 100 * other[:, n:, cells]
            return np.array_equal(self.run_alone(changed), image)

        n_read = tuple(
            bisect_left(range(n_channels), True, key=partial(is_enough, distance)) for distance in range(lattice.margin)
        )
        size = self.buckets[-1]
        every, those = (
            next(latent_blocks(_PROBE_SEED, size, shape, size=size, lattice=lattice, n_read=each))
            for each in ((), n_read)
        )
        return n_read if np.array_equal(self.run(every), self.run(those)) else ()

    def _add_runner(self, bucket: int, cuda_graphs: bool) -> Runner:
        on_gpu = self.provider == CUDA
        runner = (
            bound_runner(self._session, self.card, bucket, "cuda", cuda_graphs)
            if on_gpu
            else plain_runner(self._session)
        )
        self._runners[bucket] = runner
        return runner


class OneByOne:
    """An endless generator for latents of any extent, one at a time; an image's bits depend on its latent alone.

    Attributes:
        buckets: the one batch size.
    """

    buckets: tuple[int, ...] = (1,)

    def __init__(self, generator: Generator) -> None:
        """The session of `generator`, which goes on to compute its batches."""
        self._generator = generator

    def run(self, latents: Float32[np.ndarray, "1 *latent"]) -> Float32[np.ndarray, "1 c h w"]:
        """The image in the network's range."""
        return self._generator.run_alone(latents)


def dynamic_shapes(card: ModelCard) -> tuple[list[int], list[int]]:
    """Of input and output, where -1 may be any number."""
    if card.lattice is None:
        return [-1, *card.latent_shape], [-1, *card.image_shape]
    return [-1, card.latent_shape[0], -1, -1], [-1, card.image_shape[0], -1, -1]


def _extents(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)
