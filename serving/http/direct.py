"""The way of most requests: straight to their endpoint, past the framework's routing and its dependencies.

FastAPI still documents these endpoints, and answers what does not fit here: another method, a name that is too long.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.routes.shared import admit

Endpoint = Callable[[Request, str, str | None], Awaitable[Response]]
# As long as `Name` and `Version` may be.
_PATH = re.compile(r"/v2/models/([^/]{1,256})(?:/versions/([^/]{1,64}))?/([a-z]+)")


class Direct:
    """Calls the endpoints that it has; everything else goes on to the framework."""

    def __init__(self, app: ASGIApp, routes: Sequence[APIRoute], endpoints: dict[str, Endpoint]) -> None:
        """Before `app`.

        Args:
            app: the framework.
            routes: its own, as which requests are counted.
            endpoints: by the last part of their path; each takes the request, a model's name, and a version or None.
        """
        self._app = app
        self._routes = {route.path: route for route in routes}
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors are the outermost layer's."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        endpoint = None if found is None else self._endpoints.get(found[3])
        if found is None or endpoint is None:
            await self._app(scope, receive, send)
            return
        name, version, last = found.groups()
        part = "" if version is None else "/versions/{version}"
        scope["route"] = self._routes[f"/v2/models/{{name}}{part}/{last}"]
        request = Request(scope, receive)
        await admit(request)
        response = await endpoint(request, name, version)
        await response(scope, receive, send)
