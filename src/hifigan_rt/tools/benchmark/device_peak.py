"""Arithmetic per second on an accelerator against what its maker says it can do at most."""

from __future__ import annotations

from dataclasses import dataclass

from hifigan_rt.tools.benchmark.results import Case, Measurement

NOT_BELIEVABLE = "above the device's peak: not believable"

FLOAT16_PEAK_310P = 70.0

_PEAKS = {"310P": (FLOAT16_PEAK_310P, 140.0)}
"""Device to TFLOPS in float16 and TOPS in int8 of one chip (Huawei EDOC1100285916, Atlas 300I Pro: one such chip)."""


@dataclass(frozen=True)
class Achieved:
    """What a measurement means in operations."""

    tflops: float
    """Two operations per multiply-add of direct convolution."""
    peak_tflops: float | None
    """Peak of one chip in the arithmetic that it executed; None for a device not in the list."""

    @property
    def share(self) -> float | None:
        """Part of the peak; None where that is not known."""
        return None if self.peak_tflops is None else self.tflops / self.peak_tflops

    @property
    def verdict(self) -> str:
        """Whether it can be true, in words."""
        if self.share is None:
            return "peak not known: the chip is not named (as in 310P3), or not in our list"
        return NOT_BELIEVABLE if self.share > 1 else "below the device's peak"


def is_ascend(measurement: Measurement) -> bool:
    """Whether the figures are a real Ascend device's; a stand-in's say nothing about one."""
    named = "ascend" in (measurement.engine, measurement.device.lower()[:6])
    return (named or measurement.source == "ais_bench") and not measurement.caveat


def achieved(case: Case, measurement: Measurement) -> Achieved | None:
    """Work out the operations per second of an Ascend device; None for others, and where the work is not known."""
    figures = case.figures(measurement)
    if not is_ascend(measurement) or figures is None or figures.effective_gflops is None:
        return None
    peaks = next((peaks for name, peaks in _PEAKS.items() if name in measurement.device.upper()), None)
    # The cube unit multiplies float16 at most: float32 cannot be faster.
    peak = None if peaks is None else peaks[1 if "int8" in measurement.precision else 0]
    return Achieved(figures.effective_gflops / 1000, peak)
