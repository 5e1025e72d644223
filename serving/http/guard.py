"""Before anything of a request is done: whether it is for this service, and of no foreign web page.

A page that its reader has open may send requests to every address that the reader's machine reaches, under a name of
its own that it has had moved there (rebinding), and without asking first where it says no content type.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.base.budget import Share
from serving.base.errors import BadRequest, Foreign, Misdirected
from serving.service import Service

ANY = "*"


class Guard:
    """Pure ASGI; also opens what a request holds of the process's memory, until it is answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Around `app`."""
        settings = service.settings
        self._app = app
        self._budget = service.budget
        self._keys = service.keys
        self._origins = settings.trusted_origins
        named = {"localhost", settings.host.lower(), socket.gethostname().lower()}
        self._hosts = named | {host.lower() for host in settings.trusted_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            BadRequest, Misdirected, Foreign: before anything is read.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with Share(self._budget) as share:
            scope["state"]["share"] = share
            if scope["http_version"] != "1.1" and _values(scope, b"transfer-encoding"):
                # Between here and the client may be one who knows no chunks, and takes them for another request.
                raise BadRequest("HTTP/1.0 with Transfer-Encoding; send Content-Length, or HTTP/1.1")
            host = self._check_host(scope)
            self._check_page(scope, host)
            try:
                await self._app(scope, receive, send)
            finally:
                # As the endpoint has found it out.
                if (client := scope["state"].get("client")) is not None:
                    self._keys.end(client)

    def _check_host(self, scope: Scope) -> str:
        hosts = _values(scope, b"host")
        if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
            raise BadRequest(f"{len(hosts)} Host headers; send one")
        host = hosts[0] if hosts else ""
        name = host_name(host)
        if hosts and ANY not in self._hosts and name not in self._hosts and not _is_address(name):
            raise Misdirected(
                f"the host '{host[:80]}' is not known here; use the address, or have its name put into "
                "ROCKBANK_TRUSTED_HOSTS"
            )
        return host

    def _check_page(self, scope: Scope, host: str) -> None:
        origin = next(iter(_values(scope, b"origin")), None)
        if origin is not None and origin.lower() in self._origins:
            return
        if origin is not None and origin.partition("://")[2] != host:
            raise Foreign(
                f"sent by a page of '{origin[:80]}'; this takes the service's own, those of ROCKBANK_TRUSTED_ORIGINS, "
                "or no browser"
            )
        site = _values(scope, b"sec-fetch-site")
        # A link to the status page may be followed from anywhere.
        is_link = scope["method"] in ("GET", "HEAD") and _values(scope, b"sec-fetch-mode") == ["navigate"]
        if not is_link and {"cross-site", "same-site"} & set(site):
            raise Foreign("sent by a page of another site; this takes the service's own, or no browser")


def share_of(scope: Scope) -> Share:
    """What a request holds of the process's memory."""
    share: Share = scope["state"]["share"]
    return share


def is_of_page(headers: Iterable[str]) -> bool:
    """Whether a request with headers of these names, in lower case, was sent by a browser's page."""
    return any(name == "origin" or name.startswith("sec-fetch-") for name in headers)


def host_name(host: str) -> str:
    """The name or address in a Host header, without its port, in lower case."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
