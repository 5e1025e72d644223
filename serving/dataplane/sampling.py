"""From a seed to blocks of samples: batched with those of others, computed ahead by one block, never more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from rockbank.core.errors import InputError
from rockbank.generator.latents import latent_blocks
from rockbank.generator.ranges import ValueRange, to_intensity
from rockbank.generator.windows import Field, Tile, Window, bands, field_of
from serving.base.clients import CLIENT
from serving.base.errors import BadRequest, ServingError
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.base.settings import Settings
from serving.dataplane.encode import Chunk, Encoder, joined
from serving.inference.batching import Finish
from serving.inference.models import CURRENT, SHADOW, Models, Served
from serving.watch.watch import Watch

T = TypeVar("T")
# Values up to which a thread costs more than what it takes off the loop.
_N_INLINE = 65_536
_N_SHADOWS = 4


class Sampling:
    """The data plane of a service."""

    def __init__(self, settings: Settings, models: Models, metrics: Metrics, watch: Watch, executor: Executor) -> None:
        """Sampling that encodes in `executor`."""
        self._settings = settings
        self._models = models
        self._metrics = metrics
        self._watch = watch
        self._executor = executor
        self._shadows: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Give up what only serves for comparison."""
        for task in self._shadows:
            task.cancel()
        await asyncio.gather(*self._shadows, return_exceptions=True)

    async def blocks(
        self,
        served: Served,
        route: str,
        *,
        seed: int,
        n: int,
        truncation: float | None,
        request_id: str,
        is_unconditioned: bool,
        deadline: float | None = None,
    ) -> AsyncGenerator[Float32[np.ndarray, "b c h w"], None]:
        """`n` samples as intensity in [0, 1], a block at a time; sample i of a seed does not depend on `n`.

        Args:
            route: the part that `served` plays, for the counts.
            is_unconditioned: whether nobody chose the seed or the truncation, so that the statistics may be watched.
            deadline: of all blocks, on the clock of `time.monotonic`; None for the client's or the settings' of each.

        Raises:
            QueueFull: before the first block only.
            DeadlineExceeded, NotReady: before the block that they are about.
        """
        card = served.card
        shadow = self._models.shadow(served.name, request_id) if route == CURRENT else None
        latents = latent_blocks(
            seed,
            n,
            card.latent_shape,
            truncation,
            size=served.generator.buckets[-1],
            lattice=card.lattice,
            # A shadow takes the same latents, and may read more of them.
            n_read=served.generator.n_read if shadow is None else (),
        )
        finish = partial(_intensity, value_range=card.value_range)
        ahead: tuple[Any, asyncio.Future[Any]] | None = None
        try:
            ahead = self._submit(served, latents, deadline, finish)
            while ahead is not None:
                block, future = ahead
                intensity = await future
                # The next block is computed while this one is encoded and sent.
                ahead = self._submit(served, latents, deadline, finish, is_begun=True)
                self._metrics.samples_total.labels(served.name, served.version, route).inc(len(intensity))
                if is_unconditioned:
                    self._watch.offer(served, intensity)
                if shadow is not None:
                    self._compare(shadow, block, intensity, is_unconditioned)
                yield intensity
        finally:
            if ahead is not None:
                ahead[1].cancel()

    async def images(
        self, served: Served, route: str, latents: Float32[np.ndarray, "n *latent"], deadline: float
    ) -> Float32[np.ndarray, "n c h w"]:
        """Images in the network's range of a caller's own latents.

        Args:
            deadline: on the clock of `time.monotonic`.
        """
        # Latents of different extents cannot be in one batch.
        is_usual = served.tiles is None or latents.shape[1:] == served.card.latent_shape
        images = await (served.batcher if is_usual else served.tiles or served.batcher).run(latents, deadline)
        self._metrics.samples_total.labels(served.name, served.version, route).inc(len(images))
        return images

    async def bands(
        self, served: Served, route: str, window: Window, *, seed: int, n: int, truncation: float | None
    ) -> AsyncGenerator[Float32[np.ndarray, "1 1 rows width"], None]:
        """A window of the endless images 0 to `n` - 1 of a seed as intensity in [0, 1], rows of tiles at a time.

        Of all its tiles at most two are in the queue, so that the requests of others go in between.

        Raises:
            BadRequest: where the version is not endless.
            QueueFull: before the first tile only.
            DeadlineExceeded, NotReady: before the tile that they are about.
        """
        fields = [endless(served, seed, i, truncation) for i in range(n)]
        tiles = ((field, tile) for field in fields for band in bands(window, field.lattice) for tile in band)
        ahead: asyncio.Task[tuple[Tile, Float32[np.ndarray, "h w"]]] | None = None
        band = np.empty((1, 1, 0, 0), dtype=np.float32)
        try:
            ahead = self._submit_tile(served, route, tiles)
            while ahead is not None:
                tile, image = await ahead
                ahead = self._submit_tile(served, route, tiles, is_begun=True)
                part = image[tile.rows, tile.columns]
                if tile.left == 0:
                    band = np.empty((1, 1, len(part), window.width), dtype=np.float32)
                right = tile.left + part.shape[1]
                band[0, 0, :, tile.left : right] = part
                if right == window.width:
                    yield band
        finally:
            if ahead is not None:
                ahead.cancel()

    async def tile(
        self, served: Served, route: str, field: Field, row: int, column: int, *, is_begun: bool = False
    ) -> Float32[np.ndarray, "h w"]:
        """A tile of an endless image as intensity in [0, 1].

        Raises:
            QueueFull, DeadlineExceeded, NotReady: as by the queue.
        """
        assert served.tiles is not None
        deadline = self._deadline()
        latent = await asyncio.get_running_loop().run_in_executor(self._executor, field.of_tile, row, column)
        image = await served.tiles.run(latent, deadline, is_begun=is_begun)
        self._metrics.tiles_total.labels(served.name, served.version, route).inc()
        convert = partial(_intensity, image, served.card.value_range)
        return np.asarray((await self.in_thread(convert, image.size))[0, 0])

    def _deadline(self) -> float:
        """Of what is begun now, on the clock of `time.monotonic`."""
        own = CLIENT.get().deadline_seconds
        return time.monotonic() + (self._settings.deadline_seconds if own is None else own)

    async def in_thread(self, call: Callable[[], T], n_values: int) -> T:
        """The result of `call`, made in a thread where it works on many values; its time counts as encoding."""
        start = time.monotonic()
        if n_values <= _N_INLINE:
            result = call()
        else:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, call)
        end = time.monotonic()
        self._metrics.encode_seconds.observe(end - start)
        spans = self._metrics.spans
        spans.add("encode", start, end, spans.context())
        return result

    def _submit(
        self,
        served: Served,
        latents: Iterator[Float32[np.ndarray, "b *latent"]],
        deadline: float | None,
        finish: Finish,
        *,
        is_begun: bool = False,
    ) -> tuple[Float32[np.ndarray, "b *latent"], asyncio.Future[Float32[np.ndarray, "b c h w"]]] | None:
        block = next(latents, None)
        if block is None:
            return None
        if deadline is None:
            deadline = self._deadline()
        return block, served.batcher.submit(block, deadline, is_begun=is_begun, finish=finish)

    def _submit_tile(
        self, served: Served, route: str, tiles: Iterator[tuple[Field, Tile]], *, is_begun: bool = False
    ) -> asyncio.Task[tuple[Tile, Float32[np.ndarray, "h w"]]] | None:
        following = next(tiles, None)
        if following is None:
            return None
        field, tile = following

        async def run() -> tuple[Tile, Float32[np.ndarray, "h w"]]:
            return tile, await self.tile(served, route, field, tile.row, tile.column, is_begun=is_begun)

        task = asyncio.create_task(run())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _compare(
        self,
        shadow: Served,
        latents: Float32[np.ndarray, "b *latent"],
        intensity: Float32[np.ndarray, "b c h w"],
        is_unconditioned: bool,
    ) -> None:
        """Have the shadow compute the same latents, where it has nothing else to do."""
        if len(self._shadows) >= _N_SHADOWS or latents.shape[1:] != shadow.card.latent_shape:
            return
        task = asyncio.create_task(self._shadow(shadow, latents, intensity, is_unconditioned))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(
        self,
        shadow: Served,
        latents: Float32[np.ndarray, "b *latent"],
        intensity: Float32[np.ndarray, "b c h w"],
        is_unconditioned: bool,
    ) -> None:
        with shadow.used():
            try:
                images = await self.images(shadow, SHADOW, latents, time.monotonic() + self._settings.deadline_seconds)
            except ServingError as error:
                log.info("the shadow %s/%s did not compute: %s", shadow.name, shadow.version, error)
                return
            other = await self.in_thread(partial(_intensity, images, shadow.card.value_range), images.size)
            if other.shape == intensity.shape:
                difference = float(np.abs(other - intensity).mean())
                self._metrics.shadow_difference.labels(shadow.name).set(difference)
            if is_unconditioned:
                self._watch.offer(shadow, other)


async def encoded(
    sampling: Sampling, served: Served, encoder: Encoder, blocks: AsyncGenerator[Any, None]
) -> AsyncGenerator[tuple[list[Chunk], bool], None]:
    """A response's bytes, block by block, and whether they are the last; closing it stops the computation."""
    before, n_left = encoder.head(), encoder.n_values
    try:
        with served.used():
            async for block in blocks:
                n_left -= block.size
                n_values = block.size if n_left else encoder.n_values
                encode = partial(_encode, encoder, block, n_left == 0)
                chunks = [*before, *await sampling.in_thread(encode, 0 if encoder.is_light else n_values)]
                if chunks:
                    yield list(joined(chunks)), n_left == 0
                    before = []
    finally:
        await blocks.aclose()


def _encode(encoder: Encoder, block: Float32[np.ndarray, "b c h w"], is_last: bool) -> list[Chunk]:
    return [*encoder.block(block), *encoder.tail()] if is_last else encoder.block(block)


def endless(served: Served, seed: int, sample: int = 0, truncation: float | None = None) -> Field:
    """An endless image of a version.

    Raises:
        BadRequest: where the version is not endless, with the only size that it has.
    """
    try:
        return field_of(served.card, seed, sample, truncation)
    except InputError as error:
        raise BadRequest(str(error)) from error


def _intensity(images: Float32[np.ndarray, "n c h w"], value_range: ValueRange) -> Float32[np.ndarray, "n c h w"]:
    intensity = to_intensity(images, value_range)
    return np.clip(intensity, 0.0, 1.0, out=intensity)
