"""Samples of a seed by GET: the same address has the same bytes, so that caches may keep them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.base.errors import BadRequest
from serving.dataplane.encode import ENCODERS
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.http.samples import entity_tag, respond
from serving.protocol.schemas import GenerateRequest, parse_fields

router = APIRouter(tags=["samples"], dependencies=[ADMITTED])
# Whole numbers, and lists of them, which the body has as JSON.
_NUMBERS, _LISTS = ("n", "seed"), ("size", "window")
_SCHEMAS = {
    "n": {"type": "integer", "minimum": 1, "default": 1},
    "seed": {"type": "integer", "minimum": 0},
    "truncation": {"type": "number", "exclusiveMinimum": 0},
    "size": {"type": "string", "pattern": r"^\d{1,6},\d{1,6}$"},
    "window": {"type": "string", "pattern": r"^(-?\d{1,12},){2}\d{1,6},\d{1,6}$"},
    "porosity": {"type": "string", "examples": ["0.12", "0.05..0.15"]},
    "specific_surface": {"type": "string"},
    "format": {"type": "string", "enum": sorted(ENCODERS), "default": "npy"},
}
_QUERY: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": name == "seed",
            "schema": schema,
            "description": GenerateRequest.model_fields[name].description or "as of generate, with commas",
        }
        for name, schema in _SCHEMAS.items()
    ]
    + [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "the ETag of what the client has; where it still holds the answer is 304",
        }
    ]
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "the samples", "content": {kind.media_type: {} for kind in ENCODERS.values()}},
    304: {"description": "what the client has is what it would get; nothing was computed"},
    **errors(400, 401, 404, 413, 422, 429, 503, 504),
}
_VARY = {"Vary": "Authorization, X-API-Key"}


@router.get("/v2/models/{name}/samples", response_class=Response, responses=_RESPONSES, openapi_extra=_QUERY)
async def samples(request: Request, name: Name) -> Response:
    """Samples of a seed, of the version that answers; a cache asks whether they still hold."""
    return await _answer(request, name, None)


@router.get(
    "/v2/models/{name}/versions/{version}/samples",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_QUERY,
)
async def samples_by_version(request: Request, name: Name, version: Version) -> Response:
    """The same of a loaded version, which never change."""
    return await _answer(request, name, version)


async def _answer(request: Request, name: str, version: str | None) -> Response:
    service = service_of(request)
    service.models.find(name, version)
    body = _read(request)
    if body.seed is None:
        raise BadRequest("seed: is missing; give one, or POST to generate, which chooses one")
    served, route = service.models.route(name, version, request.state.request_id)
    # Whoever has no key of this service gets nothing of what was answered to one.
    kept = "public" if service.keys.is_open else "private"
    caching = {
        "ETag": entity_tag(served, body, body.seed),
        "Cache-Control": f"{kept}, max-age=604800, immutable" if version is not None else f"{kept}, no-cache",
        **_VARY,
    }
    if _has(request.headers.get("if-none-match"), caching["ETag"]):
        return Response(status_code=304, headers=caching)
    request.state.compared = served if version is None else None
    return await respond(request, service, body, served, route, body.seed, caching)


def _read(request: Request) -> GenerateRequest:
    fields: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        if key in fields:
            raise BadRequest(f"{key[:40]}: is given twice; give it once")
        try:
            if key in _NUMBERS:
                fields[key] = int(value)
            elif key in _LISTS:
                fields[key] = [int(part) for part in value.split(",")]
            else:
                fields[key] = float(value) if key == "truncation" else value
        except ValueError:
            raise BadRequest(f"{key}: got '{value[:40]}'; give a number, or several with commas between them") from None
    return parse_fields(GenerateRequest, fields)


def _has(given: str | None, tag: str) -> bool:
    """Whether If-None-Match names the tag; weak and strong are the same here (RFC 9110, sec. 13.1.2)."""
    if given is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    return tag in tags or tags == ["*"]
