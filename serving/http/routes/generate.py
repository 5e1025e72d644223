"""Samples of a seed, in a format to look at or to work with."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from jaxtyping import Float32
from starlette.responses import Response

from rockbank.generator.windows import Window
from serving.base.errors import BadRequest, TooLarge
from serving.dataplane.encode import ENCODERS, WHOLE, WINDOW_ENCODERS, Encoder
from serving.dataplane.sampling import encoded, endless
from serving.http.bodies import check_media_type, read_body
from serving.http.conditioned import conditioned
from serving.http.disconnect import until_disconnect
from serving.http.responses import Streamed, Whole, about, about_headers
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.inference.models import Served
from serving.protocol.schemas import MAX_JSON_BYTES, GenerateRequest, parse
from serving.service import Service

router = APIRouter(tags=["samples"], dependencies=[ADMITTED])
# Whole numbers up to here are the same in JavaScript's floats.
_SEED_BITS = 53
# Of one request with a condition: their places are a header, of which proxies take 4 KiB.
_N_CONDITIONED = 512
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
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the samples",
        "headers": _HEADERS,
        "content": {kind.media_type: {} for kind in ENCODERS.values()},
    },
    **errors(400, 401, 404, 408, 413, 415, 422, 429, 503, 504),
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
    body = parse(GenerateRequest, await read_body(request, service.settings, MAX_JSON_BYTES))
    served, route = service.models.route(name, version, request.state.request_id)
    seed = secrets.randbits(_SEED_BITS) if body.seed is None else body.seed
    # The first samples are there before the status is sent: what may go wrong still has a status of its own.
    with until_disconnect(request.receive):
        origin, encoder, blocks = await _prepare(request, service, body, served, route, seed)
        pieces = encoded(service.sampling, served, encoder, blocks)
        try:
            first, is_whole = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
    headers = {"Content-Type": encoder.media_type, **about_headers(origin)}
    headers["Content-Disposition"] = f'inline; filename="{served.name}-{served.version}-{seed}.{encoder.suffix}"'
    if is_whole:
        await pieces.aclose()
        return Whole(first, headers)
    if encoder.size is not None:
        headers["Content-Length"] = str(encoder.size)
    return Streamed(first, pieces, headers)


async def _prepare(
    request: Request, service: Service, body: GenerateRequest, served: Served, route: str, seed: int
) -> tuple[dict[str, Any], Encoder, AsyncGenerator[Any, None]]:
    """The samples' origin, their format, and their blocks; those that meet a condition are all there."""
    origin = about(served, seed)
    encoder: Encoder
    if (window := body.requested_window) is not None:
        endless(served, seed)
        _check_window(service, body, window)
        shape = (body.n, 1, window.height, window.width)
        encoder = WINDOW_ENCODERS[body.format](shape, served.card.voxel_size, origin)
        blocks = service.sampling.bands(served, route, window, seed=seed, n=body.n, truncation=body.truncation)
    else:
        _check_size(service, served, body)
        options: dict[str, Any] = {
            "seed": seed,
            "n": body.n,
            "truncation": body.truncation,
            "request_id": request.state.request_id,
            "is_unconditioned": body.seed is None and body.truncation is None,
        }
        if body.condition is None:
            blocks = service.sampling.blocks(served, route, **options)
        else:
            with served.used():
                places, samples = await conditioned(service, served, route, body.condition, **options)
            origin = about(served, seed, places)
            blocks = _whole(samples)
        encoder = ENCODERS[body.format]((body.n, *served.card.image_shape), served.card.voxel_size, origin)
    return origin, encoder, blocks


def _check_size(service: Service, served: Served, body: GenerateRequest) -> None:
    settings = service.settings
    if body.n > settings.max_n:
        raise BadRequest(f"n: got {body.n}; ask for at most {settings.max_n} at once, with several seeds")
    most = max(1, settings.max_buffered_bytes // (4 * served.n_values))
    if body.condition is not None and body.n > min(most, _N_CONDITIONED):
        raise TooLarge(
            f"n: got {body.n} with a {body.condition}; ask for at most {min(most, _N_CONDITIONED)} at once, with "
            "several seeds"
        )
    if body.format in WHOLE and body.n > most:
        raise TooLarge(f"n: got {body.n} for a {body.format}; ask for at most {most}, or for zip, npy or tiff")


def _check_window(service: Service, body: GenerateRequest, window: Window) -> None:
    settings, n_pixels = service.settings, window.width * window.height
    if max(window.width, window.height) > settings.max_side:
        raise BadRequest(
            f"size: got {window.width} x {window.height}; ask for sides of at most {settings.max_side} pixels, "
            "by several windows"
        )
    if body.n * n_pixels > settings.max_side**2:
        raise BadRequest(
            f"n: got {body.n} of {window.width} x {window.height} pixels; ask for at most "
            f"{settings.max_side**2 // n_pixels} at once, with several seeds"
        )
    if body.format not in WINDOW_ENCODERS:
        raise BadRequest(f"format: got {body.format} with a size; ask for one of {sorted(WINDOW_ENCODERS)}")
    most = settings.max_buffered_bytes // 4
    if body.format in WHOLE and (body.n > 1 or n_pixels > most):
        raise TooLarge(
            f"size: got {body.n} of {window.width} x {window.height} pixels as {body.format}; ask for one of at most "
            f"{most} pixels, or for npy or tiff"
        )


async def _whole(samples: Float32[np.ndarray, "n c h w"]) -> AsyncGenerator[Float32[np.ndarray, "n c h w"], None]:
    """Samples that are there, in one block."""
    yield samples
