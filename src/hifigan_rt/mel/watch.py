"""Watches the frames of a stream for padding and for another convention, whatever the sizes of its pushes."""

from __future__ import annotations

import math

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.mel.check import CONVENTION_FRAMES, diagnose
from hifigan_rt.mel.padding import LOOKS_LIKE_PADDING, describe_padding, flat_above, flat_frames


class MelWatch:
    """What is odd about one signal, each kind told once.

    The first pushes are judged by themselves, for what shows at once, and all together when there are enough of them or
    the signal ends.
    """

    def __init__(self, config: MelConfig) -> None:
        self._config = config
        self._beginning: list[np.ndarray] | None = []
        self._frames = 0
        self._flat = 0
        self._lowest = 0.0
        """Lowest value of the beginning, at most 0, above which no convention has its silence: until the beginning is
        judged, frames that are flat and no higher may be silence."""

    def push(self, mel: np.ndarray, *, may_be_flat: bool = True) -> str | None:
        """Take checked frames, float32 `[M, F]`, which are copied; give a finding or None.

        Args:
            mel: the frames.
            may_be_flat: what `may_have_flat_frames` says of them, where it was asked about many at once.
        """
        if mel.shape[1] == 0:
            return None
        if not may_be_flat and self._beginning is None:
            self._frames += mel.shape[1]
            return None
        first, self._frames = self._frames, self._frames + mel.shape[1]
        if self._beginning is not None:
            self._lowest = min(self._lowest, float(mel.min()))
        finding = self._padding(mel, first)
        if self._beginning is None:
            return finding
        if finding is None:
            finding = self._without_padding(mel)
        self._beginning.append(mel.copy())
        if finding is None and self._frames >= CONVENTION_FRAMES:
            return self.finish()
        if finding is not None:
            self._beginning = None
        return finding

    def finish(self) -> str | None:
        """Judge a signal that has ended before there were enough frames; give a finding or None."""
        beginning, self._beginning = self._beginning, None
        if not beginning:
            return None
        finding = diagnose(np.concatenate(beginning, axis=1), self._config)
        if finding is None:
            self._lowest = -math.inf
        elif LOOKS_LIKE_PADDING in finding:
            self._flat = 2  # told
        return finding

    def _without_padding(self, mel: np.ndarray) -> str | None:
        flat = flat_frames(mel, self._config)
        judged = mel if flat is None else np.delete(mel, flat, axis=1)
        return diagnose(judged, self._config) if judged.size else None

    def _padding(self, mel: np.ndarray, first: int) -> str | None:
        if self._flat >= 2:
            return None
        flat = flat_frames(mel, self._config)
        if flat is None:
            return None
        flat = flat_above(mel, flat, self._lowest)
        self._flat += len(flat)
        if self._flat < 2 or not len(flat):
            return None
        return f"the mel's {describe_padding(mel, flat, self._config, first)}"
