"""Makes a recording what a model takes: mono, at the model's sample rate, and only as the user allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from hifigan_rt.audio.decoding import Recording
from hifigan_rt.errors import AudioError, SampleRateMismatch
from hifigan_rt.system.arrays import Expected

_AUDIO = Expected("audio", "hifigan_rt.audio.read_audio", AudioError)


def as_samples(audio: object) -> np.ndarray:
    """Make an array of what a caller passes as audio; shape, dtype and values are not looked at.

    Raises:
        AudioError: it gives no array.
    """
    return _AUDIO.array(audio)


def to_mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels: float32 `[C, N]` or `[N]` to float32 `[N]`.

    Raises:
        AudioError: it is no array.
    """
    samples = as_samples(samples)
    return samples if samples.ndim == 1 else samples.mean(axis=0, dtype=np.float64).astype(np.float32)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Convert the sample rate of float32 `[N]` with soxr's high quality; N becomes N * to_hz / from_hz, rounded.

    Raises:
        AudioError: it is not one row of floats.
    """
    samples = as_samples(samples)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise AudioError(
            f"audio of shape {list(samples.shape)} and dtype {samples.dtype} is not one row of floats [N]: "
            "hifigan_rt.audio.to_mono averages channels [C, N], and 16-bit integers are divided by 32768"
        )
    if from_hz == to_hz:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples.astype(np.float32, copy=False), from_hz, to_hz, quality="HQ"), np.float32)


def convert_blocks(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Average the channels of a recording that comes in blocks, and convert its sample rate.

    Args:
        blocks: float32 `[n]` or `[C, n]`.
        from_hz: their sample rate.
        to_hz: the sample rate wanted.

    Yields:
        float32 `[n]`: together bit for bit `resample(to_mono(...), from_hz, to_hz)` of the whole.
    """
    if from_hz == to_hz:
        yield from map(to_mono, blocks)
        return
    import soxr

    resampler = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(to_mono(block))
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def prepare(
    recording: Recording,
    sample_rate: int,
    resample_allowed: bool,
    mono_allowed: bool,
    *,
    leave: str = "--{}",
    rate_of: str = "the model",
) -> np.ndarray:
    """Make a recording what a model takes: mono samples at its sample rate.

    Args:
        recording: as `read_audio` gives it.
        sample_rate: the model's, in Hz.
        resample_allowed: whether another sample rate may be converted.
        mono_allowed: whether several channels may be averaged.
        leave: see `check_conversion`.
        rate_of: what has the wanted sample rate, for errors.

    Returns:
        float32 `[N]`.

    Raises:
        AudioError, SampleRateMismatch: see `check_conversion`.
    """
    rate, samples = recording.sample_rate, recording.samples
    check_conversion(
        rate, recording.channels, samples.shape[-1], sample_rate, resample_allowed=resample_allowed,
        mono_allowed=mono_allowed, leave=leave, rate_of=rate_of,
    )  # fmt: skip
    return resample(to_mono(samples), rate, sample_rate)


def conversions(sample_rate: int, channels: int, wanted_hz: int) -> tuple[str, ...]:
    """What a recording goes through to be mono at `wanted_hz`, a text for each; none if it is so already."""
    texts = []
    if channels > 1:
        texts.append(f"averaged from {channels} channels to one")
    if sample_rate != wanted_hz:
        texts.append(f"resampled from {sample_rate} to {wanted_hz} Hz")
    return tuple(texts)


def check_conversion(
    sample_rate: int,
    channels: int,
    samples: int | None,
    wanted_hz: int,
    *,
    resample_allowed: bool,
    mono_allowed: bool,
    leave: str = "--{}",
    rate_of: str = "the model",
) -> None:
    """Check that a recording is what a model takes, or may be made it.

    Args:
        sample_rate: the recording's, in Hz.
        channels: how many it has.
        samples: per channel, for the text; None if that is not known.
        wanted_hz: the model's sample rate.
        resample_allowed: whether another sample rate may be converted.
        mono_allowed: whether several channels may be averaged.
        leave: how the caller's user allows either, for the text, with {} for the word: "--{}" on the command line.
        rate_of: what has the wanted sample rate, for errors.

    Raises:
        AudioError: several channels, and no leave to average them.
        SampleRateMismatch: another sample rate, and no leave to resample.
    """
    if channels > 1 and not mono_allowed:
        raise AudioError(
            f"the recording has {channels} channels, and one is taken: {leave.format('mono')} averages them"
        )
    if sample_rate != wanted_hz and not resample_allowed:
        became = "" if samples is None else (
            f" (its {samples} samples would become about {round(samples * wanted_hz / sample_rate)})"
        )  # fmt: skip
        raise SampleRateMismatch(
            f"the recording has {sample_rate} Hz and {rate_of} {wanted_hz} Hz: {leave.format('resample')} converts it"
            + became
        )
