"""The page of a version, and its files in one download."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from rockbank.core.files import read_json
from rockbank.generator.card import SAMPLES, VERDICT
from serving.base.errors import Forbidden
from serving.dashboard.gather import Dashboard
from serving.dashboard.render import SECURITY_HEADERS
from serving.dashboard.version import version_page
from serving.dataplane.bundle import Signer
from serving.dataplane.bundle import bundle as bundled
from serving.http.responses import Piece, Streamed, about, about_headers
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.inference.models import Served

router = APIRouter(tags=["models"])
_PAGE = "/models/{name}/versions/{version}"
_NOT_KEPT = {"Cache-Control": "no-store"}
_BUNDLE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the version's files", "content": {"application/zip": {}}},
    **errors(400, 401, 404, 429, 503),
}


@router.get(_PAGE, include_in_schema=False)
async def page(request: Request, name: Name, version: Version) -> Response:
    """The page of a loaded version; without a key, like the status page."""
    service, dashboard = service_of(request), _dashboard(request)
    served = service.models.find(name, version)
    with served.used():
        verdict = await asyncio.to_thread(read_json, served.folder / VERDICT)
        shown = await version_page(service, dashboard, served, verdict)
        html = await asyncio.to_thread(dashboard.page.version, shown)
    return HTMLResponse(html, headers=SECURITY_HEADERS | _NOT_KEPT)


@router.get(f"{_PAGE}/samples.png", include_in_schema=False)
async def picture(request: Request, name: Name, version: Version) -> Response:
    """The samples that a version was registered with; of an open service, since a page's picture brings no key."""
    service = service_of(request)
    served = service.models.find(name, version)
    if not service.keys.is_open:
        raise Forbidden("samples are for keys here; the bundle of the version has this picture")
    with served.used():
        content = await asyncio.to_thread((served.folder / SAMPLES).read_bytes)
    return Response(content, media_type="image/png", headers=SECURITY_HEADERS)


@router.get(
    "/v2/models/{name}/versions/{version}/bundle",
    dependencies=[ADMITTED],
    response_class=Response,
    responses=_BUNDLE,
)
async def bundle(request: Request, name: Name, version: Version) -> Response:
    """All files of a loaded version as a zip, their SHA-256, and its signature where the service has a key for it."""
    service = service_of(request)
    served = service.models.find(name, version)
    pieces = _archive(served, service.signer)
    first, _ = await anext(pieces)
    headers = {
        "Content-Type": "application/zip",
        **about_headers(about(served)),
        "Content-Disposition": f'attachment; filename="{served.name}-{served.version}.zip"',
    }
    return Streamed(first, pieces, headers)


async def _archive(served: Served, signer: Signer | None) -> AsyncGenerator[Piece, None]:
    with served.used():
        chunks = bundled(served.folder, signer)
        while chunk := await asyncio.to_thread(partial(next, chunks, None)):
            yield [chunk], False


def _dashboard(request: Request) -> Dashboard:
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard
