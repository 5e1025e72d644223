"""Triton's extensions: what perf_analyzer and tritonclient ask beside the protocol."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from serving.base.settings import Settings
from serving.http.bodies import check_media_type, read_body
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.inference.configuration import configuration
from serving.inference.models import Models, Served
from serving.inference.statistics import Duration as Counted
from serving.protocol.schemas import parse
from serving.protocol.triton import (
    BatchStatistics,
    Duration,
    IndexRequest,
    InferStatistics,
    ModelConfig,
    ModelIndex,
    ModelStatistics,
    Statistics,
)

router = APIRouter(tags=["models"], dependencies=[ADMITTED])
_LOADED = errors(400, 401, 404, 429, 503)
_MAX_INDEX_BYTES = 4096
_INDEX: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/IndexRequest"}}},
    }
}


@router.get("/v2/models/{name}/config", responses=_LOADED)
async def config(request: Request, name: Name) -> ModelConfig:
    """How a model is configured."""
    return config_of(service_of(request).settings, service_of(request).models.find(name))


@router.get("/v2/models/{name}/versions/{version}/config", responses=_LOADED)
async def version_config(request: Request, name: Name, version: Version) -> ModelConfig:
    """The same of one of its versions."""
    return config_of(service_of(request).settings, service_of(request).models.find(name, version))


@router.get("/v2/models/stats", responses=errors(401, 429))
async def statistics(request: Request) -> Statistics:
    """Counts and times of every loaded version, since it was loaded."""
    return statistics_of(service_of(request).models)


@router.get("/v2/models/{name}/stats", responses=_LOADED)
async def model_statistics(request: Request, name: Name) -> Statistics:
    """The same of a model's loaded versions."""
    return statistics_of(service_of(request).models, name)


@router.get("/v2/models/{name}/versions/{version}/stats", responses=_LOADED)
async def version_statistics(request: Request, name: Name, version: Version) -> Statistics:
    """The same of one of them."""
    return statistics_of(service_of(request).models, name, version)


@router.post("/v2/repository/index", responses=errors(400, 401, 408, 413, 415, 429), openapi_extra=_INDEX)
async def index(request: Request) -> list[ModelIndex]:
    """Every loaded version, and the models that have none with the reason."""
    service = service_of(request)
    check_media_type(request, "application/json", is_needed=False)
    body = parse(IndexRequest, await read_body(request, service.settings, _MAX_INDEX_BYTES))
    return index_of(service.models, is_ready=body.ready)


def config_of(settings: Settings, served: Served) -> ModelConfig:
    """The configuration of a loaded version."""
    return configuration(settings, served.name, served.card, served.generator)


def statistics_of(models: Models, name: str | None = None, version: str | None = None) -> Statistics:
    """Of all loaded versions, of a model's, or of one.

    Raises:
        NotFound, NotReady: where it is not loaded.
    """
    if name is None:
        versions = models.loaded()
    elif version is None:
        current = models.find(name)
        versions = [current, *(each for each in models.slot(name).loaded().values() if each is not current)]
    else:
        versions = [models.find(name, version)]
    return Statistics(model_stats=[_of_version(served) for served in dict.fromkeys(versions)])


def index_of(models: Models, *, is_ready: bool) -> list[ModelIndex]:
    """The index of what is served; with `is_ready` only what is loaded."""
    found = [
        ModelIndex(name=served.name, version=served.version, state="READY", reason="") for served in models.loaded()
    ]
    if not is_ready:
        found += [
            ModelIndex(
                name=name, version="", state="UNAVAILABLE", reason=models.slots[name].problem or "not loaded yet"
            )
            for name in models.missing()
        ]
    return found


def _of_version(served: Served) -> ModelStatistics:
    counted = served.batcher.statistics
    return ModelStatistics(
        name=served.name,
        version=served.version,
        last_inference=counted.last,
        inference_count=counted.n_samples,
        execution_count=counted.n_batches,
        inference_stats=InferStatistics(
            success=_duration(counted.success),
            fail=_duration(counted.fail),
            queue=_duration(counted.queue),
            compute_input=Duration(count=counted.success.count),
            compute_infer=_duration(counted.infer),
            compute_output=_duration(counted.output),
        ),
        batch_stats=[
            BatchStatistics(
                batch_size=n,
                compute_input=Duration(count=infer.count),
                compute_infer=_duration(infer),
                compute_output=_duration(output),
            )
            for n, (infer, output) in sorted(counted.batches.items())
        ],
    )


def _duration(counted: Counted) -> Duration:
    return Duration(count=counted.count, ns=counted.ns)
