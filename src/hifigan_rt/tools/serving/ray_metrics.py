"""Metrics of a replica where Prometheus finds those of Ray: at the exporter of the replica's node."""

from __future__ import annotations

import asyncio

from ray.serve import metrics

from hifigan_rt.tools.serving.telemetry import Telemetry

_SECONDS = 5.0
"""Time between two looks; Ray exports every 10 s."""


class RayMetrics:
    """Copies of a telemetry's samples as gauges of Ray, which adds deployment, replica and application to each.

    All are gauges, counters and buckets of histograms too: Prometheus computes rates and quantiles of them likewise.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._gauges: dict[str, metrics.Gauge] = {}

    async def publish(self) -> None:
        """Publish for as long as the event loop runs."""
        while True:
            self.update()
            await asyncio.sleep(_SECONDS)

    def update(self) -> None:
        """Set every gauge to its sample's value."""
        for metric in self._telemetry.collect():
            for sample in metric.samples:
                if not sample.name.startswith("hifigan_") or sample.name.endswith("_created"):
                    continue
                labels = {name: value for name, value in sample.labels.items() if name != "replica"}
                gauge = self._gauges.get(sample.name)
                if gauge is None:
                    gauge = metrics.Gauge(sample.name, metric.documentation, tuple(labels))
                    self._gauges[sample.name] = gauge
                gauge.set(sample.value, labels)
