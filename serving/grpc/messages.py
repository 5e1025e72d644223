"""The protocol's messages: what they ask for, held against what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from rockbank.generator.card import INPUT, OUTPUT
from serving.base.errors import BadRequest, TooLarge
from serving.protocol.binary import refuse_unknown
from serving.protocol.schemas import Tensor, TensorMetadata
from serving.protocol.wire import MAX_ABOUT_BYTES

_N_DIMS = 8
# The second asks that an empty message close an answer of many; ours is one message, which is the last. Triton's C++
# client, with which perf_analyzer asks, sends it with every call.
_PARAMETERS = ("timeout", "triton_enable_empty_final_response")


def parsed(kind: Any, message: bytes, most: int = MAX_ABOUT_BYTES) -> Any:
    """The message of a kind, of at most so many bytes.

    Raises:
        TooLarge, BadRequest: where it has more, or is none.
    """
    if len(message) > most:
        raise TooLarge(f"a message of {len(message)} bytes; this call takes {most}")
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadRequest(f"the message is no {kind.DESCRIPTOR.name}: {error}; send the protocol's own") from error


def read_input(request: Any, raw: Sequence[memoryview]) -> tuple[Tensor, memoryview]:
    """The tensor of latents, and its values as bytes, be they raw or typed.

    Raises:
        BadRequest: where there is another one, or its values are in shared memory or of another type.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        raise BadRequest(f"inputs: got {[each.name[:40] for each in request.inputs[:5]]}; send one tensor, '{INPUT}'")
    (given,) = request.inputs
    refuse_unknown(values_of(request.parameters), "parameters", _PARAMETERS)
    refuse_unknown(values_of(given.parameters), f"parameters of '{INPUT}'", ())
    if len(given.shape) > _N_DIMS or any(size < 0 for size in given.shape):
        raise BadRequest(f"'{INPUT}' has the shape {list(given.shape)[: _N_DIMS + 1]}; send [n, ..], n at least 1")
    if len(raw) > 1 or (raw and given.HasField("contents")):
        raise BadRequest(f"'{INPUT}' has its values more than once ({len(raw)} raw contents); send them once")
    values = raw[0] if raw else memoryview(np.asarray(given.contents.fp32_contents, dtype="<f4").tobytes())
    about = {"binary_data_size": len(values)}
    return Tensor(name=INPUT, shape=list(given.shape), datatype=given.datatype, parameters=about), values


def check_outputs(request: Any) -> None:
    """Refuse a request for anything but the images.

    Raises:
        BadRequest: with what it asks for.
    """
    if not request.outputs:
        return
    if len(request.outputs) != 1 or request.outputs[0].name != OUTPUT:
        names = [each.name[:40] for each in request.outputs[:5]]
        raise BadRequest(f"outputs: got {names}; ask for one tensor, '{OUTPUT}', or leave the outputs out")
    refuse_unknown(values_of(request.outputs[0].parameters), f"parameters of '{OUTPUT}'", ())


def values_of(parameters: Any) -> dict[str, Any]:
    """Parameters with their values; one that has none is there all the same."""
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in parameters.items()}
    return {name: getattr(parameters[name], kind) if kind else True for name, kind in kinds.items()}


def tensor_of(metadata: TensorMetadata) -> Any:
    """The message for a tensor's name, type and shape."""
    return pb.ModelMetadataResponse.TensorMetadata(name=metadata.name, datatype=metadata.datatype, shape=metadata.shape)
