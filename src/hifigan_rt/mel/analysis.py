"""The log-mel spectrogram that a HiFi-GAN was trained on, computed with NumPy alone.

The recipe is the original's (jik876/hifi-gan, meldataset.py, function `mel_spectrogram`); where `MelConfig` departs
from its defaults, other families' recipes are computed. Everything is float64 inside and rounded to float32 once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from hifigan_rt.audio.conversion import as_samples
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import AudioError, AudioTooShort, ConfigError

MAX_PEAK = 256.0
"""Above any overshoot of a float recording and below what 16-bit numbers left unscaled would reach."""

MAX_FILTERBANK_VALUES = 1 << 26
"""256 MB of weights; published models need at most 128 x 1025."""

_BLOCK_VALUES = 1 << 18
"""Windowed samples handled at once: 2 MB of float64, which stays in a core's cache with its spectrum."""

_PUSHED_SAMPLES = 1 << 16

_ZEROS = ("zero", "center_zero")
"""Paddings that do not reflect."""

LOG_MEL_RANGE = (-11.5, 1.0)
"""Quietest and loudest values of the original's log-mels: ln(1e-5) to a loud voice."""

# Slaney's mel scale (M. Slaney, Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0

# The scale of HTK (the HTK Book, 5.4): mel(f) = 2595 log10(1 + f / 700).
_HTK_FACTOR = 2595.0
_HTK_BREAK_HZ = 700.0


def frame_count(samples: int, config: MelConfig) -> int:
    """Mel frames T of a recording of `samples` samples; 0 or less if it is too short.

    floor(N / hop) with reflect or zero padding, 1 + floor(N / hop) with centre padding. As in the original, an odd
    n_fft - hop (or an odd n_fft with centre padding) pads one sample less, and N - 1 takes the place of N.
    """
    return 1 + (samples + 2 * _padding_samples(config) - config.n_fft) // config.hop_length


def minimum_samples(config: MelConfig) -> int:
    """Samples of the shortest recording that has a mel: 385 for the original's settings.

    Reflection needs more samples than it adds on a side, and one whole frame must fit.
    """
    padding = _padding_samples(config)
    reflection = 1 if config.padding in _ZEROS else padding + 1
    return max(1, reflection, config.n_fft - 2 * padding)


def compute_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    """Compute the log-mel spectrogram of a mono recording.

    Works through blocks of frames, so that beyond audio and result it needs a few MB whatever the length.

    Args:
        audio: float `[N]` in [-1, 1].
        config: the model's mel settings; the audio must have its sample rate.

    Returns:
        float32 `[M, T]`, T as `frame_count` says.

    Raises:
        AudioTooShort: fewer samples than `minimum_samples(config)`.
        AudioError: not one row of floats, NaN or infinity, or far outside [-1, 1].
        ConfigError: the filterbank would exceed `MAX_FILTERBANK_VALUES`.
    """
    audio = as_samples(audio)
    check_samples(audio)
    _check_length(len(audio), config)
    mel = np.empty((config.num_mels, frame_count(len(audio), config)), np.float32)
    analysis = MelAnalysis(config)
    first = 0
    for start in range(0, len(audio), _PUSHED_SAMPLES):
        frames = analysis.push(audio[start : start + _PUSHED_SAMPLES])
        mel[:, first : first + frames.shape[1]] = frames
        first += frames.shape[1]
    mel[:, first:] = analysis.finish()
    return mel


class MelAnalysis:
    """Log-mel spectrogram of a recording that comes in pieces: `push` them, then `finish`.

    What comes out is bit for bit what `compute_mel` gives for the whole, whatever the sizes of the pieces. A few MB are
    kept, whatever the length.
    """

    def __init__(self, config: MelConfig) -> None:
        """Begin without samples.

        Raises:
            ConfigError: the filterbank would exceed `MAX_FILTERBANK_VALUES`.
        """
        self._config = config
        self._filters = _nonzero_filters(config)
        symmetric = config.window == "symmetric_hann"
        self._window = hann_window(config.n_fft, config.win_length, symmetric=symmetric)
        self._block_frames = max(1, _BLOCK_VALUES // config.n_fft)
        self._kept = np.empty(0, np.float32)
        self._kept_from = 0
        self._frames = 0  # given
        self.samples = 0
        """Number of samples that came."""

    def push(self, audio: np.ndarray) -> np.ndarray:
        """Take samples in.

        Args:
            audio: float `[n]` in [-1, 1].

        Returns:
            float32 `[M, t]`, t may be 0: the frames of whole blocks that the samples so far decide.

        Raises:
            AudioError: not one row of floats, NaN or infinity, or far outside [-1, 1].
        """
        audio = as_samples(audio)
        check_samples(audio, self.samples)
        self._kept = np.concatenate([self._kept, audio])  # a copy: the next piece may come in the same buffer
        self.samples += len(audio)
        decided = 0
        padding = _padding_samples(self._config)
        if self.samples > padding:
            # The first frames are reflected at sample 0, the last ones at an end that is not known yet; of negative
            # padding the samples before that end may be the ones that are left out.
            reach = self.samples + padding + min(padding, 0) - self._config.n_fft
            decided = max(0, 1 + reach // self._config.hop_length)
        return self._analysed(self._frames + (decided - self._frames) // self._block_frames * self._block_frames)

    def finish(self) -> np.ndarray:
        """End the recording: float32 `[M, t]`, the frames that are left.

        Raises:
            AudioTooShort: fewer samples came than `minimum_samples(config)`.
        """
        _check_length(self.samples, self._config)
        return self._analysed(frame_count(self.samples, self._config))

    def _analysed(self, end: int) -> np.ndarray:
        """Frames up to `end`, in blocks that begin at multiples of their length."""
        config = self._config
        mel = np.empty((config.num_mels, max(0, end - self._frames)), np.float32)
        for first in range(self._frames, end, self._block_frames):
            last = min(first + self._block_frames, end)
            start = first * config.hop_length - _padding_samples(config)
            stop = start + (last - first - 1) * config.hop_length + config.n_fft
            samples = self._padded_slice(start, stop)
            windows = np.lib.stride_tricks.sliding_window_view(samples, config.n_fft)[:: config.hop_length]
            spectrum = np.fft.rfft(windows * self._window, axis=1)
            if config.gain != 1:
                spectrum *= config.gain
            magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + config.magnitude_epsilon)
            if config.magnitude_floor:
                np.maximum(magnitude, config.magnitude_floor, out=magnitude)
            if config.power == 2:
                magnitude *= magnitude
            mel[:, first - self._frames : last - self._frames] = _compress(_apply(self._filters, magnitude), config)
        self._frames = max(self._frames, end)
        # Some more than the next frame needs: what is reflected at the end may begin before it.
        keep_from = (self._frames - 1) * config.hop_length - _padding_samples(config) - config.n_fft
        dropped = min(max(0, keep_from - self._kept_from), len(self._kept))
        self._kept = self._kept[dropped:]
        self._kept_from += dropped
        return mel

    def _padded_slice(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float64; those outside the recording are reflected at its ends, or 0."""
        if start >= 0 and stop <= self.samples:
            return self._kept[start - self._kept_from : stop - self._kept_from].astype(np.float64)
        index = np.arange(start, stop)
        inside = (index >= 0) & (index < self.samples)
        if self._config.padding in _ZEROS:
            return np.where(inside, self._kept[np.where(inside, index - self._kept_from, 0)], 0).astype(np.float64)
        index = np.abs(index)
        reflected: np.ndarray = self._kept[np.minimum(index, 2 * (self.samples - 1) - index) - self._kept_from]
        return reflected.astype(np.float64)


def random_mel(shape: tuple[int, ...]) -> np.ndarray:
    """Random values in `LOG_MEL_RANGE`, float32 of a shape: enough to run a network, unlike any speech."""
    return np.random.default_rng(0).uniform(*LOG_MEL_RANGE, shape).astype(np.float32)


def silence_mel_value(config: MelConfig) -> np.ndarray:
    """The mel of digital silence, float32 `[M]`: what padding must hold to be silent.

    It is the logarithm of the floor, or of the least magnitude of the spectrum where a band lifts that above the floor;
    never 0, which is loud in a log-mel.
    """
    least = max(np.sqrt(config.magnitude_epsilon), config.magnitude_floor)
    magnitude = mel_filterbank(config).astype(np.float64).sum(axis=1) * least**config.power
    return np.asarray(_compress(magnitude[:, None], config)[:, 0], np.float32)


@functools.lru_cache(maxsize=8)
def mel_filterbank(config: MelConfig) -> np.ndarray:
    """The triangular mel filters, float32 `[M, n_fft // 2 + 1]`, read-only and cached per `MelConfig`.

    Rounded to float32 exactly as librosa does (weights first, then the area norm), because models were trained on
    those numbers.

    Raises:
        ConfigError: more than `MAX_FILTERBANK_VALUES` weights.
    """
    bins = config.n_fft // 2 + 1
    if config.num_mels * bins > MAX_FILTERBANK_VALUES:
        raise ConfigError(
            f"num_mels={config.num_mels} with n_fft={config.n_fft} needs {config.num_mels * bins} filter weights: "
            f"at most {MAX_FILTERBANK_VALUES}"
        )
    bin_hz = np.fft.rfftfreq(config.n_fft, 1.0 / config.sample_rate)
    edges_hz = _band_edges_hz(config)
    widths_hz = np.diff(edges_hz)
    filterbank = np.empty((config.num_mels, bins), np.float32)
    for band in range(config.num_mels):
        rising = -(edges_hz[band] - bin_hz) / widths_hz[band]
        falling = (edges_hz[band + 2] - bin_hz) / widths_hz[band + 1]
        filterbank[band] = np.maximum(0, np.minimum(rising, falling))
    if config.norm == "slaney":
        filterbank *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    filterbank.flags.writeable = False
    return filterbank


@functools.lru_cache(maxsize=8)
def _nonzero_filters(config: MelConfig) -> tuple[tuple[slice, np.ndarray], ...]:
    """The bins that each filter covers, with its float64 weights there: a few per cent of the filterbank."""
    filters = []
    for weights in mel_filterbank(config):
        covered = np.flatnonzero(weights)
        bins = slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 0)
        filters.append((bins, weights[bins].astype(np.float64)))
    return tuple(filters)


def _apply(filters: tuple[tuple[slice, np.ndarray], ...], magnitude: np.ndarray) -> np.ndarray:
    """Filter magnitudes `[T, bins]` to `[M, T]`.

    Not as a matrix product: NumPy would hand that to a threaded BLAS, whose threads go on spinning afterwards and take
    a core from the engine that runs beside (synth on short clips fell from 20 to 14 x real time on two cores).
    """
    return np.stack([np.einsum("tf,f->t", magnitude[:, bins], weights) for bins, weights in filters])


def bands_above_nyquist(config: MelConfig) -> int:
    """Number of bands that begin at half the sample rate or above, and so are always at the floor."""
    return int((_band_edges_hz(config)[:-2] >= config.sample_rate / 2).sum())


def _band_edges_hz(config: MelConfig) -> np.ndarray:
    """Lower edge, centre and upper edge of the bands, float64 `[M + 2]`: each band's are three in a row."""
    if config.mel_scale == "htk":
        low, high = (_HTK_FACTOR * np.log10(1 + hz / _HTK_BREAK_HZ) for hz in (config.fmin, config.effective_fmax))
        edges: np.ndarray = _HTK_BREAK_HZ * (10 ** (np.linspace(low, high, config.num_mels + 2) / _HTK_FACTOR) - 1)
        return edges
    mels = np.linspace(_hz_to_mel(config.fmin), _hz_to_mel(config.effective_fmax), config.num_mels + 2)
    return _mel_to_hz(mels)


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    # The exponential of the linear part's mels is computed and thrown away; it cannot overflow there.
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, logarithmic, _HZ_PER_MEL * mel)


def _padding_samples(config: MelConfig) -> int:
    """Samples added on a side; with a hop above n_fft so many are left out, as the original's negative padding does."""
    if config.padding in ("center", "center_zero"):
        return config.n_fft // 2
    return int((config.n_fft - config.hop_length) / 2)


def hann_window(n_fft: int, win_length: int, *, symmetric: bool = False) -> np.ndarray:
    """A Hann window, float64 `[n_fft]`, centred between zeros if shorter, as torch.stft places it."""
    period = win_length - (symmetric and win_length > 1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / period)
    left = (n_fft - win_length) // 2
    return np.pad(hann, (left, n_fft - win_length - left))


_LOGARITHMS: Mapping[str, np.ufunc] = {"ln": np.log, "log10": np.log10, "log2": np.log2, "db": np.log10}


def _compress(mel: np.ndarray, config: MelConfig) -> np.ndarray:
    """Logarithm of magnitudes `[M, T]`, with the floor before it and mean and scale after it."""
    log_mel: np.ndarray
    if config.log == "log1p":
        log_mel = np.log1p(mel)
    else:
        log_mel = _LOGARITHMS[config.log](np.clip(mel, config.floor, config.ceiling))
    if config.log == "db":
        log_mel *= 20 / config.power
    if config.mean is not None:
        log_mel = log_mel - np.array(config.mean)[:, None]
    if config.scale is not None:
        log_mel = log_mel / np.array(config.scale)[:, None]
    return log_mel


def check_samples(audio: np.ndarray, first: int = 0) -> None:
    """Check that audio is what every analysis here takes.

    Args:
        audio: the samples.
        first: place of the first of them in the recording.

    Raises:
        AudioError: not one row of floats, NaN or infinity, or far outside [-1, 1].
    """
    if audio.ndim != 1:
        raise AudioError(f"audio of shape {list(audio.shape)} is not mono: one row of samples [N] is needed")
    if audio.dtype.kind != "f":
        raise AudioError(
            f"audio of dtype {audio.dtype} is not float in [-1, 1]: divide 16-bit integers by 32768 (as float32)"
        )
    if len(audio) == 0:
        return
    # min and max pass NaN and infinity on and, unlike isfinite, need no array of their own.
    peak = max(-float(audio.min()), float(audio.max()))
    if not np.isfinite(peak):
        wrong = ~np.isfinite(audio)
        raise AudioError(
            f"audio holds {int(wrong.sum())} values that are NaN or infinite, the first at sample "
            f"{first + int(wrong.argmax())}: every sample must be finite"
        )
    if peak > MAX_PEAK:
        raise AudioError(f"audio peaks at {peak:g}, and samples must be in [-1, 1]: divide 16-bit values by 32768")


def _check_length(samples: int, config: MelConfig) -> None:
    needed = minimum_samples(config)
    if samples < needed:
        raise AudioTooShort(
            f"the recording has {samples} samples and its mel needs at least {needed} "
            f"(n_fft={config.n_fft}, hop_length={config.hop_length}, padding={config.padding!r}): pad it with silence"
        )
