"""protobuf's wire format, as far as needed to bound a message before it is unpacked.

An unpacked message may take fifty times its bytes: each of a million empty tensors is two bytes on the wire and an
object in memory. Values are the exception, so they alone may be many.
"""

from __future__ import annotations

from collections.abc import Iterator

from serving.base.errors import BadRequest, TooLarge

# Of a message beside its values: names, shapes, parameters.
MAX_ABOUT_BYTES = 16 * 1024
# The fields of ModelInferRequest, InferInputTensor and InferTensorContents that hold values.
_INPUTS, _RAW, _CONTENTS, _FP32 = 5, 7, 5, 6
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def split_values(message: bytes) -> tuple[bytes, list[memoryview]]:
    """A ModelInferRequest without its raw values, which are not copied, and those.

    Raises:
        TooLarge: where what is no value takes more than `MAX_ABOUT_BYTES`.
        BadRequest: where it is no protobuf.
    """
    raw: list[memoryview] = []
    about: list[memoryview] = []
    n_about = 0
    for number, whole, value in _fields(memoryview(message)):
        if number == _RAW and value is not None:
            raw.append(value)
            n_about += len(whole) - len(value)
        else:
            about.append(whole)
            n_about += len(whole) - (_n_typed(value) if number == _INPUTS and value is not None else 0)
        if n_about > MAX_ABOUT_BYTES:
            raise TooLarge(f"more than {MAX_ABOUT_BYTES} bytes of a message besides its values; send fewer tensors")
    return b"".join(about), raw


def _n_typed(tensor: memoryview) -> int:
    """Bytes of a tensor's packed float32 values, those of its other contents being refused anyway."""
    contents = _within(tensor, _CONTENTS)
    return sum(len(values) for each in contents for values in _within(each, _FP32))


def _within(message: memoryview, wanted: int) -> Iterator[memoryview]:
    n_other = 0
    for number, whole, value in _fields(message):
        if number == wanted and value is not None:
            n_other -= len(value)
            yield value
        n_other += len(whole)
        if n_other > MAX_ABOUT_BYTES:
            return


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview | None]]:
    """Each field's number, all of its bytes, and its value where that is bytes itself."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind, value = tag & 7, None
        if kind == _BYTES:
            n, at = _varint(message, at)
            value = message[at : at + n]
            at += n
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            at = len(message) + 1
        if at > len(message):
            raise BadRequest("the message is no protobuf of this call; send it by the protocol's own messages")
        yield tag >> 3, message[start:at], value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    return 0, len(message) + 1
