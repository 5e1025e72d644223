"""Samples of a seed, in a format to look at or to work with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.base.errors import Conflict, NotFound
from serving.dataplane.encode import ENCODERS
from serving.http.accept import choose_format
from serving.http.bodies import check_media_type, read_body
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.http.samples import draw_seed, respond
from serving.inference.models import CURRENT
from serving.protocol.schemas import MAX_GENERATE_BYTES, GenerateRequest, parse

router = APIRouter(tags=["samples"], dependencies=[ADMITTED])
_MEDIA_TYPES = {name: kind.media_type for name, kind in ENCODERS.items()}
_HEADERS = {
    name: {"schema": {"type": "string"}, "description": description}
    for name, description in {
        "X-Rockbank-Model": "the registered model",
        "X-Rockbank-Version": "its version that answered",
        "X-Rockbank-Run-Id": "the MLflow run that trained it",
        "X-Rockbank-Data-Md5": "DVC's md5 of the data that it was trained on",
        "X-Rockbank-Seed": "gives the same samples again",
        "X-Rockbank-Places": "with a condition: each sample's place among those of the seed, from 0, as JSON",
        "X-Rockbank-Extractor": "what the scores were measured with",
        "X-Rockbank-Scores": "as JSON",
    }.items()
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GenerateRequest"}}},
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            "description": "the same request with the same key is answered by the same seed and version for a day",
        }
    ],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the samples",
        "headers": _HEADERS,
        "content": {kind.media_type: {} for kind in ENCODERS.values()},
    },
    **errors(400, 401, 404, 406, 408, 409, 413, 415, 422, 429, 503, 504),
}


@router.post("/v2/models/{name}/generate", response_class=Response, responses=_RESPONSES, openapi_extra=_BODY)
async def generate(request: Request, name: Name) -> Response:
    """Samples of a model; without a seed, of a random one that is returned."""
    return await answer(request, name, None)


@router.post(
    "/v2/models/{name}/versions/{version}/generate",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def generate_by_version(request: Request, name: Name, version: Version) -> Response:
    """Samples of one of a model's loaded versions."""
    return await answer(request, name, version)


async def answer(request: Request, name: str, version: str | None) -> Response:
    """The samples that a request's body asks for."""
    service = service_of(request)
    service.models.find(name, version)
    check_media_type(request, "application/json")
    body = parse(GenerateRequest, await read_body(request, service.settings, MAX_GENERATE_BYTES))
    named = body.format if "format" in body.model_fields_set else None
    format_ = choose_format(request.headers.get("accept"), _MEDIA_TYPES, named, body.format)
    if format_ != body.format:
        body = body.model_copy(update={"format": format_})
    served, route = service.models.route(name, version, request.state.request_id)
    request.state.served = served
    key = request.headers.get("idempotency-key")
    if key is None:
        return await respond(request, service, body, served, route, draw_seed() if body.seed is None else body.seed)
    # In an open service each address has keys of its own.
    with service.answers.begun(request.state.client.name, key, repr((name, version, body))) as answer:
        if answer.version is None:
            answer.version, answer.seed = served.version, draw_seed() if body.seed is None else body.seed
        elif answer.version != served.version:
            try:
                served, route = service.models.find(name, answer.version), CURRENT
            except NotFound as error:
                raise Conflict(
                    f"the request with the Idempotency-Key '{key[:40]}' was answered by version {answer.version}, "
                    "which is no longer loaded; send a new key for the samples of the version that answers now"
                ) from error
        return await respond(request, service, body, served, route, answer.seed)
