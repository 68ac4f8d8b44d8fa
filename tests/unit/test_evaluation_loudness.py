"""Loudness against the values that ITU-R BS.1770 and EBU Tech 3341 state for signals anybody can make."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tolerances
from hifigan_rt.tools.evaluation.metrics.loudness import integrated_loudness_lufs, k_weighting


def tone(sample_rate: int, *parts: tuple[float, float], hz: float = 1000.0) -> np.ndarray:
    """(dBFS peak, seconds) after each other."""
    levels = np.concatenate([np.full(round(seconds * sample_rate), 10 ** (dbfs / 20)) for dbfs, seconds in parts])
    return levels * np.sin(2 * np.pi * hz * np.arange(len(levels)) / sample_rate)


def test_filter_is_the_standards_table_at_48_khz():
    # ITU-R BS.1770-4, tables 1 and 2.
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    assert k_weighting(48000) == pytest.approx(np.array([shelf, high_pass]), abs=tolerances.K_WEIGHTING_COEFFICIENTS)


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100, 48000])
def test_full_scale_sine_of_997_hz(sample_rate):
    # ITU-R BS.1770-4, annex 1: -3.01 LKFS in one channel.
    value = integrated_loudness_lufs(tone(sample_rate, (0, 5), hz=997), sample_rate)
    assert value == pytest.approx(-3.01, abs=tolerances.LOUDNESS_LU)


@pytest.mark.parametrize(
    ("parts", "stereo_lufs"),
    # EBU Tech 3341, minimum requirements test signals 1 to 5; both channels there, one here: 3.01 LU less.
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
    ids=["1", "2", "3", "4", "5"],
)
def test_signals_of_the_ebu(parts, stereo_lufs):
    value = integrated_loudness_lufs(tone(48000, *parts), 48000)
    assert value == pytest.approx(stereo_lufs - 10 * math.log10(2), abs=tolerances.LOUDNESS_LU)


@pytest.mark.parametrize(
    "signal", [np.zeros(48000), tone(48000, (-80, 2)), tone(48000, (0, 0.399)), np.ones(1)],
    ids=["silence", "below the gate", "short", "one sample"],
)  # fmt: skip
def test_no_loudness(signal):
    assert math.isnan(integrated_loudness_lufs(signal, 48000))


def test_an_offset_is_not_loud():
    signal = tone(48000, (-20, 5))
    assert integrated_loudness_lufs(signal + 0.3, 48000) == pytest.approx(
        integrated_loudness_lufs(signal, 48000), abs=tolerances.LOUDNESS_LU
    )
