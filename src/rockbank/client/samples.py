"""Samples as they come from the service, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from typing import IO, Any

import httpx
import numpy as np
from jaxtyping import Float32

from rockbank.client.errors import ClientError
from rockbank.core.errors import InputError

# The header of our arrays has 128 bytes; a longer one is not ours.
_HEADER_BYTES = 4096
_MAGIC = b"\x93NUMPY"
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What generated some samples: with it, any of them can be made again.

    Attributes:
        model: the registered model.
        version: of it.
        run_id: the MLflow run that trained it.
        data_md5: DVC's md5 of what it was trained on.
        seed: of the latents; chosen by the server where none was given.
        extractor: what FID and KID were measured with.
        scores: those of `rockbank models`.
        request_id: in the server's logs.
        places: where a condition was given, each sample's place among all of the seed, from 0; else None.
    """

    model: str
    version: str
    run_id: str | None
    data_md5: str | None
    seed: int
    extractor: str | None
    scores: dict[str, float]
    request_id: str | None
    places: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Samples(Origin):
    """Samples, with what generated them.

    Attributes:
        array: intensity in [0, 1].
    """

    array: Float32[np.ndarray, "n c h w"]

    @classmethod
    def of(cls, origin: Origin, array: Float32[np.ndarray, "n c h w"]) -> Samples:
        """The samples of an origin."""
        return cls(array=array, **{field.name: getattr(origin, field.name) for field in fields(Origin)})


def read_origin(headers: Mapping[str, str]) -> Origin:
    """The origin in a response's headers.

    Raises:
        ClientError: where they do not: the server is not one of ours.
    """
    try:
        return Origin(
            model=headers["x-rockbank-model"],
            version=headers["x-rockbank-version"],
            run_id=headers.get("x-rockbank-run-id") or None,
            data_md5=headers.get("x-rockbank-data-md5") or None,
            seed=int(headers["x-rockbank-seed"]),
            extractor=headers.get("x-rockbank-extractor") or None,
            scores={key: float(value) for key, value in json.loads(headers.get("x-rockbank-scores", "{}")).items()},
            request_id=headers.get("x-request-id"),
            places=_places(headers.get("x-rockbank-places")),
        )
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise ClientError(
            f"the response does not say what generated it ({error}); is this a rockbank server?"
        ) from error


def _places(header: str | None) -> tuple[int, ...] | None:
    return None if header is None else tuple(int(place) for place in json.loads(header))


class Body:
    """A response's body on its way into a file; an array's samples, or an image's rows, are counted as they come.

    Attributes:
        address: of the server that answered.
    """

    def __init__(self, file: IO[bytes], progress: Progress | None = None, row_bytes: int | None = None) -> None:
        """Write to `file`; call `progress` with what has come so far.

        Args:
            file: to be written.
            progress: given the count of samples, if the body is an array, or of rows.
            row_bytes: of an image of any size; None for samples.
        """
        self._file = file
        self._progress = progress
        self._row_bytes = row_bytes
        self._start = 0
        self._sample_bytes = 0
        self._n_counted = 0
        self.address = ""

    def headers(self) -> dict[str, str]:
        """None: each try transfers all of it."""
        return {}

    def begin(self, address: str, response: httpx.Response) -> None:
        """Throw away what an earlier try has written."""
        self.address = address
        self._file.seek(0)
        self._file.truncate()
        self._sample_bytes = self._n_counted = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._progress is not None and self._file.tell() == 0:
            if self._row_bytes is None:
                self._measure(chunk)
            else:
                # The few bytes before the first row are less than one, but for the narrowest.
                self._sample_bytes = self._row_bytes
        self._file.write(chunk)
        if self._progress is not None and self._sample_bytes:
            n_come = (self._file.tell() - self._start) // self._sample_bytes
            if n_come > self._n_counted:
                self._n_counted = n_come
                self._progress(n_come)

    def _measure(self, chunk: bytes) -> None:
        """How large a sample is; what is no array, or whose header is cut in two, is not counted."""
        try:
            self._start, shape, dtype = _array_header(chunk)
        except ValueError:
            return
        self._sample_bytes = int(np.prod(shape[1:])) * dtype.itemsize


class Blocks:
    """Whole samples of a body in npy's format, as its bytes come; what an earlier try has given is not given again."""

    def __init__(self, progress: Progress | None = None) -> None:
        """Call `progress` with the count of samples so far."""
        self._progress = progress
        self._n_given = 0
        self.begin()

    def begin(self) -> None:
        """The body begins anew."""
        self._kept = bytearray()
        self._shape: tuple[int, ...] | None = None
        self._n_skipped = 0

    def feed(self, chunk: bytes) -> Float32[np.ndarray, "b c h w"] | None:
        """The samples that are whole with these bytes, of those that were not given yet; None where there are none.

        Raises:
            ClientError: where the body is no float32 array.
        """
        self._kept += chunk
        if self._shape is None and not self._read_header():
            return None
        assert self._shape is not None
        n_bytes = 4 * int(np.prod(self._shape))
        if (n_again := min(self._n_given - self._n_skipped, len(self._kept) // n_bytes)) > 0:
            del self._kept[: n_again * n_bytes]
            self._n_skipped += n_again
        n = len(self._kept) // n_bytes
        if not n or self._n_skipped < self._n_given:
            return None
        array = np.frombuffer(bytes(self._kept[: n * n_bytes]), "<f4").reshape(n, *self._shape)
        del self._kept[: n * n_bytes]
        self._n_given += n
        self._n_skipped += n
        if self._progress is not None:
            self._progress(self._n_given)
        return array

    def _read_header(self) -> bool:
        """Whether the header has come whole."""
        is_ours = _MAGIC.startswith(bytes(self._kept[: len(_MAGIC)]))
        if is_ours and (len(self._kept) < 10 or len(self._kept) < 10 + int.from_bytes(self._kept[8:10], "little")):
            return False
        try:
            start, shape, dtype = _array_header(bytes(self._kept[:_HEADER_BYTES]))
        except ValueError as error:
            raise ClientError(f"the response is no array ({error}); is this a rockbank server?") from error
        if dtype != np.dtype("<f4") or len(shape) != 4:
            raise ClientError(
                f"the response is an array of {dtype} with the shape {shape}, and no float32 of four axes; "
                "is this a rockbank server?"
            )
        del self._kept[:start]
        self._shape = shape[1:]
        return True


def read_samples(headers: Mapping[str, str], content: memoryview) -> Samples:
    """The samples of a body in npy's format, without a copy of it.

    Raises:
        ClientError: where it is not a whole float32 array, or does not say what generated it.
    """
    try:
        start, shape, dtype = _array_header(bytes(content[:_HEADER_BYTES]))
    except ValueError as error:
        raise ClientError(f"the response is no array ({error}); is this a rockbank server?") from error
    wanted = start + int(np.prod(shape)) * dtype.itemsize
    if dtype != np.dtype("<f4") or len(content) != wanted:
        raise ClientError(f"the response has {len(content)} bytes of {dtype}; {wanted} of float32 were announced")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return Samples.of(read_origin(headers), array)


def _array_header(content: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Where the values begin, the shape and the type of values.

    Raises:
        InputError: where these are no bytes of an npy file as numpy writes it.
    """
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise InputError(f"npy {version}, where 1.0 is read")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if is_fortran:
        raise InputError("it runs along columns, where rows are read")
    return stream.tell(), shape, dtype
