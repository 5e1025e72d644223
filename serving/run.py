"""Run the service until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable

import uvloop

from serving.app import create_app
from serving.base.settings import Settings
from serving.http.server import bind, check_tls, make_server
from serving.service import Service


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, which are no failures.

    Args:
        settings: of the service.
        announce: is called with what is served and where, once it is.

    Raises:
        SettingsError: where a setting cannot be used, or the port is taken.
        NothingToServe: where no model could be loaded.
    """
    check_tls(settings)
    # First the port: what is wrong with it is known before anything is loaded.
    listening = bind(settings.host, settings.port)
    try:
        app = create_app(settings)
        service: Service = app.state.service
        host, port = listening.getsockname()[:2]
        scheme = "http" if settings.tls_cert_file is None else "https"

        async def serve() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            # Models are being loaded: nothing is answered yet, so the end is at once, and is no failure either.
            in_main = threading.current_thread() is threading.main_thread()
            signals = (signal.SIGTERM, signal.SIGINT) if in_main else ()
            for each in signals:
                loop.add_signal_handler(each, task.cancel)
            async with app.router.lifespan_context(app):
                # What was imported and loaded stays: the collector would walk all of it while somebody waits.
                gc.collect()
                gc.freeze()
                for line in about(service):
                    announce(line)
                if (beside := app.state.grpc_server) is not None:
                    announce(f"serving gRPC on port {beside.port}")
                announce(f"serving on {scheme}://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
                for each in signals:
                    loop.remove_signal_handler(each)
                stop_beside = None if beside is None else beside.stop
                await make_server(app, service, stop_beside).serve(sockets=[listening])

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(serve())
            except asyncio.CancelledError:
                announce("ended before it served")
    finally:
        listening.close()


def about(service: Service) -> list[str]:
    """A line for each model: what of it is served, or why nothing is."""
    lines = []
    for slot in service.models.slots.values():
        now = slot.current
        what = f"nothing yet: {slot.problem}" if now is None else f"version {now.version}, {now.card.generator}"
        lines.append(f"{slot.reference}: {what}")
    return lines
