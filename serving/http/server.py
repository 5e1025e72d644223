"""uvicorn, with an end that is announced, drains and is no failure."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn

from serving.base.settings import Settings, SettingsError
from serving.http.connection import protocol_of
from serving.service import Service

# Ends what listens beside uvicorn, which has so many seconds for what it is answering.
Stop = Callable[[float], Awaitable[None]]


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready, a delay, no new connections, what is being answered, exit 0."""

    def __init__(self, config: uvicorn.Config, service: Service, stop_beside: Stop | None = None) -> None:
        """A server of `service`, whose end is also that of what `stop_beside` ends."""
        super().__init__(config)
        self._service = service
        self._stop_beside = stop_beside

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle both signals, and do not raise them again afterwards as uvicorn does: it ends as it should."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end; the second does not wait for the delay, a third for nothing."""
        if self.should_exit:
            self.force_exit = True
        elif self._service.is_draining:
            self.should_exit = True
        else:
            self._service.is_draining = True
            asyncio.get_event_loop().call_soon_threadsafe(self._delay_shutdown)

    def _delay_shutdown(self) -> None:
        # What is being answered is its connection's last; what comes on others is too, see the protocol.
        for connection in self.server_state.connections:
            if (cycle := getattr(connection, "cycle", None)) is not None:
                cycle.keep_alive = False

        def stop() -> None:
            self.should_exit = True

        asyncio.get_running_loop().call_later(self._service.settings.shutdown_delay_seconds, stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """All that listens takes nothing new from now on, and has the same seconds for what it is answering."""
        if self._stop_beside is None:
            await super().shutdown(sockets)
            return
        beside = asyncio.ensure_future(self._stop_beside(self._service.settings.drain_seconds))
        await super().shutdown(sockets)
        while not beside.done() and not self.force_exit:
            await asyncio.wait([beside], timeout=0.1)
        if not beside.done():
            await self._stop_beside(0.0)
        await beside


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: where the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with ExitStack() as unless_bound:
            bound = unless_bound.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            # Two that are bound to one port would else find out only when they listen.
            bound.listen(2048)
            unless_bound.pop_all()
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}; "
            "choose another by --port or ROCKBANK_PORT (0 takes a free one), or by --host"
        ) from error
    bound.set_inheritable(False)
    return bound


def check_tls(settings: Settings) -> None:
    """Read the certificate and its key, before anything is loaded.

    Raises:
        SettingsError: where they cannot be used.
    """
    if settings.tls_cert_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert_file, settings.tls_key_file, _no_password
        )
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"ROCKBANK_TLS_CERT_FILE {settings.tls_cert_file}, ROCKBANK_TLS_KEY_FILE {settings.tls_key_file}: "
            f"they cannot be used: {error}; give a certificate and its own key as PEM, without a password"
        ) from error


def _no_password() -> str:
    raise ValueError("the key has a password")


def make_server(app: object, service: Service, stop_beside: Stop | None = None) -> Server:
    """A server for `app`, which has to be given its listening socket; with it ends what `stop_beside` ends."""
    settings = service.settings
    tls = {"ssl_certfile": settings.tls_cert_file, "ssl_keyfile": settings.tls_key_file}
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=protocol_of(service),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=65,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        **(tls if settings.tls_cert_file is not None else {}),  # type: ignore[arg-type]
    )
    return Server(config, service, stop_beside)
