"""uvicorn, with bounds on slow peers, and an end that is announced, drains and is no failure."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.base.settings import Settings, SettingsError
from serving.http.middleware import MAX_HEADER_BYTES
from serving.service import Service

# A peer that has sent no whole headers after this is not one of ours.
_HEADER_SECONDS = 10.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready, a delay, no new connections, what is being answered, exit 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """A server of `service`."""
        super().__init__(config)
        self._service = service

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
        def stop() -> None:
            self.should_exit = True

        asyncio.get_running_loop().call_later(self._service.settings.shutdown_delay_seconds, stop)


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


def protocol_of(service: Service) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with bounds on the size and the time of headers, and on peers that take nothing."""
    send_seconds = service.settings.send_seconds

    class Protocol(HttpToolsProtocol):
        """One connection."""

        _n_header_bytes = 0
        # The rest of a body that was answered before it had come is no headers.
        _in_body = False
        _timer: asyncio.TimerHandle | None = None
        _headers_timer: asyncio.TimerHandle | None = None
        _n_unsent = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._headers_timer = self.loop.call_later(_HEADER_SECONDS, self._no_headers)

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._timer, self._headers_timer):
                if timer is not None:
                    timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            in_headers = not self._in_body
            if in_headers:
                self._n_header_bytes += len(data)
                if self._headers_timer is None:
                    self._headers_timer = self.loop.call_later(_HEADER_SECONDS, self._no_headers)
            super().data_received(data)
            # What is still being parsed: the parser itself would take headers without end.
            if not self._in_body and self._n_header_bytes > 2 * MAX_HEADER_BYTES and not self.transport.is_closing():
                service.metrics.rejected("too_large")
                body = b'{"error": "more than %d bytes of headers; send less", "request_id": null}' % MAX_HEADER_BYTES
                self.transport.write(_TOO_LARGE % (len(body), body))
                self.transport.close()

        def on_headers_complete(self) -> None:
            self._n_header_bytes, self._in_body = 0, True
            if self._headers_timer is not None:
                self._headers_timer.cancel()
                self._headers_timer = None
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._n_unsent = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(send_seconds, self._still_paused)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _still_paused(self) -> None:
            n_unsent = self.transport.get_write_buffer_size()
            if n_unsent < self._n_unsent:
                # Slow, but it takes something.
                self._n_unsent = n_unsent
                self._timer = self.loop.call_later(send_seconds, self._still_paused)
            else:
                service.metrics.rejected("slow_client")
                self.transport.abort()

        def _no_headers(self) -> None:
            self._headers_timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return Protocol


def make_server(app: object, service: Service) -> Server:
    """A server for `app`, which has to be given its listening socket."""
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
        timeout_keep_alive=65,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        **(tls if settings.tls_cert_file is not None else {}),  # type: ignore[arg-type]
    )
    return Server(config, service)
