"""Makes a recording what a model takes: mono, at the model's sample rate, and only as the user allowed."""

from __future__ import annotations

import numpy as np

from hifigan_rt.audio.decoding import Recording
from hifigan_rt.errors import AudioError, SampleRateMismatch


def to_mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels: float32 `[C, N]` or `[N]` to float32 `[N]`."""
    return samples if samples.ndim == 1 else samples.mean(axis=0, dtype=np.float64).astype(np.float32)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Convert the sample rate of float32 `[N]` with soxr's high quality; N becomes N * to_hz / from_hz, rounded."""
    if from_hz == to_hz:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, from_hz, to_hz, quality="HQ"), np.float32)


def prepare(recording: Recording, sample_rate: int, resample_allowed: bool, mono_allowed: bool) -> np.ndarray:
    """Make a recording what a model takes: mono samples at its sample rate.

    Args:
        recording: as `read_audio` gives it.
        sample_rate: the model's, in Hz.
        resample_allowed: whether another sample rate may be converted.
        mono_allowed: whether several channels may be averaged.

    Returns:
        float32 `[N]`.

    Raises:
        AudioError: several channels, and no leave to average them.
        SampleRateMismatch: another sample rate, and no leave to resample.
    """
    if recording.channels > 1 and not mono_allowed:
        raise AudioError(
            f"the recording has {recording.channels} channels and the model takes one: --mono averages them"
        )
    if recording.sample_rate != sample_rate and not resample_allowed:
        samples = recording.samples.shape[-1]
        raise SampleRateMismatch(
            f"the recording has {recording.sample_rate} Hz and the model {sample_rate} Hz: --resample converts it "
            f"(its {samples} samples would become about {round(samples * sample_rate / recording.sample_rate)})"
        )
    return resample(to_mono(recording.samples), recording.sample_rate, sample_rate)
