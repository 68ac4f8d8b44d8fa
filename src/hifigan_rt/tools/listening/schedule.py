"""Who hears what in which order: a function of the test and the listener's name, computed alike by the page.

`page/schedule.js` is the same in JavaScript; answers count only if their order is the one computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hifigan_rt.tools.listening.definition import Definition

T = TypeVar("T")

_MASK = (1 << 32) - 1


@dataclass(frozen=True)
class Trial:
    """One question to the listener."""

    order: tuple[str, ...]
    """Stimuli as they are shown: one (MOS), all of a clip (MUSHRA), A and B (ABX)."""
    x: str
    """ABX: which of the two X is; else empty."""


class RandomNumbers:
    """Mulberry32 (T. Ettinger 2017): 32 bits of state, so that JavaScript computes the same."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next(self) -> int:
        """Give a number from 0 to 2**32 - 1."""
        self._state = (self._state + 0x6D2B79F5) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 15)) * (mixed | 1)) & _MASK
        mixed ^= (mixed + ((mixed ^ (mixed >> 7)) * (mixed | 61))) & _MASK
        return (mixed ^ (mixed >> 14)) & _MASK

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """Fisher and Yates."""
        result = list(values)
        for last in range(len(result) - 1, 0, -1):
            other = (self.next() * (last + 1)) >> 32
            result[last], result[other] = result[other], result[last]
        return result


def seed_of(test_id: str, listener: str) -> int:
    """FNV-1a, 32 bits, of both names in ASCII."""
    state = 0x811C9DC5
    for byte in f"{test_id}/{listener}".encode("ascii"):
        state = ((state ^ byte) * 0x01000193) & _MASK
    return state


def schedule(definition: Definition, listener: str) -> tuple[Trial, ...]:
    """All trials of a listener, without the training."""
    numbers = RandomNumbers(seed_of(definition.test_id, listener))
    rows = numbers.shuffled(definition.rows)[: definition.rows_per_listener]
    if definition.mode == "mos":
        return _one_by_one(definition, rows, numbers)
    if definition.mode == "mushra":
        return tuple(Trial(tuple(numbers.shuffled(row)), "") for row in rows)
    # Sides are balanced. X is not: it is tossed for each trial, without which a guesser's score were not binomial.
    sides = numbers.shuffled([index % 2 for index in range(len(rows))])
    pairs = [row[::-1] if side else row for row, side in zip(rows, sides, strict=True)]
    return tuple(Trial(pair, pair[numbers.next() >> 31]) for pair in pairs)


def _one_by_one(definition: Definition, rows: Sequence[Sequence[str]], numbers: RandomNumbers) -> tuple[Trial, ...]:
    """Order each row at random, so that no system is mostly heard early or late."""
    trials: list[str] = []
    for row in rows:
        order = numbers.shuffled(row)
        if trials and definition.stimuli[trials[-1]] == definition.stimuli[order[0]]:
            order[0], order[-1] = order[-1], order[0]
        trials += order
    return tuple(Trial((stimulus,), "") for stimulus in trials)
