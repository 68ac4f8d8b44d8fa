"""Metrics for Prometheus; every name begins with hifigan_."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric

_LATENCY = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 5, 10, 30, 60, 120, 300)
_BATCH = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """Metrics of the server, in a registry of its own; every method may be called from any thread."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    """Media type of `exposition`: who does not ask for version 1.0.0, which the package's constant names, need not know
    it; the text is both."""

    def __init__(self, replica: str = "") -> None:
        """
        Args:
            replica: name that each sample has as a label; none where the server is the only one.
        """
        self._labels = {"replica": replica} if replica else {}
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "hifigan_requests", "Requests answered", ["route", "status", "model"], registry=registry
        )
        self._request_seconds = Histogram(
            "hifigan_request_seconds",
            "From a request's arrival to the end of its answer",
            ["route"],
            buckets=_LATENCY,
            registry=registry,
        )
        self._first_audio = Histogram(
            "hifigan_first_audio_seconds",
            "From the frames that determine the first sample to its leaving the scheduler",
            ["model"],
            buckets=_LATENCY,
            registry=registry,
        )
        self._compute = Histogram(
            "hifigan_compute_seconds",
            "Computing time of a whole request, waiting not counted",
            ["model"],
            buckets=_LATENCY,
            registry=registry,
        )
        self._batch = Histogram(
            "hifigan_batch_size", "Mels in one request", ["model"], buckets=_BATCH, registry=registry
        )
        self._audio = Counter("hifigan_audio_seconds", "Audio computed", ["model"], registry=registry)
        self._busy = Counter("hifigan_engine_busy_seconds", "Time that engines computed", ["model"], registry=registry)
        self._speed = Gauge(
            "hifigan_x_real_time", "Audio seconds per second of computing, lately", ["model"], registry=registry
        )
        self._clipped = Counter(
            "hifigan_clipped_samples", "Samples beyond full scale that were clipped", ["model"], registry=registry
        )
        self._rejected = Counter(
            "hifigan_rejected_requests", "Requests refused, by the error's code", ["reason"], registry=registry
        )
        self._cancelled = Counter(
            "hifigan_cancelled_requests", "Requests whose clients went before the end", registry=registry
        )
        self._queue = Gauge("hifigan_queued_requests", "Requests waiting or being computed", registry=registry)
        self._queued_audio = Gauge("hifigan_queued_audio_seconds", "Audio still to be computed", registry=registry)
        self._live = Gauge("hifigan_active_streams", "Live streams that are open", registry=registry)
        self._memory_budget = Gauge(
            "hifigan_memory_budget_bytes", "Memory that all that requests become may take", registry=registry
        )
        self._memory_held = Gauge(
            "hifigan_memory_held_bytes", "Memory of the budget that requests hold", registry=registry
        )
        self._reloads = Counter(
            "hifigan_model_loads", "Models loaded, again ones included", ["model", "result"], registry=registry
        )

    def request_finished(self, route: str, status: int, model: str, seconds: float) -> None:
        """Count an answer; `route` is a pattern and `model` a known name or "", so that no client can add labels."""
        self._requests.labels(route, str(status), model).inc()
        self._request_seconds.labels(route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a refusal by the error's code."""
        self._rejected.labels(reason).inc()

    def cancelled(self) -> None:
        """Count a request whose client went before the end."""
        self._cancelled.inc()

    def clipped(self, model: str, samples: int) -> None:
        """Count samples that an encoder had to clip."""
        self._clipped.labels(model).inc(samples)

    def batch(self, model: str, items: int) -> None:
        """Note the mels of one request."""
        self._batch.labels(model).observe(items)

    def first_audio(self, model: str, seconds: float) -> None:
        """Note how long the first samples of a stream took."""
        self._first_audio.labels(model).observe(seconds)

    def computed(self, model: str, seconds: float) -> None:
        """Note a whole request's computing time."""
        self._compute.labels(model).observe(seconds)

    def block(self, model: str, audio_seconds: float, busy_seconds: float, x_real_time: float) -> None:
        """Count what one block gave and took."""
        self._audio.labels(model).inc(audio_seconds)
        self._busy.labels(model).inc(busy_seconds)
        self._speed.labels(model).set(x_real_time)

    def queue(self, requests: int, audio_seconds: float, live_streams: int) -> None:
        """Set how much waits."""
        self._queue.set(requests)
        self._queued_audio.set(audio_seconds)
        self._live.set(live_streams)

    def memory(self, budget_bytes: int, held_bytes: int) -> None:
        """Set the budget of memory, and how much of it is taken."""
        self._memory_budget.set(budget_bytes)
        self._memory_held.set(held_bytes)

    def model_loaded(self, model: str, result: str) -> None:
        """Count a load: "ok" or "failed"."""
        self._reloads.labels(model, result).inc()

    def collect(self) -> Iterator[Metric]:
        """Give all metrics as they are now."""
        for metric in self._registry.collect():
            metric.samples = [sample._replace(labels={**sample.labels, **self._labels}) for sample in metric.samples]
            yield metric

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus's text format."""
        text: bytes = generate_latest(self)  # of a registry it takes nothing but `collect`
        return text
