"""What is measured of a mel in order to tell its convention, in any unit.

A mel of a recording flutters: the background noise of every recording changes from frame to frame by an amount that the
analysis fixes, whatever the level. Compared with the flutter of noise in the model's own mels it tells the scale of the
logarithm. Predicted mels are smooth; their second differences are small beside the first, and their scale stays open.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.mel.analysis import compute_mel, mel_filterbank, minimum_samples

_BANDS = 2 / 3
"""Share of the bands that are looked at: above, many recordings are empty."""
_EVERY_BAND = 2
_BLOCKS, _BLOCK_FRAMES = 4, 100
_FEWEST_PAIRS = 500
_NOISE_FRAMES = 80
_REFERENCE_FLUTTER = 0.26
"""Flutter of noise with the original's settings, in ln: the unit of the thresholds."""


@dataclass(frozen=True)
class MelMeasures:
    """Measures of one mel; all but `lowest`, `highest` and `frames` of the lower bands of some of its frames."""

    frames: int
    lowest: float
    highest: float
    top: float
    mean: float
    deviation: float
    level_mean: float
    """Mean of the values above the lowest."""
    band_spread: float
    """Deviation of the bands' means."""
    modulation: float
    """Mean over the bands of the deviation in time."""
    skewness: float
    stuck: float
    """Share of values at the lowest."""
    flutter: float
    """Median change from frame to frame, as if noise had 0.26 in ln; NaN if too few values are above the lowest."""
    is_natural: bool
    """Whether it flutters like a recording; else it is smooth, or too short to tell."""


def measure(mel: np.ndarray, config: MelConfig) -> MelMeasures:
    """Measure a mel, float `[M, T]`, of 2 frames or more; config is that of the model."""
    bands, frames = mel.shape
    lowest, highest = float(mel.min()), float(mel.max())
    some = mel[: max(1, round(bands * _BANDS)) : _EVERY_BAND]
    if frames > _BLOCKS * _BLOCK_FRAMES:
        starts = [int((i + 0.5) / _BLOCKS * (frames - _BLOCK_FRAMES)) for i in range(_BLOCKS)]
        some = np.concatenate([some[:, start : start + _BLOCK_FRAMES] for start in starts], axis=1)
    some = some.astype(np.float64)
    above = some > lowest + 1e-3 * (highest - lowest)
    change = np.diff(some, axis=1)
    pairs = above[:, 1:] & above[:, :-1]
    flutter, is_natural = math.nan, False
    noise_flutter, noise_ratio = _noise(config)
    if pairs.sum() >= _FEWEST_PAIRS:
        median = float(np.median(np.abs(change[pairs])))
        triples = pairs[:, 1:] & pairs[:, :-1]
        if median > 0 and triples.any():
            ratio = float(np.median(np.abs(np.diff(change, axis=1)[triples]))) / median
            is_natural = 0.55 <= ratio / noise_ratio <= 1.14
            flutter = median / noise_flutter * _REFERENCE_FLUTTER
    deviation = float(some.std())
    centred = some - some.mean()
    return MelMeasures(
        frames=frames,
        lowest=lowest,
        highest=highest,
        top=float(some.max()),
        mean=float(some.mean()),
        deviation=deviation,
        level_mean=float(some[above].mean()) if above.any() else lowest,
        band_spread=float(some.mean(axis=1).std()),
        modulation=float(some.std(axis=1).mean()),
        skewness=float((centred * centred * centred).mean()) / max(deviation, 1e-9) ** 3,
        stuck=1 - float(above.mean()),
        flutter=flutter,
        is_natural=is_natural,
    )


@functools.lru_cache(maxsize=8)
def _noise(config: MelConfig) -> tuple[float, float]:
    """Median change of noise from frame to frame in the model's own ln mels, and that of the change beside it."""
    plain = replace(config, log="ln", floor=1e-12, mean=None, scale=None, padding="zero")
    samples = max(minimum_samples(plain), _NOISE_FRAMES * config.hop_length)
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples)
    mel = compute_mel(noise, plain).astype(np.float64)
    change = np.diff(mel[: max(1, round(len(mel) * _BANDS))], axis=1)
    if change.shape[1] < 2:
        return _REFERENCE_FLUTTER, 1.58
    flutter = float(np.median(np.abs(change))) or _REFERENCE_FLUTTER
    return flutter, float(np.median(np.abs(np.diff(change, axis=1)))) / flutter or 1.58


@functools.lru_cache(maxsize=8)
def levels(config: MelConfig) -> tuple[float, float, float]:
    """Levels of a model's analysis, in ln.

    Returns:
        About the largest value that audio in [-1, 1] reaches, a square wave's first harmonic in one band; by how much
        the area norm of the filters lowers the mel; by how much a mel of powers exceeds twice that of magnitudes.
    """
    slaney = replace(config, norm="slaney")
    filters = mel_filterbank(slaney)
    # The main lobe of a Hann window adds as much again as the bin in its middle.
    peak_magnitude = 4 / math.pi * config.win_length / 4 * 2
    own = filters if config.norm == "slaney" else mel_filterbank(config)
    loudest = math.log(max(float(own.max()) * peak_magnitude, config.floor))
    sums = filters[: max(1, round(len(filters) * _BANDS))].sum(axis=1)
    plain = mel_filterbank(replace(config, norm=None))[: len(sums)].sum(axis=1)
    full = (sums > 0) & (plain > 0)
    if not full.any():
        return loudest, 0.0, 0.0
    return loudest, float(np.log(plain[full] / sums[full]).mean()), -float(np.log(sums[full]).mean())
