"""What Prometheus sees: every count of the service passes through here."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from serving.base.spans import Spans

_PREFIX = "rockbank"
# From a twentieth of a millisecond to the deadline.
_SECONDS = (
    5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_SAMPLES = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256)
OPENMETRICS = "application/openmetrics-text"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics, each an attribute named as it is exposed, without the prefix `rockbank_`.

    Attributes:
        spans: of the requests' traces, whose ids are the exemplars of `request_seconds`.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Metrics of one service in a registry of their own, so that two of them live in one process."""
        self.registry = registry or CollectorRegistry()
        self.spans = Spans()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.requests_total = counter("requests", "Requests answered", "route", "method", "status")
        self.rejections_total = counter("rejections", "Requests not served", "reason")
        self.request_seconds = histogram("request_seconds", "From the first byte in to the last byte out", "route")
        self.queue_seconds = histogram("queue_seconds", "A request's wait for its computation")
        self.compute_seconds = histogram("compute_seconds", "One batch in onnxruntime")
        self.encode_seconds = histogram("encode_seconds", "One block's way into its format")
        self.batch_samples = histogram("batch_samples", "Samples of one batch", buckets=_SAMPLES)
        self.in_flight = gauge("in_flight", "Requests being answered")
        self.held_bytes = gauge("held_bytes", "Of bodies and answers that requests hold, of max_memory_bytes")
        self.connections = gauge("connections", "HTTP connections, of max_connections")
        self.loop_lag_seconds = histogram("loop_lag_seconds", "How much later than set the event loop wakes a timer")
        self.queued_samples = gauge("queued_samples", "Samples waiting for computation")
        self.samples_total = counter("samples", "Samples computed", "model", "version", "route")
        self.tiles_total = counter("tiles", "Tiles of endless images computed", "model", "version", "route")
        self.tried_samples_total = counter(
            "tried_samples",
            "Samples of requests with a condition, by whether it kept them",
            "model",
            "version",
            "is_kept",
        )
        self.provider_info = gauge("provider_info", "1 for what the session runs on", "model", "version", "provider")
        self.model_info = gauge(
            "model_info", "1 for each loaded version", "model", "version", "generator", "run_id", "data_md5"
        )
        self.swaps_total = counter("swaps", "Changes of the version that answers", "model")
        self.canary_decisions_total = counter(
            "canary_decisions", "Canaries promoted or given up", "model", "version", "verdict", "rule"
        )
        self.load_failures_total = counter("load_failures", "Versions that were not loaded", "model", "reason")
        self.alias_age_seconds = gauge("alias_age_seconds", "Since the alias was last read", "model")
        self.alias_behind_seconds = gauge(
            "alias_behind_seconds", "How long the alias has named a version that is not served; 0 if none", "model"
        )
        self.has_champion = gauge("has_champion", "1 where the alias names a version", "model")
        self.expected_provider_mismatch = gauge(
            "expected_provider_mismatch", "1 where a GPU is there and the session does not run on it", "model"
        )
        version = ("model", "version")
        self.statistic_wasserstein = gauge(
            "statistic_wasserstein", "Of a window's statistic from the reference, in its unit", *version, "statistic"
        )
        self.statistic_ks = gauge("statistic_ks", "Kolmogorov-Smirnov distance, likewise", *version, "statistic")
        self.statistic_windows_over = gauge(
            "statistic_windows_over", "Consecutive windows over the threshold", *version, "statistic"
        )
        self.diversity_ratio = gauge("diversity_ratio", "Difference between samples over the rock's", *version)
        self.nan_samples_total = counter("nan_samples", "Samples with a value that is not finite", *version)
        self.saturated_fraction = gauge("saturated_fraction", "Part of pixels at the ends of the scale", *version)
        self.golden_max_difference = gauge("golden_max_difference", "From the card's golden sample", *version)
        self.golden_mismatch = gauge("golden_mismatch", "1 where it is more than the tolerance", *version)
        self.shadow_difference = gauge(
            "shadow_difference", "Mean absolute difference of the shadow's last samples, intensity", "model"
        )

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The text that Prometheus scrapes, and its type: OpenMetrics, which has exemplars, for who accepts it."""
        if OPENMETRICS in accept:
            text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered, with its trace as an exemplar where it has one."""
        self.requests_total.labels(route, method, str(status)).inc()
        trace_id = self.spans.trace_id()
        self.request_seconds.labels(route).observe(seconds, None if trace_id is None else {"trace_id": trace_id})

    def rejected(self, reason: str) -> None:
        """Count a request that is not served."""
        self.rejections_total.labels(reason).inc()

    def loaded(self, model: str, version: str, *, generator: str, run_id: str, data_md5: str, provider: str) -> None:
        """Expose a version that is loaded."""
        self.model_info.labels(model, version, generator, run_id, data_md5).set(1)
        self.provider_info.labels(model, version, provider).set(1)

    def unloaded(self, model: str, version: str) -> None:
        """Remove what is exposed of a version while it is loaded; its counts stay."""
        for metric in (
            self.model_info, self.provider_info, self.statistic_wasserstein, self.statistic_ks,
            self.statistic_windows_over, self.diversity_ratio, self.saturated_fraction,
            self.golden_max_difference, self.golden_mismatch,
        ):  # fmt: skip
            metric.remove_by_labels({"model": model, "version": version})

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", about, labels, buckets=buckets, registry=self.registry)
