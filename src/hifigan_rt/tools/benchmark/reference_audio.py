"""The SNR of what a candidate computed, against the float64 reference, at a bounded cost.

Long and batched cases are compared over two pieces: the loudest frames of the first clip and the last frames of the
last one. (The first frames are silence more often than not, against which any rounding is large.) The reference runs
each with the context that can reach it, so that the pieces are exact and not approximations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.reference import generate
from hifigan_rt.graph import Generator

_MACS_OF_PIECE = 5e9
"""A few seconds of the reference's time."""
_LEAST_FRAMES = 16
"""Enough samples for a ratio (4096 of V1), however heavy the model is."""


@dataclass(frozen=True)
class Piece:
    """Frames [start, end) of one clip, computed together with the frames [first, last) around them."""

    item: int
    start: int
    end: int
    first: int
    last: int


class ReferenceAudio:
    """The reference for many cases; pieces that cases share are computed once."""

    def __init__(self, generator: Generator, conditioning: np.ndarray | None = None) -> None:
        """Prepare it.

        Args:
            generator: the model's.
            conditioning: what it takes beside a mel, as `Engine.run` does for a batch of one.
        """
        self._generator = generator
        given = ConditioningRule.of_generator(generator).check(conditioning, 1)
        self._vector = None if given is None else given[0]
        frames = int(_MACS_OF_PIECE / generator.graph.macs_per_frame)
        self.piece_frames = max(_LEAST_FRAMES, frames)
        self._known: dict[tuple[bytes, int, int | None], np.ndarray] = {}

    def is_partial(self, frames: int) -> bool:
        """Whether clips of so many frames are compared at their ends only."""
        return frames > 2 * self.piece_frames

    def pieces(self, mel: np.ndarray) -> list[Piece]:
        """What is compared of a batch `[B, M, T]`."""
        batch, frames = mel.shape[0], mel.shape[2]
        if not self.is_partial(frames):
            return [Piece(item, 0, frames, 0, frames) for item in sorted({0, batch - 1})]
        reach = self._generator.graph.receptive_field

        def piece(item: int, start: int) -> Piece:
            end = start + self.piece_frames
            return Piece(item, start, end, max(0, start - reach.left_frames), min(frames, end + reach.right_frames))

        return [piece(0, _loudest(mel[0], self.piece_frames)), piece(batch - 1, frames - self.piece_frames)]

    def compute(self, mel: np.ndarray) -> list[tuple[Piece, np.ndarray]]:
        """Float64 `[N]` of every piece of a batch `[B, M, T]`."""
        return [(piece, self._audio(mel[piece.item], piece)) for piece in self.pieces(mel)]

    def _audio(self, mel: np.ndarray, piece: Piece) -> np.ndarray:
        crop = np.ascontiguousarray(mel[:, piece.first : piece.last])
        hop_length = self._generator.graph.hop_length
        start = (piece.start - piece.first) * hop_length
        # The end of a clip may give more samples than a hop, where a kernel minus its rate is odd.
        end = None if piece.end == mel.shape[1] else (piece.end - piece.first) * hop_length
        key = crop.tobytes(), start, end
        if key not in self._known:
            self._known[key] = generate(self._generator, crop, self._vector)[start:end]
        return self._known[key]

    def snr_db(self, expected: list[tuple[Piece, np.ndarray]], audio: np.ndarray) -> float | None:
        """Compare the output `[B, N]` with what `compute` gave; None if it has another shape, or equals it exactly."""
        starts = [(piece.item, piece.start * self._generator.graph.hop_length) for piece, _ in expected]
        found = [
            audio[item, start : start + len(part)] for (item, start), (_, part) in zip(starts, expected, strict=True)
        ]
        if [part.shape for part in found] != [part.shape for _, part in expected]:
            return None
        ratio = snr_db(np.concatenate([part for _, part in expected]), np.concatenate(found))
        return ratio if math.isfinite(ratio) else None

    def describe(self) -> str:
        """What the figure covers, for the notes of a result."""
        return (
            f"SNR: against the float64 reference, of mels above {2 * self.piece_frames} frames over the "
            f"{self.piece_frames} loudest frames of the first clip and the last {self.piece_frames} of the last one, "
            "otherwise over the whole first and last clip."
        )


def _loudest(mel: np.ndarray, frames: int) -> int:
    """First frame of the loudest so many frames in a row of a log-mel `[M, T]`."""
    sums = np.concatenate([[0.0], np.cumsum(np.exp(mel.astype(np.float64)).sum(axis=0))])
    return int(np.argmax(sums[frames:] - sums[:-frames]))
