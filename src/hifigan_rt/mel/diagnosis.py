"""Names the convention that a mel's values look like, where it is not the model's own.

First the mel must be as good as impossible for the model's own convention: beyond what audio in [-1, 1] reaches, never
negative, stuck at another recipe's floor, or of another scale than recordings flutter with. Then every convention is
tried backwards: which of them gives values that a recording has? One or two that fit are named.
The thresholds were derived from mels of speech, music and synthetic signals at -60 to +6 dB, clean, noisy, gated,
compressed and smoothed; `benchmarks/conventions.py` measures what they find. What cannot be told apart is let pass.
"""

from __future__ import annotations

import math

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.mel.measures import MelMeasures, levels, measure

_LN_10 = math.log(10)

# A model's prediction may fall a little below its floor or rise above the loudest recording (all in ln units).
_BELOW_FLOOR = 2.0
_ABOVE_LOUDEST = 1.0
_OUTLIERS = 1e-3
"""Share of a prediction's values that may lie lower still."""
_DB_BELOW = math.log(1e-12) - 0.5
_INT16_GAIN = math.log(32768)

_FEWEST_BANDS = 20
_SHAPED_BANDS = 40
_SHAPED_FRAMES = 80
"""Fewer frames carry too few pauses and accents to judge by anything but the range."""
_MINIMUM_VALUES = 1000

DECIBELS = "decibels (20 log10)"
LOG10 = "log10 instead of the natural logarithm"
LOG1P = "ln(1 + x), which is never negative"
LINEAR = "linear magnitudes or ln(1 + x), which are never negative"
POWER = "a logarithm of squared magnitudes (power)"
INT16 = "a log-mel of audio that was not divided by 32768"
NO_NORM = "a log-mel of filters without the area norm (norm=None)"
STANDARDISED = "a standardised mel (mean 0 and deviation 1)"
RANGE_4 = "a mel normalised to the range -4 to 4"
RANGE_1 = "a mel normalised to the range -1 to 1"
RANGE_0 = "a mel normalised to a range that starts at 0"
WHISPER = "Whisper's log-mel (a range of 2.0 in log10 of powers)"
UNKNOWN = "another scale than this model's"

_LOWER_LN_FLOORS = (1e-8, 1e-9, 1e-10, 1e-12)
_FLOORS = (
    (-5, "log10 with the floor 1e-5"),
    (-8, "log10 with the floor 1e-8"),
    (-10, "log10 with the floor 1e-10"),
    (-4, RANGE_4),
    (-1, RANGE_1),
)


def likely_other_convention(mel: np.ndarray, config: MelConfig) -> str | None:
    """Name the convention that a checked mel looks like, or None if it may well be the model's own.

    Args:
        mel: float32 `[M, T]` or `[B, M, T]`, of which the first item that looks like another convention counts.
        config: the model's mel settings.
    """
    if mel.ndim == 3:
        return next((name for item in mel if (name := likely_other_convention(item, config)) is not None), None)
    if config.log not in ("ln", "log10") or config.power != 1 or config.gain != 1:
        return None
    lowest, highest = float(mel.min()), float(mel.max())
    values: np.ndarray | None = None
    if config.scale is not None or config.mean is not None:
        values = mel * np.array(config.scale or (1.0,))[:, None] + np.array(config.mean or (0.0,))[:, None]
        lowest, highest = float(values.min()), float(values.max())
    if config.log == "log10":
        lowest, highest = lowest * _LN_10, highest * _LN_10
    loudest, area_norm, _ = levels(config)
    is_loud = highest > loudest + _ABOVE_LOUDEST
    is_low = lowest < math.log(config.floor) - _BELOW_FLOOR
    is_positive = lowest >= 0 and len(mel) >= _FEWEST_BANDS
    if config.log == "log10" or values is not None:
        if not (is_loud or is_low or is_positive):
            return None
        values = mel if values is None else values
        return _by_range(values * _LN_10 if config.log == "log10" else values, config, loudest)
    is_short = mel.shape[1] < _SHAPED_FRAMES or len(mel) < _SHAPED_BANDS
    if is_short and not (is_loud or is_low or is_positive):
        return _other_floor(mel, lowest)
    if is_low and float(np.quantile(mel, _OUTLIERS)) >= math.log(config.floor) - _BELOW_FLOOR:
        is_low = False
    if lowest < _DB_BELOW and (is_low or is_loud):
        return DECIBELS
    if is_short:
        return _by_range(mel, config, loudest) if is_loud or is_low or is_positive else None
    if abs(highest - lowest - 2) < 1e-5:
        return RANGE_1 if abs(lowest + 1) < 1e-4 else WHISPER
    floor = None if is_loud else _other_floor(mel, lowest)
    if floor is not None:
        return floor
    measures = measure(mel, config)
    shift = area_norm if config.norm is None else 0.0
    if is_positive:
        return _named(_never_negative(mel, measures, config, shift), always=True)
    return _named(_candidates(measures, config, shift, is_loud=is_loud, is_low=is_low), always=is_loud or is_low)


def _named(names: list[str], *, always: bool) -> str | None:
    if len(names) in (1, 2):
        return " or ".join(names)
    return UNKNOWN if always else None


def _candidates(m: MelMeasures, config: MelConfig, shift: float, *, is_loud: bool, is_low: bool) -> list[str]:
    """Conventions that fit a mel which its own does not; none if its own may fit."""
    is_flat = m.is_natural and m.flutter <= (0.205 if m.frames >= 200 else 0.185)
    is_speech = m.is_natural and m.flutter < 0.25 * m.deviation and m.modulation > 3 * m.flutter
    # Speech, but 2.3 times too flat; music has lower values, noise no modulation.
    is_shallow = is_flat and m.deviation <= 2.5 and m.modulation > 4.5 * m.flutter
    is_shallow &= m.lowest >= -10.01 and m.skewness < 0.75
    is_high = is_speech and m.deviation > 0.3 and m.mean - shift > (-1.3 if is_flat else -0.9)
    is_steep = m.is_natural and m.flutter >= 0.5 and m.highest > 1 and m.stuck < 0.55
    if not (is_loud or is_low or is_shallow or is_high or is_steep):
        return _smooth(m, config)
    only_low = is_low and not (is_loud or is_shallow or is_high or is_steep)
    loudest, area_norm, power = levels(config)
    span = m.highest - m.lowest
    affine: list[tuple[str, float, float, bool]] = [
        (LOG10, 1 / _LN_10, 0, m.lowest >= -12.01 and m.highest <= 1.1),
        (POWER, 2, power, True),
        (NO_NORM, 1, area_norm, not only_low and config.norm is not None),
        (INT16, 1, _INT16_GAIN + shift, not only_low),
        (RANGE_4, 0.695, 2.43, m.lowest >= -4.001 and m.highest <= 4.001),
        (RANGE_1, 0.1737, 0.608, m.lowest >= -1.001 and m.highest <= 1.001),
        (WHISPER, 0.5 / _LN_10, 1 + power / 4 / _LN_10, span <= 2.0001),
    ]
    names = [name for name, scale, offset, possible in affine if possible and _fits(m, scale, offset, loudest)]
    if WHISPER in names and RANGE_1 not in names and m.lowest >= -1.001 and m.highest <= 1.001:
        names.append(RANGE_1)
    if _is_standardised(m):
        names.append(STANDARDISED)
    floor = next((f for f in _LOWER_LN_FLOORS if abs(m.lowest - math.log(f)) < 0.01), None)
    if only_low:
        names = [name for name in names if name == STANDARDISED]
        if (not m.is_natural or m.flutter < 0.52) and m.level_mean - shift < loudest - 5.6:
            if floor is not None:
                names.append(f"a logarithm with the floor {floor:g}")
            elif m.is_natural and m.flutter >= 0.29:
                names.append(f"a logarithm with a floor of {math.exp(m.lowest):.0e} or lower")
        if (m.is_natural and m.flutter >= 0.45) or (not m.is_natural and floor != 1e-8):
            names.append(POWER)
    return names


def _fits(m: MelMeasures, scale: float, offset: float, loudest: float) -> bool:
    """Whether values that were `scale * ln + offset` are those of a recording."""
    if m.is_natural and not 0.237 <= m.flutter / scale <= 0.48:
        return False
    top, mean = (m.top - offset) / scale, (m.level_mean - offset) / scale
    return -6 <= top <= loudest + 0.8 and loudest - 11.9 <= mean <= loudest - 5.4 and top - mean >= 3


def _is_standardised(m: MelMeasures) -> bool:
    is_about_zero = abs(m.mean) < 0.45 and 0.7 < m.deviation < 1.4
    is_even = m.band_spread < (0.36 if m.frames >= 200 else 0.6) * m.deviation
    fits = -2.7 < m.mean < 0.8 and m.deviation < 3.7 and m.top > 0.8 and (is_even or is_about_zero)
    return fits and (not m.is_natural or m.flutter < 0.29)


def _smooth(m: MelMeasures, config: MelConfig) -> list[str]:
    """What a predicted mel tells, whose scale no flutter shows: mean 0 and deviation 1, or dynamics of log10."""
    if m.is_natural or config.norm is None:
        return []
    # Noise at full scale reaches a mean of -0.3, but then varies by 0.35 only.
    return [STANDARDISED] if abs(m.mean) <= 0.5 and 0.6 < m.deviation < 1.6 and m.band_spread < 0.45 else []


def _never_negative(mel: np.ndarray, m: MelMeasures, config: MelConfig, shift: float) -> list[str]:
    """A log-mel has values below 0: audio in [-1, 1] cannot be that loud in every band at once."""
    loudest, area_norm, _ = levels(config)
    # Speech in linear magnitude is a few peaks over very little; anything logarithmic has more.
    if float(mel.mean()) <= 0.06 * m.highest or (m.skewness > 2 and m.highest <= 2.6):
        return [LINEAR] if m.highest < 7.5 else ["linear magnitudes, which are never negative"]
    if m.highest <= 6.6:
        undone = measure(np.log(np.maximum(np.expm1(mel.astype(np.float64)), 1e-12)), config)
        if undone.is_natural and any(_fits(undone, 1, offset, loudest) for offset in (shift, area_norm)):
            return [LOG1P]
        if m.skewness > 0.9 or not undone.is_natural:
            return [LOG1P, RANGE_0] if m.highest <= 4.001 else [LOG1P]
    if m.highest > 5 and _fits(m, 1, _INT16_GAIN + shift, loudest):
        return [INT16]
    return [RANGE_0] if m.highest <= 4.001 else []


def _by_range(values: np.ndarray, config: MelConfig, loudest: float) -> str | None:
    """Judge mels that are short, or of models whose own scale is another, by their range alone; values in ln."""
    lowest, highest = float(values.min()), float(values.max())
    limit = math.log(config.floor) - _BELOW_FLOOR
    is_low = lowest < limit and float(np.quantile(values, _OUTLIERS)) < limit
    if lowest < _DB_BELOW and (is_low or highest > loudest + _ABOVE_LOUDEST):
        return DECIBELS
    if lowest >= 0 and len(values) >= _FEWEST_BANDS:
        if values.mean() <= 0.06 * highest:
            return LINEAR
        return UNKNOWN if config.norm is not None else None
    if config.log == "log10" and lowest >= -12.5 * _LN_10:
        if highest > loudest + _ABOVE_LOUDEST:
            return "a natural logarithm instead of log10"
        return "a natural logarithm instead of log10, or a lower floor" if is_low else None
    return UNKNOWN if is_low or highest > loudest + _ABOVE_LOUDEST else None


def _other_floor(values: np.ndarray, lowest: float) -> str | None:
    """Many values stuck at the floor that another recipe has, in many bands: no recording does that by chance."""
    floor = next((name for value, name in _FLOORS if abs(lowest - value) < 1e-3), None)
    if floor is None or values.size < _MINIMUM_VALUES:
        return None
    stuck = values < lowest + 1e-5
    bands = int(stuck.any(axis=1).sum())
    return floor if stuck.mean() >= 0.005 and bands >= max(3, len(values) // 4) else None
