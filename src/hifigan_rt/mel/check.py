"""Checks a mel where it enters: its shape and values, and whether it looks like another convention.

A model fed with another convention than its own does not fail: it gives noise, buzz or dull speech; fed with padding, a
blast. So shape and values are checked strictly, and what the values tell is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NewType

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import MelConventionWarning, MelError
from hifigan_rt.mel.arrays import as_floats
from hifigan_rt.mel.diagnosis import UNKNOWN
from hifigan_rt.mel.diagnosis import likely_other_convention as likely_other_convention
from hifigan_rt.mel.orientation import looks_transposed
from hifigan_rt.mel.padding import describe_padding, flat_above, flat_frames, reaches_silence
from hifigan_rt.mel.shapes import check_shape, one_mel
from hifigan_rt.system.callers import warn_caller

_GUIDE = "see docs/mel-conventions.md"

LARGEST_VALUE = 1e10
"""Largest size of a value. Linear magnitudes of 16-bit samples reach 1e7, all other conventions less; near the end of
float32 the sums of a network become infinite."""

CONVENTION_FRAMES = 200
"""Frames at the beginning of a stream that are looked at for another convention than the model's."""

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
    _check_values(checked)
    if config is not None:
        warn_if_other_convention(checked, config)
    return CheckedMel(checked)


def _check_values(checked: np.ndarray) -> None:
    lowest, highest = float(checked.min()), float(checked.max())
    # Streams push a few frames at a time: what is right takes two looks. NaN is neither.
    if lowest >= -LARGEST_VALUE and highest <= LARGEST_VALUE:
        return
    finite = np.isfinite(checked)
    if not finite.all():
        first = [int(i) for i in np.unravel_index(np.argmin(finite), finite.shape)]
        raise MelError(
            f"the mel holds {int((~finite).sum())} values that are NaN, infinite or beyond float32, "
            f"the first at {first} of shape {list(checked.shape)}: every value must be finite"
        )
    raise MelError(
        f"the mel holds values up to {max(highest, -lowest):.6g} in size, and no convention has any beyond "
        f"{LARGEST_VALUE:g}: {_GUIDE}"
    )


@contextmanager
def in_words_of(*, latents: bool) -> Iterator[None]:
    """Have errors of mels say "latent", where that is what a model takes."""
    try:
        yield
    except MelError as error:
        if not latents:
            raise
        raise MelError(re.sub(r"\bmel(s?)\b", r"latent\1", str(error)).replace("bands", "channels")) from error


def warn_if_other_convention(mel: np.ndarray, config: MelConfig) -> None:
    """Issue a `MelConventionWarning` if a checked mel, float32 `[M, T]` or `[B, M, T]`, has padding or looks like
    another convention.

    Short or ambiguous mels pass in silence.
    """
    warn_of(diagnose(mel, config))


def warn_of(finding: str | None) -> None:
    """Issue a `MelConventionWarning` with what `diagnose` found, if it found anything."""
    if finding is not None:
        warn_caller(f"{finding}: {_GUIDE}", MelConventionWarning)


def diagnose(mel: np.ndarray, config: MelConfig) -> str | None:
    """Say what is odd about a checked mel, float32 `[M, T]` or `[B, M, T]`: padding, another convention, or nothing.

    Of a batch the first item with something odd is told, by its number.
    """
    if mel.ndim == 3:
        for index, item in enumerate(mel):
            finding = diagnose(item, config)
            if finding is not None:
                return f"item {index} of the batch: {finding}"
        return None
    if mel.shape[0] == mel.shape[1] and looks_transposed(mel):
        return f"the mel, {list(mel.shape)}, looks time-major by its content: pass mel.T (--time-major for files)"
    flat = flat_frames(mel, config)
    if flat is None or len(flat) < 2:
        likely = likely_other_convention(mel, config)
    else:
        rest = np.delete(mel, flat, axis=1)
        padding = flat_above(mel, flat, float(rest.min())) if rest.size else flat
        is_padding = len(padding) >= 2
        likely = None if is_padding else likely_other_convention(rest, config)
        if likely is None:
            finding = f"the mel's {describe_padding(mel, padding if is_padding else flat, config)}"
            if is_padding or reaches_silence(rest, config):
                return finding
            other = likely_other_convention(mel, config)
            if other in (None, UNKNOWN):
                return finding
            return f"{finding}; or they are silence, and the mel's values look like {other}"
    if likely is None:
        return None
    return (
        f"the mel's values, {mel.min():.4g} to {mel.max():.4g}, look like {likely}; this model expects "
        f"{_described(config)}"
    )


def _described(config: MelConfig) -> str:
    text = f"{config.log} of magnitudes with the floor {config.floor:g}"
    return text if config.mean is None and config.scale is None else f"{text}, then mean and scale"
