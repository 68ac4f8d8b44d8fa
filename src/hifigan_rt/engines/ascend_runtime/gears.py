"""Covers a mel of any length with the few lengths ("gears") that an .om was converted for.

A window of gear length computes the same samples as the whole mel would, except near an end where it was cut off and
frames are missing. So windows overlap by the receptive field, each keeps the samples whose frames it all has, and the
first begins where the mel begins and the last ends where it ends: nothing is padded there, and every sample is exact.
Only a mel shorter than the shortest gear has to be padded, which changes its last samples.

A model of open lengths takes each length up to LONGEST_OPEN as it is, so that only longer mels have windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hifigan_rt.errors import EngineError
from hifigan_rt.graph import Graph

LONGEST_OPEN = 2000
"""Frames of the longest window of a model of open lengths: what it computes at once takes the device's memory."""


@dataclass(frozen=True)
class Window:
    """One run of one gear."""

    start_frame: int
    gear: int
    """Frames that are computed, from `start_frame`."""
    first_sample: int
    end_sample: int
    """The samples of the whole that this window gives, counted from the start of the mel, end exclusive."""

    def cut(self, audio: np.ndarray, hop_length: int) -> np.ndarray:
        """The samples that this window gives, of what was computed for it; the last axis is time."""
        offset = self.start_frame * hop_length
        return audio[..., self.first_sample - offset : self.end_sample - offset]


@dataclass(frozen=True)
class WindowPlan:
    """The runs that give all samples of one mel, in order and without gaps."""

    windows: tuple[Window, ...]
    inexact_tail_frames: int = 0
    """Frames at the end whose samples the padding changes; 0 unless the mel is shorter than the shortest gear."""


def needed_overlap(graph: Graph) -> int:
    """Frames by which two windows must overlap so that each sample is exact in one of them (V1: 26)."""
    reach = graph.receptive_field
    # The later window is exact from (start - 1) * hop + last_sample + 1 on, the earlier one up to
    # end * hop + first_sample; a frame reaches less than a hop of samples only in networks without context.
    samples = reach.last_sample + 1 - reach.first_sample - graph.hop_length
    return max(0, -(-samples // graph.hop_length))


@lru_cache(maxsize=4096)
def plan_windows(frames: int, gears: tuple[int, ...], graph: Graph) -> WindowPlan:
    """Choose the windows of least work.

    Args:
        frames: T of the mel, at least 1.
        gears: the lengths that can be run, ascending, without duplicates.
        graph: tells hop length, receptive field and output length.

    Raises:
        EngineError: the gears that are no longer than the mel are too short to hold the context of a sample.
    """
    samples = graph.output_length(frames)
    if frames < gears[0]:
        changed_from = max(0, frames * graph.hop_length + graph.receptive_field.first_sample)
        tail = frames - min(frames, changed_from // graph.hop_length)
        return WindowPlan((Window(0, gears[0], 0, samples),), tail)
    lengths = _choose_lengths(frames, gears, needed_overlap(graph))
    starts = _place(frames, lengths, needed_overlap(graph))
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    cuts = [0, *(_cut(end, start, graph) for end, start in zip(ends, starts[1:], strict=False)), samples]
    return WindowPlan(
        tuple(
            Window(start, length, first, end)
            for start, length, first, end in zip(starts, lengths, cuts, cuts[1:], strict=False)
        )
    )


def _choose_lengths(frames: int, gears: Sequence[int], overlap: int) -> list[int]:
    """The multiset of gears with the least sum, and of those the fewest, that covers `frames`; longest first.

    n windows cover sum(gear) - (n - 1) * overlap frames. Their sum is least where n * overlap and what they cover
    beyond `frames` are least together, so the numbers of windows are tried upwards until one more overlap alone costs
    more than the best found.
    """
    if frames in gears:
        return [frames]
    usable = [gear for gear in gears if gear < frames]
    longest, shortest = usable[-1], next((gear for gear in usable if gear > overlap), None)
    if shortest is None:
        raise EngineError(
            f"a mel of {frames} frames cannot be computed by gears of {', '.join(map(str, usable))} frames: a sample "
            f"needs {overlap} frames around it, so a gear must be longer than that; convert the model with a gear of "
            f"{overlap + 1} to {frames} frames"
        )
    needed = frames - overlap
    shortenings = [longest - gear for gear in usable if overlap < gear < longest]
    fewest, most = -(-needed // (longest - overlap)), -(-needed // (shortest - overlap))
    best: list[int] | None = None
    best_excess = 0
    for count in range(fewest, most + 1):
        if best is not None and count * overlap >= best_excess:
            break
        spare = count * (longest - overlap) - needed
        chosen = _largest_sum(shortenings, count, spare)
        excess = spare - sum(chosen) + count * overlap
        if best is None or excess < best_excess:
            best_excess = excess
            best = [longest] * (count - len(chosen)) + sorted((longest - value for value in chosen), reverse=True)
    return best or []


def _largest_sum(values: Sequence[int], count: int, limit: int) -> list[int]:
    """Choose at most `count` of `values`, each any number of times, with the largest sum up to `limit`."""
    mask = (1 << (limit + 1)) - 1
    # Bit s of reachable[n] is set if n or fewer values can sum to s.
    reachable = [1]
    while len(reachable) <= count and not reachable[-1] >> limit:
        sums = reachable[-1]
        for value in values:
            sums |= reachable[-1] << value
        sums &= mask
        if sums == reachable[-1]:
            break
        reachable.append(sums)
    total = reachable[-1].bit_length() - 1
    chosen = []
    for sums in reversed(reachable[:-1]):
        if sums >> total & 1:
            continue
        value = next(value for value in values if value <= total and sums >> (total - value) & 1)
        chosen.append(value)
        total -= value
    return chosen


def _place(frames: int, lengths: Sequence[int], overlap: int) -> list[int]:
    """First frames of the windows: the first at 0, the last ending at `frames`, what is too much spread evenly."""
    joints = len(lengths) - 1
    spare = sum(lengths) - joints * overlap - frames
    starts, end = [0], lengths[0]
    for joint, length in enumerate(lengths[1:]):
        share = spare * (joint + 1) // joints - spare * joint // joints
        starts.append(end - overlap - share)
        end = starts[-1] + length
    return starts


def _cut(end_frame: int, start_frame: int, graph: Graph) -> int:
    """The sample at which a window that ends at `end_frame` gives way to one that starts at `start_frame`."""
    hop, reach = graph.hop_length, graph.receptive_field
    exact_from = (start_frame - 1) * hop + reach.last_sample + 1
    exact_until = end_frame * hop + reach.first_sample
    return (exact_from + exact_until) // 2
