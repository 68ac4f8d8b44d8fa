"""Converts mels from one convention to another: logarithm, floor, powers, gain, area norm, mean and scale.

Only these can be converted afterwards. All are exact to rounding but three: what lies below either floor is lost; of
powers the weighted mean within a band is another than that of magnitudes, so that the result is too loud where a band
is uneven (0.1 on average for speech); and decibels relative to a clip's own maximum have lost its level.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import ConfigError, MelError
from hifigan_rt.mel.analysis import mel_filterbank
from hifigan_rt.mel.statistics import read_statistics

Convention = Literal["ln", "log10", "log1p", "db", "power", "int16-gain", "standardised"]
CONVENTIONS: tuple[str, ...] = get_args(Convention)

_LN_10 = math.log(10)
_LN_OF_BASE = {"log10": _LN_10, "log2": math.log(2)}
_FIXED = (
    "sample_rate", "n_fft", "win_length", "hop_length", "num_mels", "fmin", "effective_fmax", "window", "mel_scale",
)  # fmt: skip


def named_convention(name: str, config: MelConfig, statistics: str | Path | None = None) -> MelConfig:
    """Describe mels of a convention that are otherwise computed as a model's.

    Args:
        name: one of `CONVENTIONS`. `int16-gain` and `standardised` keep the model's logarithm.
        config: the model's mel settings.
        statistics: file of the mean and scale that the mels were standardised with, after that logarithm; see
            `hifigan_rt.mel.statistics.read_statistics`. `standardised` needs it, and every other convention takes it.

    Raises:
        ConfigError: no such convention, the statistics are missing, or their file is none.
    """
    if name not in CONVENTIONS:
        raise ConfigError(f"mel convention {name!r} is not known: {', '.join(CONVENTIONS)} are")
    if name == "standardised" and statistics is None:
        raise ConfigError(
            "mel convention 'standardised' needs the mean and scale of its training data: --mel-stats FILE"
        )
    mean, scale = (None, None) if statistics is None else read_statistics(statistics, config.num_mels)
    given = replace(config, mean=mean, scale=scale)
    if name in ("ln", "log10", "log1p", "db"):
        return replace(given, log=cast("Any", name), power=1, gain=1.0)
    if name == "power":
        return replace(given, log="ln", power=2, gain=1.0)
    return replace(given, gain=32768.0) if name == "int16-gain" else given


def convert_mel(mel: np.ndarray, given: MelConfig, wanted: MelConfig) -> np.ndarray:
    """Convert a mel to another convention.

    Args:
        mel: float `[M, T]` or `[B, M, T]`.
        given: how it was computed.
        wanted: the model's mel settings.

    Returns:
        float32 of the same shape.

    Raises:
        ConfigError: they differ in what cannot be converted: rate, window, hop, bands or their limits.
        MelError: the mel has another number of bands.
    """
    for field in _FIXED:
        has, needs = getattr(given, field), getattr(wanted, field)
        if has != needs:
            name = field.removeprefix("effective_")
            raise ConfigError(
                f"{name} is {has} for the mel and {needs} for the model: only a mel of the same analysis can be "
                "converted, compute it again"
            )
    if mel.ndim not in (2, 3) or mel.shape[-2] != wanted.num_mels:
        raise MelError(f"the mel has shape {list(mel.shape)}, and [{wanted.num_mels}, T] is needed")
    with np.errstate(divide="ignore", over="ignore"):
        natural = _to_natural(np.asarray(mel, np.float64), given) + (_filter_sums(wanted) - _filter_sums(given))
        return np.asarray(_from_natural(natural, wanted), np.float32)


def _to_natural(mel: np.ndarray, config: MelConfig) -> np.ndarray:
    """ln of magnitudes without gain; -inf where nothing is left."""
    values = mel
    if config.scale is not None:
        values = values * np.array(config.scale)[:, None]
    if config.mean is not None:
        values = values + np.array(config.mean)[:, None]
    if config.log in _LN_OF_BASE:
        values = values * _LN_OF_BASE[config.log]
    elif config.log == "db":
        values = values * (_LN_10 * config.power / 20)
    elif config.log == "log1p":
        values = np.log(np.expm1(np.maximum(values, 0)))
    if config.power == 2:
        # With equal magnitudes p in a band, the filters give p * sum of magnitudes and p^2 * sum of powers.
        values = (values + _filter_sums(config)) / 2
    return values - math.log(config.gain)


def _from_natural(values: np.ndarray, config: MelConfig) -> np.ndarray:
    values = values + math.log(config.gain)
    if config.power == 2:
        values = 2 * values - _filter_sums(config)
    if config.log == "log1p":
        values = np.log1p(np.exp(values))
    else:
        values = np.clip(values, math.log(config.floor), None if config.ceiling is None else math.log(config.ceiling))
    if config.log in _LN_OF_BASE:
        values = values / _LN_OF_BASE[config.log]
    elif config.log == "db":
        values = values * (20 / config.power / _LN_10)
    if config.mean is not None:
        values = values - np.array(config.mean)[:, None]
    if config.scale is not None:
        values = values / np.array(config.scale)[:, None]
    return values


def _filter_sums(config: MelConfig) -> np.ndarray:
    """ln of the sum of each filter, `[M, 1]`; 0 for an empty one."""
    sums = mel_filterbank(config).astype(np.float64).sum(axis=1)
    return np.log(np.where(sums > 0, sums, 1))[:, None]
