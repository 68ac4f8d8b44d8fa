"""How a mel spectrogram is computed, as far as it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from hifigan_rt.config.ranges import MAX_CHANNELS, MAX_HOP_LENGTH, check_range
from hifigan_rt.errors import ConfigError

_LATER = frozenset(("window", "mel_scale", "magnitude_floor", "ceiling"))
"""Fields of `MelConfig` that came after the first records."""


@dataclass(frozen=True)
class MelConfig:
    """How a mel spectrogram is computed; the defaults beyond the first seven are the original's recipe.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    sample_rate: int
    """Sample rate in Hz."""
    n_fft: int
    """Length of the Fourier transform, in samples."""
    win_length: int
    """Length of the periodic Hann window, in samples; at most `n_fft`."""
    hop_length: int
    """Samples from frame to frame. As in the original it may be longer than `n_fft`, which leaves samples out."""
    num_mels: int
    """Mel bands."""
    fmin: float = 0.0
    """Lower edge of the first band, in Hz."""
    fmax: float | None = None
    """Upper edge of the last band, in Hz; None is half the sample rate.

    Above half the sample rate it means what it means in the original: the bands are spread up to it, and those that
    begin above half the sample rate are always at the floor.
    """
    log: Literal["ln", "log10", "log2", "log1p", "db"] = "ln"
    """Logarithm: natural, of base 10 or 2, ln(1 + x) without a floor, or decibels (20 log10; 10 log10 of powers)."""
    floor: float = 1e-5
    """Magnitudes below it are raised to it before the logarithm."""
    magnitude_epsilon: float = 1e-9
    """Added under the square root of the magnitude (original: meldataset.py)."""
    padding: Literal["reflect", "center", "zero", "center_zero"] = "reflect"
    """reflect: (n_fft - hop) / 2 reflected samples per side, T = floor(N / hop) (the original).
    zero: the same with zeros. center: n_fft / 2 reflected samples per side, T = 1 + floor(N / hop).
    center_zero: the same with zeros (NATSpeech)."""
    norm: Literal["slaney"] | None = "slaney"
    """slaney: each band has unit area; None: each band peaks at 1."""
    mean: tuple[float, ...] | None = None
    """Subtracted per band after the logarithm; one value per band, or a single one."""
    scale: tuple[float, ...] | None = None
    """Divided by per band after `mean`; one value per band, or a single one."""
    power: int = 1
    """Exponent of the magnitudes before the filters: 2 for a mel of powers."""
    gain: float = 1.0
    """Factor of the samples before the analysis: 32768 where 16-bit integers were not divided."""
    window: Literal["hann", "symmetric_hann"] = "hann"
    """hann: periodic, as an analysis should have it. symmetric_hann: its last sample is 0 as the first is (NeMo)."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """slaney: linear below 1 kHz. htk: 2595 log10(1 + f / 700)."""
    magnitude_floor: float = 0.0
    """Magnitudes of the spectrum below it are raised to it before the filters (ESPnet: 1e-5)."""
    ceiling: float | None = None
    """Magnitudes above it are lowered to it before the logarithm; None leaves them (Coqui TTS: `clip_norm`)."""

    def __post_init__(self) -> None:
        check_range("sample_rate", self.sample_rate, 1, 1 << 20)
        check_range("n_fft", self.n_fft, 2, 1 << 20)
        check_range("win_length", self.win_length, 1, 1 << 20)
        check_range("hop_length", self.hop_length, 1, MAX_HOP_LENGTH)
        check_range("num_mels", self.num_mels, 1, MAX_CHANNELS)
        if self.win_length > self.n_fft:
            raise ConfigError(f"win_length={self.win_length} must be at most n_fft={self.n_fft}")
        nyquist = self.sample_rate / 2
        if not 0 <= self.fmin < nyquist:
            raise ConfigError(f"fmin={self.fmin} Hz must be at least 0 and below half the sample rate, {nyquist}")
        if self.fmax is not None and not self.fmin < self.fmax < math.inf:
            raise ConfigError(f"fmax={self.fmax} Hz must be above fmin={self.fmin} (null is half the sample rate)")
        if self.log not in ("ln", "log10", "log2", "log1p", "db"):
            raise ConfigError(f"log={self.log!r} must be 'ln', 'log10', 'log2', 'log1p' or 'db'")
        if self.power not in (1, 2):
            raise ConfigError(f"power={self.power!r} must be 1 or 2")
        if not 0 < self.gain < math.inf:
            raise ConfigError(f"gain={self.gain} must be a finite number above 0")
        if self.padding not in ("reflect", "center", "zero", "center_zero"):
            raise ConfigError(f"padding={self.padding!r} must be 'reflect', 'center', 'zero' or 'center_zero'")
        if self.window not in ("hann", "symmetric_hann"):
            raise ConfigError(f"window={self.window!r} must be 'hann' or 'symmetric_hann'")
        if self.mel_scale not in ("slaney", "htk"):
            raise ConfigError(f"mel_scale={self.mel_scale!r} must be 'slaney' or 'htk'")
        if self.ceiling is not None and not self.floor < self.ceiling < math.inf:
            raise ConfigError(f"ceiling={self.ceiling} must be a finite number above floor={self.floor}, or null")
        if self.norm not in ("slaney", None):
            raise ConfigError(f"norm={self.norm!r} must be 'slaney' or null")
        for name in ("floor", "magnitude_epsilon", "magnitude_floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (name == "floor" and value == 0):
                raise ConfigError(f"{name}={value} must be a finite number above 0")
        for name in ("mean", "scale"):
            values = getattr(self, name)
            if not isinstance(values, (tuple, type(None))):  # the filters are kept by the whole config: it is hashed
                raise ConfigError(
                    f"{name} is a {type(values).__name__}: give a tuple of numbers, one for each band or one for all"
                )
            if values is not None and len(values) not in (1, self.num_mels):
                raise ConfigError(f"{name} holds {len(values)} values: one, or num_mels={self.num_mels}, are needed")
        if self.scale is not None and not all(math.isfinite(value) and value != 0 for value in self.scale):
            raise ConfigError("scale holds a 0 or a number that is not finite: the mel is divided by it")
        if self.mean is not None and not all(math.isfinite(value) for value in self.mean):
            raise ConfigError("mean holds a number that is not finite")

    def recorded(self) -> dict[str, Any]:
        """Give the settings as records of runs hold them, so that what earlier versions recorded stays equal.

        A field of `_LATER` stands there only if it is unusual.
        """
        fields = type(self).__dataclass_fields__
        return {
            name: value for name, value in asdict(self).items() if name not in _LATER or value != fields[name].default
        }

    @property
    def effective_fmax(self) -> float:
        """Upper edge of the last band in Hz, with None resolved to half the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax


@dataclass(frozen=True)
class PartialMelConfig:
    """Mel settings of which only some are known.

    Mels in and audio out need none of them, and files of audio the sample rate; only an analysis of recordings needs
    all. What is known is kept for that, and what is missing is told where an analysis is asked for.
    """

    NEEDED: ClassVar[tuple[str, ...]] = ("sampling_rate", "n_fft", "win_size", "fmin", "fmax")
    """Fields of the original's `config.json` that an analysis needs and the architecture does not tell."""

    stated: Mapping[str, Any]
    """What is known, in the words of the original's `config.json`; and `UNSUPPORTED`, if the mel has more to it."""
    UNSUPPORTED: ClassVar[str] = "unsupported_mel"
    """Field that says, as a text, what of the model's mel convention is not computed here."""
    NORMALIZED: ClassVar[str] = "normalized"
    """Field that is true where mels are normalised with a mean and scale: without those an analysis is not possible."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields that an analysis needs besides, in the same words."""
        needed = (*self.NEEDED, *(("mean", "scale") if self.stated.get(self.NORMALIZED) else ()))
        names = tuple(name for name in needed if name not in self.stated)
        unsupported = self.stated.get(self.UNSUPPORTED)
        return names if unsupported is None else (*names, f"a mel that is computed here (its own has {unsupported})")

    @property
    def sample_rate(self) -> int | None:
        """Sample rate in Hz; None if it is not known."""
        return self.stated.get("sampling_rate")
