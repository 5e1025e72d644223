"""Images of a caller's own latents, by the Open Inference Protocol v2."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.http.bodies import check_media_type, read_body
from serving.http.disconnect import until_disconnect
from serving.http.guard import share_of
from serving.http.responses import Whole, about, about_headers
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.protocol.binary import HEADER, read_inference, write_inference
from serving.protocol.schemas import MAX_JSON_BYTES, InferResponse

router = APIRouter(tags=["inference"], dependencies=[ADMITTED])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}}},
    },
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 1},
            "description": "bytes of JSON at the head of the body, where tensors follow as bytes",
        }
    ],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": InferResponse, "description": "the images", "content": {"application/octet-stream": {}}},
    **errors(400, 401, 404, 408, 413, 415, 429, 503, 504),
}
# As many times the bytes of a float32 as its text and its own take.
_TEXT = 4


@router.post("/v2/models/{name}/infer", response_class=Response, responses=_RESPONSES, openapi_extra=_BODY)
async def infer(request: Request, name: Name) -> Response:
    """Images in the network's range, of a model."""
    return await answer(request, name, None)


@router.post(
    "/v2/models/{name}/versions/{version}/infer", response_class=Response, responses=_RESPONSES, openapi_extra=_BODY
)
async def infer_by_version(request: Request, name: Name, version: Version) -> Response:
    """Images in the network's range, of one of a model's loaded versions."""
    return await answer(request, name, version)


async def answer(request: Request, name: str, version: str | None) -> Response:
    """Images of the latents in a request's body."""
    start = time.monotonic()
    service = service_of(request)
    service.models.find(name, version)
    # tritonclient names no type at all.
    check_media_type(request, "application/json", "application/octet-stream", is_needed=False)
    # Without the header all of it is JSON.
    body = await read_body(request, service.settings, None if HEADER in request.headers else MAX_JSON_BYTES)
    share = share_of(request.scope)
    served, route = service.models.route(name, version, request.state.request_id)
    request.state.compared = served if version is None else None
    n_max = max(1, min(service.settings.max_n, service.settings.max_buffered_bytes // (4 * served.n_values)))
    with served.used():
        read = partial(read_inference, body, request.headers.get(HEADER), served.card, n_max)
        inference = await service.parsed(read, len(body))
        service.count_samples(len(inference.latents))
        # Of images, and of the text that is made of them.
        share.add((1 if inference.is_binary else _TEXT) * 4 * served.n_values * len(inference.latents))
        work = service.sampling.images(served, route, inference.latents, start, inference.timeout)
        with until_disconnect(request.receive):
            images = await work
        write = partial(write_inference, inference, images, served.name, served.version)
        parts, headers = await service.sampling.in_thread(write, 0 if inference.is_binary else images.size)
    return Whole(parts, headers | about_headers(about(served)))
