"""OpenTelemetry traces of the requests; the extra `otel`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from serving.base.settings import SettingsError
from serving.base.spans import Spans

# Of one export, and of the last one at the end.
_SECONDS = 3


def start_traces(app: FastAPI, endpoint: str, spans: Spans) -> Callable[[], None]:
    """Send a span for each request, and its parts by `spans`, to `endpoint`: OTLP over HTTP, in batches, in a thread.

    Returns:
        What sends the last spans and stops; it takes at most seconds.

    Raises:
        SettingsError: where the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"ROCKBANK_TRACES_ENDPOINT: {error}; install the extra, pip install 'rockbank[serve,otel]', or unset it"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "rockbank"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_SECONDS)))
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls="metrics,v2/health", exclude_spans=["receive", "send"]
    )

    spans.start(provider.get_tracer("rockbank"))

    def stop() -> None:
        FastAPIInstrumentor.uninstrument_app(app)
        provider.force_flush(_SECONDS * 1000)
        provider.shutdown()

    return stop
