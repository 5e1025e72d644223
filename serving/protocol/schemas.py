"""What requests may say and what responses do, checked by pydantic and described in the OpenAPI document."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    StrictInt,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from rockbank.generator.conditional import Condition, parse_condition
from rockbank.generator.latents import TRUNCATION_MAX
from rockbank.generator.windows import PLACE_MAX, SIDE_MAX, Window
from serving.base.errors import BadRequest, TooLarge

Format = Literal["npy", "png", "zip", "tiff", "json"]
M = TypeVar("M", bound=BaseModel)
# JSON is parsed in one go, during which nothing else is served: 2 MiB of numbers take 30 ms.
MAX_JSON_BYTES = 2 * 1024**2
MAX_GENERATE_BYTES = 64 * 1024
# Lists, objects and strings, each of which costs as much as a hundred bytes of numbers; rows of latents are lists.
_N_PARTS, _N_QUOTES = 50_000, 20_000
# Each wrong item of a list is an error with a kilobyte of its own, so lists stop at the first, and keys are few.
_N_KEYS, _N_TENSORS = 64, 16


Side = Annotated[StrictInt, Field(ge=1, le=SIDE_MAX)]
Place = Annotated[StrictInt, Field(ge=-PLACE_MAX, le=PLACE_MAX)]


def _condition(statistic: str, wanted: Any) -> Condition | None:
    return None if wanted is None else parse_condition(statistic, wanted)


_NUMBER = {"type": "number", "minimum": 0}
_CONDITION = WithJsonSchema(
    {
        "anyOf": [
            _NUMBER,
            {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
            {"type": "string", "examples": ["0.12", "0.05..0.15"]},
            {"type": "null"},
        ],
        "default": None,
    }
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GenerateRequest(_Strict):
    """What to sample."""

    n: Annotated[StrictInt, Field(ge=1, description="how many samples")] = 1
    seed: Annotated[
        StrictInt | None,
        Field(
            ge=0,
            lt=2**64,
            description="the same seed gives the same samples; without one a random seed is used and returned",
        ),
    ] = None
    truncation: Annotated[
        float | None,
        Field(gt=0, le=TRUNCATION_MAX, allow_inf_nan=False, description="scale of the latent; below 1, more typical"),
    ] = None
    size: Annotated[
        tuple[Side, Side] | None,
        Field(description="width and height in pixels, of an endless generator; the window at (0, 0)"),
    ] = None
    window: Annotated[
        tuple[Place, Place, Side, Side] | None,
        Field(description="x, y, width and height in pixels of the seed's endless image; x and y may be negative"),
    ] = None
    porosity: Annotated[
        Condition | None,
        PlainValidator(partial(_condition, "porosity")),
        _CONDITION,
        Field(
            description="keep samples of that porosity: 0.12, which means 0.11..0.13, or 0.05..0.15, or [0.05, 0.15]"
        ),
    ] = None
    specific_surface: Annotated[
        Condition | None,
        PlainValidator(partial(_condition, "specific_surface")),
        _CONDITION,
        Field(description="likewise, 1/pixel"),
    ] = None
    format: Annotated[
        Format, Field(description="npy (float32), png (a grid), zip (a PNG each), tiff (8 bits), json")
    ] = "npy"

    @model_validator(mode="after")
    def _exclusive(self) -> GenerateRequest:
        if self.size is not None and self.window is not None:
            raise ValueError("size and window are both given; give one of them: a size is a window at (0, 0)")
        if self.porosity is not None and self.specific_surface is not None:
            raise ValueError("porosity and specific_surface are both given; give one of them")
        if self.condition is not None and self.requested_window is not None:
            raise ValueError(
                f"a {self.condition} is had of samples of the generator's own size; leave size and window out"
            )
        return self

    @property
    def condition(self) -> Condition | None:
        """What the samples have to meet; None where any will do."""
        return self.porosity if self.porosity is not None else self.specific_surface

    @property
    def requested_window(self) -> Window | None:
        """The requested part of an endless image; None for samples of the card's size."""
        if self.window is not None:
            x, y, width, height = self.window
            return Window(x=x, y=y, width=width, height=height)
        return None if self.size is None else Window(x=0, y=0, width=self.size[0], height=self.size[1])


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    shape: Annotated[list[Annotated[StrictInt, Field(ge=0)]], FailFast(), Field(max_length=8)]
    datatype: str
    parameters: dict[str, Any] = {}
    # Not looked into here: pydantic would copy it.
    data: Annotated[Any, WithJsonSchema({"anyOf": [{"type": "array", "items": {}}, {"type": "null"}]})] = None


class RequestedOutput(BaseModel):
    """A requested output."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """A request of the Open Inference Protocol."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[str, Field(max_length=256)] = ""
    inputs: Annotated[list[Tensor], FailFast(), Field(max_length=_N_TENSORS)]
    outputs: Annotated[list[RequestedOutput], FailFast(), Field(max_length=_N_TENSORS)] = []
    parameters: dict[str, Any] = {}


class InferResponse(BaseModel):
    """A response of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Tensor]


class TensorMetadata(BaseModel):
    """A tensor's name, type and shape; -1 is the number of samples, or a side of what may have any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model, in the words of the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The server, in the words of the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class VersionAbout(BaseModel):
    """A loaded version."""

    version: str
    parts: list[str]
    aliases: list[str]
    generator: str
    run_id: str | None
    data_md5: str | None
    latent_shape: list[int]
    image_shape: list[int]
    is_endless: bool
    voxel_size: float
    extractor: str
    scores: dict[str, float]
    provider: str
    batches: list[int]


class ModelAbout(BaseModel):
    """A model that is followed."""

    name: str
    reference: str
    current: str | None
    problem: str | None
    versions: list[VersionAbout]


class JobAbout(BaseModel):
    """A job, and where its samples will be."""

    id: str
    model: str
    version: str
    seed: int
    state: Literal["queued", "running", "done", "failed"]
    fraction: Annotated[float, Field(description="of the samples that are computed; 0 to the end where not known")]
    error: str | None
    sha256: Annotated[str | None, Field(description="of the result, in hexadecimal; null until the job is done")]
    result: Annotated[str, Field(description="path of the samples, once the job is done")]


class Error(BaseModel):
    """What is wrong, and what to do."""

    error: str
    request_id: str | None


def parse(kind: type[M], body: bytes | bytearray | memoryview) -> M:
    """The request in `body`.

    Raises:
        TooLarge: where it has more parts than a request can have; they are counted before it is parsed.
        BadRequest: naming each field that is wrong, the value got and what may stand there.
    """
    if len(body) > MAX_JSON_BYTES:
        raise BadRequest(f"{len(body)} bytes of JSON; send at most {MAX_JSON_BYTES}, the rest as binary tensors")
    text = bytes(body) if isinstance(body, memoryview) else body
    if text.count(b"[") + text.count(b"{") > _N_PARTS or text.count(b'"') > _N_QUOTES:
        raise TooLarge(f"JSON of more than {_N_PARTS} lists and objects, or {_N_QUOTES} quotes; send binary tensors")
    try:
        raw = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        about = f"{found[0]} is no JSON" if (found := _CONSTANT.match(error.doc[error.pos :])) else error
        raise BadRequest(f"the body is not JSON: {about}; send an object such as {_EXAMPLES[kind.__name__]}") from error
    if not isinstance(raw, dict):
        raise BadRequest(f"the body is a {type(raw).__name__}; send an object such as {_EXAMPLES[kind.__name__]}")
    if len(raw) > _N_KEYS:
        raise BadRequest(f"the body has {len(raw)} keys; known are {sorted(kind.model_fields)}")
    return parse_fields(kind, raw)


def parse_fields(kind: type[M], raw: dict[str, Any]) -> M:
    """The request of these fields.

    Raises:
        BadRequest: naming each field that is wrong, the value got and what may stand there.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise BadRequest("; ".join(_message(kind, each) for each in error.errors(include_url=False)[:5])) from error


_EXAMPLES = {
    "IndexRequest": '{"ready": true}',
    "GenerateRequest": '{"n": 16, "seed": 7, "format": "npy"}',
    "InferRequest": '{"inputs": [{"name": "latent", "shape": [1, 128], "datatype": "FP32", "data": [0.1, ...]}]}',
}


_CONSTANT = re.compile(r"-?(?:NaN|Infinity)")


def _message(kind: type[BaseModel], error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "body"
    field = kind.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    if error["type"] == "extra_forbidden":
        return f"{place}: no such key; known are {sorted(kind.model_fields)}"
    about = f" ({field.description})" if field is not None and field.description else ""
    if error["type"] == "missing":
        return f"{place}: is missing{about}; send an object such as {_EXAMPLES[kind.__name__]}"
    if error["type"] == "value_error":
        # Of ours, which says all of it.
        return str(error["ctx"]["error"])
    got = repr(error["input"])
    return f"{place}: {error['msg'].lower()}, got {got if len(got) <= 60 else got[:57] + '...'}{about}"
