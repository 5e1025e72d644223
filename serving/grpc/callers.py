"""Who calls over gRPC, by address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class Callers:
    """What is believed of X-Forwarded-For is uvicorn's law, as over HTTP."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """Addresses or networks of proxies, whose word is taken."""
        self._proxies = ProxyHeadersMiddleware(None, list(trusted_proxies)).trusted_hosts  # type: ignore[arg-type]

    def address(self, context: Any) -> str:
        """The peer's address; where the peer is a trusted proxy, that of whom it calls for."""
        peer = address_of(context.peer())
        forwarded = [str(value) for key, value in context.invocation_metadata() or () if key == "x-forwarded-for"]
        if not forwarded or peer not in self._proxies:
            return peer
        return self._proxies.get_trusted_client_address(", ".join(forwarded))[0] or peer


def address_of(peer: str) -> str:
    """The address in gRPC's name of a peer, such as ipv4:127.0.0.1:50000 or ipv6:%5B::1%5D:50000."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]") or peer
