"""The parts of a request's trace: queue, compute and encode, beneath the span of the request; nothing where none is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast


class Spans:
    """Off until a tracer is given; what it then takes was measured already, so no span is open while others are."""

    def __init__(self) -> None:
        """Off."""
        self._tracer: Any = None
        self._api: Any = None
        # From the monotonic clock to the one of traces, nanoseconds since 1970.
        self._offset = time.time_ns() - time.monotonic_ns()

    def start(self, tracer: Any) -> None:
        """Send spans by a tracer of OpenTelemetry."""
        from opentelemetry import trace

        self._tracer, self._api = tracer, trace

    def call(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
        """The span of a call that nothing else traces, beneath the client's where its headers name one."""
        if self._tracer is None:
            return nullcontext()
        from opentelemetry.propagate import extract

        kind = self._api.SpanKind.SERVER
        return cast(
            AbstractContextManager[Any],
            self._tracer.start_as_current_span(name, context=extract(headers), kind=kind),
        )

    def context(self) -> Any:
        """Of the request that is being answered, for spans that are added from elsewhere; None without a trace."""
        if self._api is None:
            return None
        span = self._api.get_current_span()
        return self._api.set_span_in_context(span) if span.is_recording() else None

    def add(self, name: str, start: float, end: float, context: Any, **attributes: int | str) -> None:
        """A part of a request.

        Args:
            name: of the part.
            start: on the clock of `time.monotonic`.
            end: likewise.
            context: of the request.
            attributes: of the part.
        """
        if context is None or self._tracer is None:
            return
        begun = round(1e9 * start) + self._offset
        span = self._tracer.start_span(name, context=context, start_time=begun, attributes=attributes)
        span.end(round(1e9 * end) + self._offset)

    def trace_id(self) -> str | None:
        """Of the request that is being answered, hexadecimal; None where it is not traced."""
        if self._api is None:
            return None
        context = self._api.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else None
