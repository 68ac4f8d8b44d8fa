"""Which metrics an evaluation has, and why others are not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hifigan_rt.errors import MetricUnavailable
from hifigan_rt.system.versions import installed_version
from hifigan_rt.tools.evaluation.metrics import METRICS, check_metrics, why_unavailable
from hifigan_rt.tools.evaluation.results import Metric

ALL = "all"

WAVEFORM = ("si_sdr", "snr")
"""Not among the columns unless they are named: against a recording they only say that a vocoder makes its own phase.
Between systems they are always taken."""

_DISTRIBUTIONS = {"pyworld": "pyworld-prebuilt"}
"""Names under which packages are installed, where they are imported under others."""


@dataclass(frozen=True)
class Columns:
    """What is computed."""

    metrics: tuple[Metric, ...]
    left_out: dict[str, str]
    """Metric to reason."""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(metric.key for metric in self.metrics)

    @property
    def packages(self) -> dict[str, str]:
        """Versions of what computes them."""
        return package_versions(dict.fromkeys(name for key in self.keys for name in METRICS[key].packages))


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Give the versions of packages by the names under which they are imported; what is not installed is left out."""
    found = {name: installed_version(_DISTRIBUTIONS.get(name, name)) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def choose_columns(named: Sequence[str], limited: Sequence[str], *, with_reference: bool, with_mel: bool) -> Columns:
    """Decide which metrics are computed.

    Args:
        named: keys that the user asked for, each of which must be possible; "all" stands for every metric and none for
            those that say something of vocoders, both as far as they are possible.
        limited: keys that a limit was set for, which must be possible.
        with_reference: whether there are recordings to compare with.
        with_mel: whether the mel settings are known.

    Raises:
        EvaluationError: a metric is not known.
        MetricUnavailable: one that was named is not possible.
    """
    explicit = dict.fromkeys([key for key in named if key != ALL] + list(limited))
    check_metrics(explicit)
    wished = set(METRICS) if ALL in named else set(METRICS) - set(WAVEFORM) if not named else set()
    chosen, left_out = [], {}
    for key in METRICS:
        if key not in wished and key not in explicit:
            continue
        reason = why_unavailable(key)
        if METRICS[key].needs_reference and not with_reference:
            reason = "there are no recordings to compare with: give --dataset"
        elif METRICS[key].family == "mel_distance" and not with_mel:
            reason = "the mel settings are not known: give the config.json, or a preset, with --config"
        if reason is None:
            chosen.append(key)
        elif key in explicit:
            raise MetricUnavailable(f"metric {key!r}: {reason}")
        else:
            left_out[key] = reason
    return Columns(tuple(_metric(key) for key in chosen), left_out)


def _metric(key: str) -> Metric:
    entry = METRICS[key]
    return Metric(
        key, entry.title, entry.unit, entry.direction, entry.definition, entry.source, entry.identity,
        entry.needs_reference,
    )  # fmt: skip
