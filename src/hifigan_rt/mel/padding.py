"""Frames that are padding: one and the same value in all bands, and not the model's silence.

No recording has such a frame: even noise differs from band to band. Zero-padded batches have them, and 0 is loud in a
log-mel. Digital silence is flat too; it is the value that `silence_mel_value` gives, and of a mel of another convention
its lowest.
"""

from __future__ import annotations

import functools

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.mel.analysis import silence_mel_value

_FEWEST_BANDS = 4
_NEAR_SILENCE = 2.0
"""Distance from silence, in the mel's own unit, that is not worth a word."""
_ROUNDING = 1e-3
"""Differences between bands that rounding to float16 may leave of one value."""


LOOKS_LIKE_PADDING = "looks like padding"
"""Words of every finding that tells of padding."""


def flat_frames(mel: np.ndarray, config: MelConfig) -> np.ndarray | None:
    """Find frames of a mel `[M, T]` that hold one value in all bands, other than about the model's silence.

    Returns:
        Their indices, or None if there are none.
    """
    if len(mel) < _FEWEST_BANDS:
        return None
    # Two bands first: only where they agree do the others matter.
    difference = np.abs(mel[0] - mel[-1])
    if difference.size == 0 or difference.min() > _ROUNDING:
        return None
    candidates = np.flatnonzero(difference <= _ROUNDING)
    some = mel[:, candidates]
    first = some[0]
    is_flat = np.abs(some - first).max(axis=0) <= _ROUNDING * np.maximum(1, np.abs(first))
    lowest, highest = _silence(config)
    is_flat &= (first < lowest - _NEAR_SILENCE) | (first > highest + _NEAR_SILENCE)
    return candidates[is_flat] if is_flat.any() else None


def flat_above(mel: np.ndarray, flat: np.ndarray, lowest: float) -> np.ndarray:
    """Those of the flat frames that lie above the lowest value of the others: no convention's silence does."""
    slack = _ROUNDING * max(1.0, abs(lowest)) if np.isfinite(lowest) else 0.0
    above: np.ndarray = flat[mel[0, flat] > lowest + slack]
    return above


def reaches_silence(mel: np.ndarray, config: MelConfig) -> bool:
    """Tell whether a mel goes down to the model's own silence, as hardly one of another convention does."""
    lowest = float(mel.min())
    return abs(lowest - _silence(config)[0]) <= _ROUNDING * max(1.0, abs(lowest))


def may_have_flat_frames(mels: np.ndarray) -> np.ndarray:
    """Find which of many mels `[B, M, T]` may have frames that `flat_frames` finds: bool `[B]`."""
    first, middle, last = mels[:, 0], mels[:, mels.shape[1] // 2], mels[:, -1]
    # What is flat differs from its first band by that at most (`flat_frames`), however loud it is.
    margin = _ROUNDING * np.maximum(1, np.abs(first))
    found: np.ndarray = ((np.abs(middle - first) <= margin) & (np.abs(last - first) <= margin)).any(axis=1)
    return found


def describe_padding(mel: np.ndarray, frames: np.ndarray, config: MelConfig, first_frame: int = 0) -> str:
    """Say which frames of a mel `[M, T]` look like padding, and the way out.

    Args:
        mel: the mel.
        frames: from `flat_frames`.
        config: the model's mel settings.
        first_frame: number of the mel's first frame in its signal.
    """
    first, last = int(frames[0]) + first_frame, int(frames[-1]) + first_frame
    is_run = last - first + 1 == len(frames)
    which = f"frames {first} to {last} are" if is_run else f"{len(frames)} frames from {first} to {last} are"
    value = float(mel[0, frames[0]])
    lowest, highest = _silence(config)
    loud = f"{value:.4g} is loud, not silent: " if value > highest else ""
    silent = f"{lowest:.4g}" if highest - lowest < 0.01 else f"{lowest:.4g} to {highest:.4g}"
    return (
        f"{which} all {value:.4g} in every band, which {LOOKS_LIKE_PADDING}. {loud}this model's silence is {silent}; "
        "cut each mel at its length, or pass a list of mels"
    )


@functools.lru_cache(maxsize=8)
def _silence(config: MelConfig) -> tuple[float, float]:
    silence = silence_mel_value(config)
    return float(silence.min()), float(silence.max())
