"""Metrics for Prometheus; every name begins with hifigan_."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

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
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        latency = partial(histogram, buckets=_LATENCY)
        self._requests = counter("hifigan_requests", "Requests answered", ["route", "status", "model"])
        self._request_seconds = latency(
            "hifigan_request_seconds", "From a request's arrival to the end of its answer", ["route"]
        )
        self._first_audio = latency(
            "hifigan_first_audio_seconds",
            "From the frames that determine the first sample to its leaving the scheduler",
            ["model"],
        )
        self._compute = latency(
            "hifigan_compute_seconds", "Computing time of a whole request, waiting not counted", ["model"]
        )
        self._batch = histogram("hifigan_batch_size", "Mels in one request", ["model"], buckets=_BATCH)
        self._audio = counter("hifigan_audio_seconds", "Audio computed", ["model"])
        self._busy = counter("hifigan_engine_busy_seconds", "Time that engines computed", ["model"])
        self._speed = gauge("hifigan_x_real_time", "Audio seconds per second of computing, lately", ["model"])
        self._clipped = counter("hifigan_clipped_samples", "Samples beyond full scale that were clipped", ["model"])
        self._rejected = counter("hifigan_rejected_requests", "Requests refused, by the error's code", ["reason"])
        self._cancelled = counter("hifigan_cancelled_requests", "Requests whose clients went before the end")
        self._queue = gauge("hifigan_queued_requests", "Requests waiting or being computed")
        self._queued_audio = gauge("hifigan_queued_audio_seconds", "Audio still to be computed")
        self._live = gauge("hifigan_active_streams", "Live streams that are open")
        self._memory_budget = gauge("hifigan_memory_budget_bytes", "Memory that all that requests become may take")
        self._memory_held = gauge("hifigan_memory_held_bytes", "Memory of the budget that requests hold")
        self._reloads = counter("hifigan_model_loads", "Models loaded, again ones included", ["model", "result"])

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
