"""The status page, what it is made of, and how things stand as JSON; like the metrics, without a key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from serving.base.errors import NotFound
from serving.dashboard.gather import Dashboard, as_json
from serving.dashboard.render import SECURITY_HEADERS, STATIC
from serving.http.routes.shared import errors

router = APIRouter(tags=["page"])
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# Read once: a requested path never becomes a path of the file system.
_FILES = {path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix]) for path in STATIC.iterdir()}
_NOT_KEPT = {"Cache-Control": "no-store"}
# Their addresses change with them.
_KEPT = {"Cache-Control": "public, max-age=86400"}


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The status page."""
    return HTMLResponse(await _dashboard(request).html(), headers=SECURITY_HEADERS | _NOT_KEPT)


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """Style, script and icon of the page."""
    if name not in _FILES:
        raise NotFound(f"no such file: '{name[:80]}'; there are {sorted(_FILES)}")
    content, media_type = _FILES[name]
    return Response(content, media_type=media_type, headers=SECURITY_HEADERS | _KEPT)


@router.get("/status.json", responses=errors(400))
async def status(request: Request, response: Response, parts: bool = False) -> dict[str, Any]:
    """How things stand; with `parts`, also the pieces of the page that change."""
    dashboard = _dashboard(request)
    response.headers.update(_NOT_KEPT)
    body: dict[str, Any] = {"status": as_json(await dashboard.status())}
    return body | {"parts": await dashboard.parts()} if parts else body


def _dashboard(request: Request) -> Dashboard:
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard
