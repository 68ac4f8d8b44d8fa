"""Checks a mel where it enters: its shape and values, and whether it looks like another convention.

A model fed with another convention than its own does not fail: it gives noise, buzz or dull speech. So shape and
values are checked strictly, and the range is compared with what the model's own front-end can give. The thresholds were
derived from mels of real speech at -60 to +6 dB, clean and noisy, and of synthetic signals, in every convention of
docs/mel-conventions.md; what cannot be told apart from a valid mel is let pass.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NewType

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import MelConventionWarning, MelError
from hifigan_rt.mel.analysis import mel_filterbank
from hifigan_rt.mel.arrays import as_floats
from hifigan_rt.mel.shapes import check_shape, one_mel

_LN_10 = math.log(10)
_GUIDE = "see docs/mel-conventions.md"

# A model's prediction may fall a little below its floor or rise above the loudest recording (all in ln units).
_BELOW_FLOOR = 2.0
_ABOVE_LOUDEST = 1.0
_OUTLIERS = 1e-3
"""Share of a prediction's values that may lie lower still."""

_LOWER_LN_FLOORS = (1e-8, 1e-9, 1e-10, 1e-12)
_DB_BELOW = math.log(1e-12) - 0.5
_INT16_GAIN = math.log(32768)

LARGEST_VALUE = 1e10
"""Largest size of a value. Linear magnitudes of 16-bit samples reach 1e7, all other conventions less; near the end of
float32 the sums of a network become infinite."""

CONVENTION_FRAMES = 200
"""Frames at the beginning of a stream that are looked at for another convention than the model's."""

# Fewer frames than these carry too few pauses and accents to judge the dynamics by.
_MINIMUM_VALUES = 1000
_MINIMUM_FRAMES = 100

CheckedMel = NewType("CheckedMel", np.ndarray)
"""A mel that `check_mel` let pass, or frames of it: float32, finite, of the model's bands, at most MAX_FRAMES frames.

Engines and streams take nothing else, and check none of that again.
"""


def check_mel(
    mel: object, num_mels: int | None, config: MelConfig | None = None, *, single: bool = False
) -> CheckedMel:
    """Check a mel and convert it to what an engine takes.

    Args:
        mel: array-like of floats, `[M, T]` or `[B, M, T]`.
        num_mels: M of the model; None if it is not known, as for some foreign ONNX files.
        config: the model's mel settings; if given, `warn_if_other_convention` is called with them.
        single: exactly one mel is expected, and dimensions of 1 around or within it are left out.

    Returns:
        float32, C-contiguous, of the same shape, from 1 to MAX_FRAMES frames; `[M, T]` if it is single.

    Raises:
        MelError: wrong shape, dtype or values; the text says what was found and what to do.
    """
    array = as_floats(mel)
    if single:
        array = one_mel(array, num_mels)
    check_shape(array.shape, num_mels)
    if single and array.ndim != 2:
        raise MelError(f"the mel has shape {list(array.shape)}, and [M, T] is needed")
    try:
        with np.errstate(over="ignore"):
            checked = np.ascontiguousarray(array, np.float32)
    except MemoryError as error:
        raise MelError(f"the mel of shape {list(array.shape)} needs more memory than there is: split it") from error
    finite = np.isfinite(checked)
    if not finite.all():
        first = [int(i) for i in np.unravel_index(np.argmin(finite), finite.shape)]
        raise MelError(
            f"the mel holds {int((~finite).sum())} values that are NaN, infinite or beyond float32, "
            f"the first at {first} of shape {list(checked.shape)}: every value must be finite"
        )
    peak = float(max(checked.max(), -checked.min()))
    if peak > LARGEST_VALUE:
        raise MelError(
            f"the mel holds values up to {peak:.6g} in size, and no convention has any beyond {LARGEST_VALUE:g}: "
            f"{_GUIDE}"
        )
    if config is not None:
        warn_if_other_convention(checked, config)
    return CheckedMel(checked)


def warn_if_other_convention(mel: np.ndarray, config: MelConfig) -> None:
    """Issue a `MelConventionWarning` if a checked mel, float32 `[M, T]` or `[B, M, T]`, looks like another convention.

    Short or ambiguous mels pass in silence.
    """
    likely = likely_other_convention(mel, config)
    if likely is not None:
        warnings.warn(
            f"the mel's values, {mel.min():.4g} to {mel.max():.4g}, look like {likely}; this model expects "
            f"{_described(config)}: {_GUIDE}",
            MelConventionWarning,
            stacklevel=3,
        )


def likely_other_convention(mel: np.ndarray, config: MelConfig) -> str | None:
    """Name the convention that a checked mel looks like, or None if it may well be the model's own.

    Args:
        mel: float32 `[M, T]` or `[B, M, T]`.
        config: the model's mel settings.
    """
    values = mel
    if config.scale is not None:
        values = values * np.array(config.scale)[:, None]
    if config.mean is not None:
        values = values + np.array(config.mean)[:, None]
    if config.log == "log10":
        values = values * _LN_10
    loudest = _loudest_ln(config)
    rules: list[Callable[[], str | None]] = [
        lambda: _never_negative(values, loudest, config),
        lambda: _too_loud(values, loudest, config),
        lambda: _too_quiet(values, config),
    ]
    # Without the area norm every band is about 3 louder, and these levels and floors mean nothing.
    if config.log == "ln" and config.norm == "slaney" and config.mean is None and config.scale is None:
        rules += [lambda: _other_floor(values), lambda: _standardised(values), lambda: _log10_dynamics(values)]
    return next((likely for rule in rules if (likely := rule()) is not None), None)


def _loudest_ln(config: MelConfig) -> float:
    """ln of about the largest value that audio in [-1, 1] reaches: a square wave's first harmonic in one band."""
    # The main lobe of a Hann window adds as much again as the bin in its middle.
    peak_magnitude = 4 / math.pi * config.win_length / 4 * 2
    return math.log(max(float(mel_filterbank(config).max()) * peak_magnitude, config.floor))


def _never_negative(values: np.ndarray, loudest: float, config: MelConfig) -> str | None:
    """A slaney-normed log-mel has values below 0: audio in [-1, 1] cannot be that loud in every band at once."""
    if values.min() < 0 or values.shape[-2] < 20:
        return None
    largest = float(values.max())
    # Speech in linear magnitude is a few peaks over very little, on average at most 0.03 of the largest; anything
    # logarithmic has more than 0.1.
    if values.mean() <= 0.06 * largest:
        return "linear magnitudes or ln(1 + x), which are never negative (a log-mel of 0 is loud, not silent)"
    if config.norm is None or largest > loudest + _ABOVE_LOUDEST:
        return None
    return "a mel normalised to a range that starts at 0"


def _too_loud(values: np.ndarray, loudest: float, config: MelConfig) -> str | None:
    top, bottom = float(values.max()), float(values.min())
    if top <= loudest + _ABOVE_LOUDEST:
        return None
    if config.log == "log10" and bottom >= -12.5 * _LN_10:
        return "a natural logarithm instead of log10"
    if bottom < _DB_BELOW:
        return "decibels (20 log10)"
    if bottom >= -4.01 and top <= 4.01:
        return "a normalised mel (-4 to 4, or mean 0 and deviation 1)"
    if top <= loudest + _INT16_GAIN and bottom >= -12.5:
        return "a log-mel of audio that was not divided by 32768"
    return "decibels or another scale"


def _too_quiet(values: np.ndarray, config: MelConfig) -> str | None:
    """Values far below the floor; where another recipe's floor shows, it is named."""
    lowest = float(values.min())
    limit = math.log(config.floor) - _BELOW_FLOOR
    # The quantile costs a sort: only where there is something to judge.
    if lowest >= limit or float(np.quantile(values, _OUTLIERS)) >= limit:
        return None
    if config.log == "log10" and lowest >= -12.5 * _LN_10:
        return "a natural logarithm instead of log10, or a lower floor"
    if lowest < _DB_BELOW:
        return "decibels (20 log10)"
    for floor in _LOWER_LN_FLOORS:
        if abs(lowest - math.log(floor)) < 0.01:
            return f"a logarithm with the floor {floor:g}"
    return f"a logarithm with a floor of {math.exp(lowest):.0e} or lower, or of squared magnitudes"


def _other_floor(values: np.ndarray) -> str | None:
    """Many values stuck at the floor that another recipe has, in many bands: no recording does that by chance."""
    if values.size < _MINIMUM_VALUES:
        return None
    lowest = float(values.min())
    stuck = values < lowest + 1e-5
    bands = int(stuck.any(axis=-1).reshape(-1, values.shape[-2]).any(axis=0).sum())
    if stuck.mean() < 0.005 or bands < max(3, values.shape[-2] // 4):
        return None
    for floor, convention in (
        (-5, "log10 with the floor 1e-5"),
        (-8, "log10 with the floor 1e-8"),
        (-10, "log10 with the floor 1e-10"),
        (-4, "a mel normalised to the range -4 to 4"),
        (-1, "a mel normalised to the range -1 to 1"),
    ):
        if abs(lowest - floor) < 1e-3:
            return convention
    return None


def _standardised(values: np.ndarray) -> str | None:
    """Mean 0 and deviation 1: noise at full scale reaches a mean of -0.3, but then varies by 0.35 only."""
    if values.size < _MINIMUM_VALUES or abs(values.mean()) > 0.5 or not 0.6 < values.std() < 1.6:
        return None
    return "a standardised mel (mean 0 and deviation 1)"


def _log10_dynamics(values: np.ndarray) -> str | None:
    """Finds speech with accents and pauses that are 2.3 times too flat.

    A valid ln mel is as flat as that only in noise, and then most values lie near the noise and few far above it: a
    skewness of 0.97 at least, while log10 speech has 0.54 at most. Pulsed noise is not skewed, but is as loud in the
    upper bands as in the lower ones.
    """
    if values.shape[-1] < _MINIMUM_FRAMES or values.min() < -6.5:
        return None
    mean, deviation = float(values.mean()), float(values.std())
    flat = 1.9 < float(values.max()) - mean < 3.5 and 0.6 < deviation < 1.45
    if not flat or not 0.5 < values.std(axis=-1).mean() < 1.35:
        return None
    quarter = max(1, values.shape[-2] // 4)
    tilt = values[..., :quarter, :].mean() - values[..., -quarter:, :].mean()
    skewness = np.mean(((values - mean) / deviation) ** 3)
    return "log10 instead of the natural logarithm" if tilt > 0.35 and skewness < 0.75 else None


def _described(config: MelConfig) -> str:
    text = f"{config.log} of magnitudes with the floor {config.floor:g}"
    return text if config.mean is None and config.scale is None else f"{text}, then mean and scale"
