"""The Open Inference Protocol's tensors, as JSON and by its binary tensor data extension."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float32

from rockbank.generator.card import INPUT, OUTPUT, ModelCard
from rockbank.generator.latents import Lattice
from rockbank.generator.windows import TILE_CELLS
from serving.base.errors import BadRequest, TooLarge
from serving.protocol.schemas import MAX_JSON_BYTES, InferRequest, Tensor, parse

HEADER = "Inference-Header-Content-Length"
_PARAMETERS = ("binary_data_output", "timeout")
_FP32 = np.dtype("<f4")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A request for inference.

    Attributes:
        id: the client's own, given back.
        latents: to be computed.
        is_binary: whether the images go back as bytes after the JSON.
        timeout: seconds that the client waits at most.
    """

    id: str
    latents: Float32[np.ndarray, "n *latent"]
    is_binary: bool
    timeout: float


def read_inference(body: bytes | bytearray, header: str | None, card: ModelCard, n_max: int) -> Inference:
    """The request in `body`.

    Args:
        header: the header `Inference-Header-Content-Length`: bytes of JSON, after which the tensors follow.
        card: of the version that computes.
        n_max: samples, at most.

    Raises:
        BadRequest, TooLarge: with what is wrong, the value got and what to send instead.
    """
    json_part, rest = _split(body, header)
    request = parse(InferRequest, json_part)
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        names = [tensor.name[:40] for tensor in request.inputs[:5]]
        raise BadRequest(f"inputs: got {names}; send one tensor, '{INPUT}'")
    refuse_unknown(request.parameters, "parameters", _PARAMETERS)
    refuse_unknown(request.inputs[0].parameters, f"parameters of '{INPUT}'", ("binary_data_size",))
    latents = read_latents(request.inputs[0], rest, card, n_max)
    is_binary = request.parameters.get("binary_data_output") is True
    if request.outputs:
        if len(request.outputs) != 1 or request.outputs[0].name != OUTPUT:
            names = [output.name[:40] for output in request.outputs[:5]]
            raise BadRequest(f"outputs: got {names}; ask for one tensor, '{OUTPUT}', or leave the outputs out")
        parameters = request.outputs[0].parameters
        refuse_unknown(parameters, f"parameters of '{OUTPUT}'", ("binary_data",))
        is_binary = parameters.get("binary_data", is_binary) is True
    return Inference(id=request.id, latents=latents, is_binary=is_binary, timeout=timeout_of(request.parameters))


def refuse_unknown(parameters: Mapping[str, Any], where: str, known: Sequence[str]) -> None:
    """Refuse what nobody would heed: a client that asks for shared memory, a sequence or a priority counts on it.

    What is 0, false or empty asks for nothing.

    Raises:
        BadRequest: naming what is not done.
    """
    if unknown := sorted(name[:40] for name, value in parameters.items() if name not in known and value):
        raise BadRequest(f"{where}: {unknown[:5]} is not done here; leave it out, known are {list(known)}")


def write_inference(
    inference: Inference, images: Float32[np.ndarray, "n c h w"], name: str, version: str
) -> tuple[list[bytes | memoryview], dict[str, str]]:
    """The response's body in parts, and its headers; must run in a thread where the images go as JSON."""
    output: dict[str, object] = {"name": OUTPUT, "datatype": "FP32", "shape": list(images.shape)}
    response: dict[str, object] = {"model_name": name, "model_version": version, "outputs": [output]}
    if inference.id:
        response["id"] = inference.id
    if not inference.is_binary:
        output["data"] = []
        before, after = json.dumps(response).split("[]", 1)
        parts: list[bytes | memoryview] = [before.encode() + b"[", *json_numbers(images), b"]" + after.encode()]
        return parts, {"content-type": "application/json"}
    tensor = np.ascontiguousarray(images, dtype=_FP32).data.cast("B")
    output["parameters"] = {"binary_data_size": tensor.nbytes}
    head = json.dumps(response).encode()
    return [head, tensor], {"content-type": "application/octet-stream", HEADER: str(len(head))}


def json_numbers(values: Float32[np.ndarray, "*dims"]) -> list[bytes]:
    """Numbers with commas between them, in pieces of some thousand; each gives its float32 back to the bit.

    Each piece lets other threads go on: the encoder holds the interpreter while it works on one.
    """
    flat = np.ascontiguousarray(values, dtype=np.float32).ravel()
    pieces = [flat[start : start + _N_PIECE] for start in range(0, flat.size, _N_PIECE)]
    texts = [orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for piece in pieces]
    return [text if i == 0 else b"," + text for i, text in enumerate(texts)]


_N_PIECE = 4096
# Deeper than any latent.
_N_NESTED = 8


def _split(body: bytes | bytearray, header: str | None) -> tuple[bytes | bytearray | memoryview, memoryview]:
    if header is None:
        return body, memoryview(b"")
    # int() takes neither superscripts, which are digits too, nor thousands of digits.
    if not header.strip().isdecimal() or len(header) > 20 or not 0 < int(header) <= len(body):
        raise BadRequest(f"{HEADER}: got '{header[:20]}' for a body of {len(body)} bytes; send the length of the JSON")
    length = int(header)
    if length > MAX_JSON_BYTES:
        raise BadRequest(f"{length} bytes of JSON; send at most {MAX_JSON_BYTES}, the rest as binary tensors")
    return memoryview(body)[:length], memoryview(body)[length:]


def read_latents(tensor: Tensor, rest: memoryview, card: ModelCard, n_max: int) -> Float32[np.ndarray, "n *latent"]:
    """The latents of a tensor, whose values are in it, or in the bytes that follow it.

    Raises:
        BadRequest, TooLarge: where they are not what the card's graph takes.
    """
    expected = f"FP32 of shape {_expected_shape(card)}"
    if tensor.datatype != "FP32":
        raise BadRequest(f"'{INPUT}' is {tensor.datatype[:20]}; send {expected}")
    shape = tuple(tensor.shape)
    if not _fits(shape[1:], card) or not shape or shape[0] < 1:
        raise BadRequest(f"'{INPUT}' has the shape {list(shape)}; send {expected}, n at least 1")
    if card.lattice is not None:
        # As many pixels as those of images of the card's own size.
        n_max = max(1, n_max * math.prod(card.image_shape) // math.prod(card.lattice.image(*shape[2:])))
    if shape[0] > n_max:
        raise TooLarge(f"'{INPUT}' holds {shape[0]} latents; send at most {n_max} at once, in several requests")
    n_values = math.prod(shape)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if len(rest):
            raise BadRequest(f"{len(rest)} bytes follow the JSON, and '{INPUT}' has no binary_data_size; add it")
        return _checked(_from_json(tensor, shape))
    if tensor.data is not None:
        raise BadRequest(f"'{INPUT}' has both data and binary_data_size; send one of them")
    if type(size) is not int or size != 4 * n_values or len(rest) != size:
        raise BadRequest(
            f"'{INPUT}': binary_data_size is {str(size)[:20]} and {len(rest)} bytes follow the JSON, "
            f"but its shape {list(shape)} takes {4 * n_values} bytes; send as many"
        )
    return _checked(np.frombuffer(rest, dtype=_FP32).reshape(shape))


def _fits(shape: tuple[int, ...], card: ModelCard) -> bool:
    if card.lattice is None or shape == card.latent_shape:
        return shape == card.latent_shape
    least, most = _extents(card.lattice)
    return len(shape) == 3 and shape[0] == card.latent_shape[0] and all(least <= side <= most for side in shape[1:])


def _expected_shape(card: ModelCard) -> str:
    if card.lattice is None:
        return f"[n, {', '.join(map(str, card.latent_shape))}]"
    least, most = _extents(card.lattice)
    return f"[n, {card.latent_shape[0]}, h, w], h and w from {least} to {most}, more by generate with a size"


def _extents(lattice: Lattice) -> tuple[int, int]:
    """Of a latent's side: one cell of the image, and a tile of it; what is larger would hold up all others."""
    return 2 * lattice.margin + 1, 2 * lattice.margin + TILE_CELLS


def _from_json(tensor: Tensor, shape: tuple[int, ...]) -> Float32[np.ndarray, "n *latent"]:
    n_values = math.prod(shape)
    if tensor.data is None:
        raise BadRequest(f"'{INPUT}' has neither data nor binary_data_size; send one of them")
    if not isinstance(tensor.data, list):
        raise BadRequest(f"'{INPUT}': its data is a {type(tensor.data).__name__}; send {n_values} numbers in a list")
    values, nested = _flattened(tensor.data)
    # A piece at a time, between which others go on: a set of all kinds holds the interpreter as it is made.
    pieces = [values[start : start + _N_PIECE] for start in range(0, len(values), _N_PIECE)]
    kinds = set().union(*(set(map(type, piece)) for piece in pieces))
    if list in kinds:
        raise BadRequest(f"'{INPUT}': its data is ragged; send {n_values} numbers, flat or nested by rows")
    if not kinds <= {int, float} or len(values) != n_values:
        names = " and ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise BadRequest(f"'{INPUT}': its data holds {len(values)} values of {names}; send {n_values} numbers")
    if nested not in ((n_values,), shape):
        raise BadRequest(
            f"'{INPUT}': its data is nested as {list(nested)}, its shape is {list(shape)}; "
            f"send {n_values} numbers, flat or nested as the shape says"
        )
    with np.errstate(over="ignore"):
        return np.concatenate([np.array(piece, dtype=np.float64).astype(np.float32) for piece in pieces]).reshape(shape)


def _flattened(data: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """The values of lists in lists, and their shape as far as they are nested evenly."""
    values: list[Any] = data
    nested: tuple[int, ...] = (len(data),)
    while values and isinstance(values[0], list) and len(nested) < _N_NESTED:
        lengths = {len(each) if isinstance(each, list) else -1 for each in values}
        if len(lengths) > 1:
            break
        values, nested = list(chain.from_iterable(values)), (*nested, *lengths)
    return values, nested


def _checked(latents: Float32[np.ndarray, "n *latent"]) -> Float32[np.ndarray, "n *latent"]:
    finite = np.isfinite(latents).reshape(len(latents), -1).all(axis=1)
    if not finite.all():
        raise BadRequest(f"'{INPUT}': latent {int(np.argmin(finite))} has NaN or infinity; send finite numbers")
    return latents


def timeout_of(parameters: Mapping[str, Any]) -> float:
    """The protocol's `timeout`, from microseconds to seconds; infinite where it is 0 or not there.

    Raises:
        BadRequest: where it is no whole number, or negative.
    """
    given = parameters.get("timeout")
    if not given:
        return math.inf
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**63:
        raise BadRequest(f"parameters.timeout: got {str(given)[:20]}; send whole microseconds")
    return given / 1e6
