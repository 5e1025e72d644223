"""Blocks of samples as bytes of a format, a block at a time."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from rockbank.generator.tiff import Layout
from rockbank.generator.writers import array_header
from rockbank.plot.grids import grid
from rockbank.rock.crops import to_bytes
from serving.protocol.binary import json_numbers

Chunk = bytes | memoryview
Shape = tuple[int, int, int, int]
# As `rockbank sample` draws them.
_N_COLUMNS = 4


class Encoder(Protocol):
    """Turns the blocks of one response into bytes; its methods work on many values and belong in a thread.

    Attributes:
        media_type: of the response.
        suffix: of a file that holds it.
        n_values: of the whole response.
        size: of the whole response in bytes; None where it is known at the end only.
        is_light: whether a block costs nothing.
    """

    media_type: str
    suffix: str
    n_values: int
    size: int | None
    is_light: bool

    def head(self) -> list[Chunk]:
        """Before the first block."""
        ...

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """One block, in its turn."""
        ...

    def tail(self) -> list[Chunk]:
        """After the last block."""
        ...


class Npy:
    """float32 in numpy's format: the samples' own memory, without a copy."""

    media_type, suffix, is_light = "application/x-npy", "npy", True

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        self._head = _array_header(shape)
        self.size: int | None = len(self._head) + 4 * self.n_values

    def head(self) -> list[Chunk]:
        """numpy's header, which says the shape."""
        return [self._head]

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """The values as they are."""
        return [np.ascontiguousarray(samples, dtype="<f4").data.cast("B")]

    def tail(self) -> list[Chunk]:
        """Nothing."""
        return []


class Png:
    """All samples as one grid; they are kept until the last one is there."""

    media_type, suffix, is_light = "image/png", "png", False

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        self.size: int | None = None
        self._blocks: list[Float32[np.ndarray, "b c h w"]] = []

    def head(self) -> list[Chunk]:
        """Nothing."""
        return []

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """Nothing yet."""
        self._blocks.append(samples)
        return []

    def tail(self) -> list[Chunk]:
        """The picture."""
        return [_png(np.concatenate(self._blocks), _N_COLUMNS)]


class Picture:
    """One image of any size, whose rows are kept as bytes until the last one is there."""

    media_type, suffix, is_light = "image/png", "png", False

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        self.size: int | None = None
        self._bands: list[UInt8[np.ndarray, "rows width"]] = []

    def head(self) -> list[Chunk]:
        """Nothing."""
        return []

    def block(self, samples: Float32[np.ndarray, "1 1 rows width"]) -> list[Chunk]:
        """Nothing yet."""
        self._bands.append(to_bytes(samples[0, 0]))
        return []

    def tail(self) -> list[Chunk]:
        """The picture."""
        return [png(np.concatenate(self._bands))]


class Zip:
    """A PNG for each sample."""

    media_type, suffix, is_light = "application/zip", "zip", False

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        self.size: int | None = None
        self._width = len(str(shape[0] - 1))
        self._i = 0
        self._about = about
        self._written = _Written()
        # PNGs are compressed already.
        self._archive = zipfile.ZipFile(self._written, "w", zipfile.ZIP_STORED, allowZip64=True)

    def head(self) -> list[Chunk]:
        """What the samples are, as JSON."""
        self._archive.writestr(_entry("about.json"), json.dumps(self._about, indent=2))
        return self._written.take()

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """A picture for each of the block."""
        for sample in samples:
            self._archive.writestr(_entry(f"{self._i:0{self._width}d}.png"), _png(sample[None], 1))
            self._i += 1
        return self._written.take()

    def tail(self) -> list[Chunk]:
        """The archive's directory."""
        self._archive.close()
        return self._written.take()


class Tiff:
    """8-bit pages with the voxel size, all channels of a sample after each other."""

    media_type, suffix, is_light = "image/tiff", "tif", False

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        n, c, height, width = shape
        self._layout = Layout(n * c, height, width, voxel_size)
        self.size: int | None = self._layout.size

    def head(self) -> list[Chunk]:
        """The first page's directory."""
        return [self._layout.head()]

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """The pages' pixels."""
        return [np.ascontiguousarray(to_bytes(samples)).data.cast("B")]

    def tail(self) -> list[Chunk]:
        """The directories of the other pages."""
        return [b"".join(self._layout.tail())]


class Json:
    """What the samples are, their shape, and all values in the order of the axes."""

    media_type, suffix, is_light = "application/json", "json", False

    def __init__(self, shape: Shape, voxel_size: float, about: Mapping[str, Any]) -> None:
        self.n_values = math.prod(shape)
        self.size: int | None = None
        self._is_first = True
        self._head = json.dumps({**about, "shape": shape, "data": []})[:-2].encode()

    def head(self) -> list[Chunk]:
        """All but the values."""
        return [self._head]

    def block(self, samples: Float32[np.ndarray, "b c h w"]) -> list[Chunk]:
        """The values of the block."""
        comma: list[Chunk] = [] if self._is_first else [b","]
        self._is_first = False
        return [*comma, *json_numbers(samples)]

    def tail(self) -> list[Chunk]:
        """The end."""
        return [b"]}"]


# numpy writes it by way of a dictionary's text, which takes as long as a small answer's other headers together.
_array_header = lru_cache(maxsize=256)(array_header)
ENCODERS: dict[str, type[Npy] | type[Png] | type[Zip] | type[Tiff] | type[Json]] = {
    "npy": Npy, "png": Png, "zip": Zip, "tiff": Tiff, "json": Json,
}  # fmt: skip
# Of a window of an endless image, whose blocks are bands of rows; a grid or an archive of pictures is for samples.
WINDOW_ENCODERS: dict[str, type[Npy] | type[Picture] | type[Tiff] | type[Json]] = {
    "npy": Npy, "png": Picture, "tiff": Tiff, "json": Json,
}  # fmt: skip
# Formats that need every sample before their first byte.
WHOLE = ("png",)


def _png(samples: Float32[np.ndarray, "n c h w"], n_columns: int) -> bytes:
    return png(grid(samples, n_columns))


def png(pixels: UInt8[np.ndarray, "h w *rgb"]) -> bytes:
    """A picture of bytes."""
    written = io.BytesIO()
    # Level 1 is several times as fast as the usual 6, and rock compresses little.
    Image.fromarray(pixels).save(written, format="PNG", compress_level=1)
    return written.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    # The same samples make the same archive: no time of the day in it.
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


class _Written(io.RawIOBase):
    """A file that cannot be gone back in, and whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def take(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        return chunks


def joined(chunks: list[Chunk]) -> Iterator[Chunk]:
    """Small chunks in one, large ones as they are: each goes to the socket by itself."""
    small: list[Chunk] = []
    for chunk in chunks:
        if len(chunk) < _SMALL:
            small.append(chunk)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield chunk
    if small:
        yield b"".join(small)


# A small image goes with its header in one message.
_SMALL = 32_768
