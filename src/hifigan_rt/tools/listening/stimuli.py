"""Makes recordings comparable for ears: anchors, equal loudness, the same encoding."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping

import numpy as np

from hifigan_rt.audio import write_audio
from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.evaluation.metrics.loudness import ABSOLUTE_GATE_LUFS, BLOCK_SECONDS, integrated_loudness_lufs

MIDDLE_ANCHOR = "anchor 7 kHz"
ANCHORS_HZ = {"anchor 3.5 kHz": 3500.0, MIDDLE_ANCHOR: 7000.0}
"""ITU-R BS.1534-3: low-pass versions of the reference, the low and the middle anchor."""

TARGET_LUFS = -23.0
"""EBU R 128; leaves speech 20 dB and more above its mean."""

QUIET_LUFS = TARGET_LUFS - 6
"""Half the pressure. Speech allows more: below it one recording is to blame."""

HIGHEST_PEAK = 10 ** (-1 / 20)
"""-1 dBFS."""

_TRANSITION_HZ = 500.0
_STOP_BAND_DB = 60.0
"""BS.1534-3 asks of the low anchor +-0.1 dB up to 3.5 kHz, -25 dB at 4 kHz and -50 dB at 4.5 kHz."""

_FADE_SECONDS = 0.005


def low_pass(samples: np.ndarray, sample_rate: int, edge_hz: float) -> np.ndarray:
    """Take away what lies above `edge_hz`, without delay: float `[N]` to float64 `[N]`."""
    import scipy.signal

    half = sample_rate / 2
    taps, beta = scipy.signal.kaiserord(_STOP_BAND_DB, _TRANSITION_HZ / half)
    kernel = scipy.signal.firwin(taps | 1, edge_hz + _TRANSITION_HZ / 2, window=("kaiser", beta), fs=sample_rate)
    filtered: np.ndarray = scipy.signal.fftconvolve(samples, kernel, mode="full")
    delay = len(kernel) // 2
    return filtered[delay : delay + len(samples)]


def anchors(samples: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """The low-pass versions of a reference, float32 `[N]`; those alone that take something away at this sample rate."""
    return {
        name: low_pass(samples, sample_rate, edge_hz)
        for name, edge_hz in ANCHORS_HZ.items()
        if edge_hz + _TRANSITION_HZ < sample_rate / 2
    }


def loudness_of(recordings: Mapping[str, np.ndarray], sample_rate: int) -> dict[str, float]:
    """Measure the loudness of each version of a clip, in LUFS.

    Raises:
        EvaluationError: one of them is too short or too quiet to have a loudness.
    """
    loudness = {
        name: integrated_loudness_lufs(samples.astype(np.float64), sample_rate) for name, samples in recordings.items()
    }
    for name, lufs in loudness.items():
        if math.isnan(lufs):
            raise EvaluationError(
                f"{name} is shorter than {BLOCK_SECONDS:g} s or below {ABSOLUTE_GATE_LUFS:g} LUFS throughout, so its "
                "loudness cannot be matched"
            )
    return loudness


def common_loudness(peaks: Mapping[str, float], loudness: Mapping[str, float]) -> tuple[float, str]:
    """The loudness in LUFS that all can have without a peak above `HIGHEST_PEAK`, at most `TARGET_LUFS`; and the name
    of the recording that allows the least.

    Args:
        peaks: largest magnitude of each recording.
        loudness: of each, in LUFS.
    """
    room = {name: loudness[name] + 20 * math.log10(HIGHEST_PEAK / peak) for name, peak in peaks.items()}
    least = min(room, key=room.__getitem__)
    return min(TARGET_LUFS, room[least]), least


def encoded(samples: np.ndarray, sample_rate: int, gain_db: float, generator: np.random.Generator) -> str:
    """FLAC of 16 bits as a data URI: with gain, faded at both ends, dithered.

    Dither (triangular, +-1 step) is what 16 bits ask for after a gain. It also keeps the same recording under two ids,
    as MUSHRA's reference is, from having the same bytes in the page.
    """
    scaled = samples.astype(np.float64) * 10 ** (gain_db / 20)
    fade = np.linspace(0, 1, min(round(_FADE_SECONDS * sample_rate), len(scaled) // 2))
    scaled[: len(fade)] *= fade
    scaled[len(scaled) - len(fade) :] *= fade[::-1]
    noise = generator.random(len(scaled)) - generator.random(len(scaled))
    buffer = io.BytesIO()
    write_audio(buffer, scaled + noise / (1 << 15), sample_rate, "pcm16", "flac")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
