"""An error of the system in a handler is the service's; only one of sending is the client's."""

from __future__ import annotations

import logging

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.base.monitoring import Metrics
from serving.http.middleware import Outermost

ERRORS = (PermissionError(13, "Permission denied"), TimeoutError("the store"), FileNotFoundError(2, "page.html"))


async def answered(app: ASGIApp, metrics: Metrics, *, is_gone: bool = False) -> list[int]:
    """The statuses that a client is sent; one that is gone makes every sending fail."""
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if is_gone:
            raise ConnectionResetError(104, "Connection reset by peer")
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    scope: Scope = {
        "type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "path": "/", "headers": [], "client": None,
    }  # fmt: skip
    await Outermost(app, metrics)(scope, receive, send)
    return statuses


def counts(metrics: Metrics) -> dict[str, float]:
    found = {sample.labels["status"]: sample.value for sample in samples(metrics, "rockbank_requests_total")}
    gone = [sample.value for sample in samples(metrics, "rockbank_rejections_total")]
    return {**found, "rejected": sum(gone)}


def samples(metrics: Metrics, name: str) -> list:  # type: ignore[type-arg]
    return [each for metric in metrics.registry.collect() for each in metric.samples if each.name == name]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_the_system_in_a_handler_is_500_with_its_traceback(
    error: OSError, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    metrics = Metrics()
    with caplog.at_level(logging.ERROR):
        assert await answered(handler, metrics) == [500]
    assert counts(metrics) == {"500": 1.0, "rejected": 0.0}
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_an_error_of_the_system_in_the_midst_of_an_answer_is_500_too(caplog: pytest.LogCaptureFixture) -> None:
    async def body():  # type: ignore[no-untyped-def]
        yield b"a"
        raise PermissionError(13, "Permission denied")

    metrics = Metrics()
    with caplog.at_level(logging.ERROR):
        assert await answered(StreamingResponse(body()), metrics) == [200]
    assert counts(metrics) == {"500": 1.0, "rejected": 0.0}
    assert any("Permission denied" in record.exc_text for record in caplog.records if record.exc_text)


async def test_a_client_that_went_is_499_and_no_error_of_the_service(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    with caplog.at_level(logging.ERROR):
        await answered(PlainTextResponse("ok"), metrics, is_gone=True)
    assert counts(metrics) == {"499": 1.0, "rejected": 1.0}
    assert caplog.records == []
