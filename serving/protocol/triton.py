"""Triton's extensions of the protocol: a model's configuration, its statistics, and the index of the repository."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Duration(BaseModel):
    """How often, and for how long together."""

    count: int = 0
    ns: int = 0


class InferStatistics(BaseModel):
    """Of requests, and of the computations that answered them; what is not measured apart has 0 ns."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration = Duration()
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class BatchStatistics(BaseModel):
    """Of the computations of so many samples."""

    batch_size: int
    compute_input: Duration = Duration()
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    """Of a version, since it was loaded."""

    name: str
    version: str
    last_inference: Annotated[int, Field(description="milliseconds since 1970; 0 if none")]
    inference_count: Annotated[int, Field(description="samples")]
    execution_count: Annotated[int, Field(description="batches")]
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class Statistics(BaseModel):
    """Of the requested versions that are loaded."""

    model_stats: list[ModelStatistics]


class TensorConfig(BaseModel):
    """A tensor of a model, without the number of samples; -1 may be any number."""

    name: str
    data_type: str
    dims: list[int]


class DynamicBatching(BaseModel):
    """How requests are computed together."""

    preferred_batch_size: list[int]
    max_queue_delay_microseconds: int


class InstanceGroup(BaseModel):
    """What a model is computed by."""

    name: str
    kind: str
    count: int


class ModelConfig(BaseModel):
    """A model's configuration, as far as there is something to configure."""

    name: str
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    max_batch_size: Annotated[int, Field(description="samples of one request, at most")]
    input: list[TensorConfig]
    output: list[TensorConfig]
    dynamic_batching: DynamicBatching
    instance_group: list[InstanceGroup]


class IndexRequest(BaseModel):
    """What of the repository to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ready: Annotated[bool, Field(description="only versions that are loaded")] = False


class ModelIndex(BaseModel):
    """A version that is loaded, or a model that has none."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str
