"""Several signals in one row of frames, with silent frames between them: what a GPU computes together.

A row has one of a few lengths, so that a CUDA graph is there for nearly every call. Each signal comes out as it would
alone if the rows beside it are zero at the input of every layer: `Layout` says which these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifigan_rt.graph import MEL, Graph, Layer

MAX_ROW_FRAMES = 1300
"""Frames up to which signals are joined: longer rows are no faster per frame, on an H100."""

_MAX_MULTIPLE = 16
_FRAMES_PER_SIGNAL = 40
"""A row has room for one signal in so many frames: a stream's window of V1 has 42, and 4 between them."""


@dataclass(frozen=True)
class Level:
    """The values of one resolution: between two upsamplings."""

    rate: int
    """Rows per frame."""
    extra: int
    """Rows that a signal has beyond that, behind upsamplings whose kernel - rate is odd."""
    before: int
    """Rows before a signal that its own rows read in the layers to come."""
    after: int
    """Rows after a signal that its own rows read in the layers to come."""


@dataclass(frozen=True)
class Place:
    """Where a signal lies in a row, in frames."""

    signal: int
    """Its index in the list of signals."""
    start: int
    end: int


def levels_of(graph: Graph) -> tuple[list[Level], dict[str, int]]:
    """The levels, and which of them each value belongs to, by the value's name."""
    of_value, rates, rows = {MEL: 0}, [1], [1]
    for layer in graph.layers:
        level = of_value[layer.inputs[0]]
        if layer.kind == "conv_transpose":
            level += 1
            rates.append(rates[-1] * layer.stride)
            rows.append(layer.output_length(rows[-1]))
        of_value[layer.name] = level
    before, after = [0] * len(rates), [0] * len(rates)
    for layer in graph.layers:
        level = of_value[layer.inputs[0]]
        reads = _reads(layer)
        before[level], after[level] = max(before[level], reads[0]), max(after[level], reads[1])
    levels = [
        Level(rate, length - rate, *reads)
        for rate, length, reads in zip(rates, rows, zip(before, after, strict=True), strict=True)
    ]
    return levels, of_value


def can_be_joined(graph: Graph) -> bool:
    """Whether signals in one row come out as alone: all ends are zeros, and nothing differs from signal to signal."""
    levels, _ = levels_of(graph)
    plain = all(layer.padding_mode == "zeros" and layer.conditioning is None for layer in graph.layers)
    return plain and all(level.extra >= 0 for level in levels)


def folding(graph: Graph) -> tuple[frozenset[str], int]:
    """Names of the dilated layers that can always see their rows `dilation` abreast, and what makes that so: the number
    that row lengths are a multiple of."""
    levels, of_value = levels_of(graph)
    needs = {}
    for layer in graph.layers:
        level = levels[of_value[layer.inputs[0]]]
        left, right = layer.padding
        even = left == right and left % layer.dilation == 0 and layer.padding_mode == "zeros"
        if layer.dilation > 1 and level.extra == 0 and even:
            needs[layer.name] = layer.dilation // math.gcd(layer.dilation, level.rate)
    multiple = math.lcm(*needs.values())
    return (frozenset(needs), multiple) if multiple <= _MAX_MULTIPLE else (frozenset(), 1)


class Layout:
    """Lays signals out in rows."""

    def __init__(self, graph: Graph, max_frames: int = MAX_ROW_FRAMES) -> None:
        """Work out how far apart signals must lie.

        Args:
            graph: tells how far each layer reads.
            max_frames: frames up to which signals are joined; a longer signal has a row of its own.
        """
        self.levels, _ = levels_of(graph)
        self.num_mels = graph.num_mels
        self.max_frames = max_frames
        self.gap = max(math.ceil((level.extra + max(level.before, level.after)) / level.rate) for level in self.levels)
        _, self._multiple = folding(graph)

    def row_frames(self, frames: int) -> int:
        """The next row length above so many frames, by at most a sixteenth: one frame at least stays silent."""
        units = frames // self._multiple + 1
        step = 1 << max(0, units.bit_length() - 5)
        return -(-units // step) * step * self._multiple

    def rows(self, lengths: Sequence[int], borders: Sequence[bool] | None = None) -> list[list[Place]]:
        """Share signals of these lengths out to rows of about equal length, in order.

        Args:
            lengths: in frames.
            borders: whether a signal may lie next to the one before it, since nobody wants what is next to the border.
        """
        total = sum(max(length + self.gap, _FRAMES_PER_SIGNAL) for length in lengths)
        enough = total / math.ceil(total / self.max_frames)
        rows: list[list[Place]] = []
        for signal, length in enumerate(lengths):
            row = rows[-1] if rows else []
            gap = 0 if borders is not None and borders[signal] else self.gap
            start = row[-1].end + gap if row else 0
            used, then = self._needed_frames(start, len(row)), self._needed_frames(start + length, len(row) + 1)
            if not row or used >= enough or then > self.max_frames:
                start = 0
                rows.append([])
            rows[-1].append(Place(signal, start, start + length))
        return rows

    def spans(self, row: Sequence[Place]) -> list[tuple[int, int]]:
        """First frame and end of what has silence on both sides: signals, or several next to one another."""
        spans: list[tuple[int, int]] = []
        for place in row:
            if spans and spans[-1][1] == place.start:
                spans[-1] = (spans[-1][0], place.end)
            else:
                spans.append((place.start, place.end))
        return spans

    def length_of(self, row: Sequence[Place]) -> int:
        """The row length for these signals."""
        return self.row_frames(self._needed_frames(row[-1].end, len(row)))

    def silent_rows(self, row: Sequence[Place]) -> np.ndarray:
        """Rows that must be zero, int64: those of the first level, then those of the next, `silent_counts` of each."""
        frames = self.length_of(row)
        spans = np.array(self.spans(row))
        starts, ends = spans[:, :1], spans[:, 1:]
        spare = self._max_signals(frames) - len(spans)
        parts = []
        for level in self.levels:
            # A row beyond either end is named by the last one, which is silent in any case.
            last = frames * level.rate + level.extra - 1
            before = starts * level.rate - np.arange(1, level.before + 1)
            after = ends * level.rate + level.extra + np.arange(level.after)
            parts += [np.where(before < 0, last, before).ravel(), np.minimum(after, last).ravel()]
            parts.append(np.full(spare * (level.before + level.after), last))
        return np.concatenate(parts)

    def silent_counts(self, row_frames: int) -> list[int]:
        """How many rows of each level `silent_rows` names in a row of this length."""
        return [self._max_signals(row_frames) * (level.before + level.after) for level in self.levels]

    def kept_frames(self, row: Sequence[Place]) -> np.ndarray:
        """Which frames of a row belong to a signal, bool `[F]`."""
        kept = np.zeros(self.length_of(row), bool)
        for place in row:
            kept[place.start : place.end] = True
        return kept

    def samples(self, place: Place) -> slice:
        """The samples of a signal in a row's audio."""
        level = self.levels[-1]
        return slice(place.start * level.rate, place.end * level.rate + level.extra)

    def _max_signals(self, row_frames: int) -> int:
        return row_frames // _FRAMES_PER_SIGNAL + 1

    def _needed_frames(self, end: int, signals: int) -> int:
        return max(end, _FRAMES_PER_SIGNAL * (signals - 1))


def _reads(layer: Layer) -> tuple[int, int]:
    """Rows outside a signal that its rows behind the layer read: before its first one and after its last."""
    left, right = layer.padding
    if layer.kind == "conv":
        return left, right
    after = max((left + right) // layer.stride, (layer.span - right) // layer.stride)
    return (layer.span - left) // layer.stride + 1, after + 1
