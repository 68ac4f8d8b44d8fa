"""Runs candidates in strict rotation, one inference each per round, and watches what else used the processors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hifigan_rt.tools.benchmark.cpu_usage import MachineCpu, machine_cpu, used_by_others

QUIET_BELOW = 0.06
"""A round is quiet when others used less than this share of all processors."""

LEAST_QUIET_ROUNDS = 3
"""Least number of quiet rounds; with fewer, all rounds are used, and the table says so."""

SETTLE_SECONDS = 0.02
"""Pause between two candidates: the threads of the last one may still spin for work."""


class CandidateFailed(Exception):
    """A worker answered with an error, or died."""


class Turn(Protocol):
    """What a rotation needs of a candidate."""

    def run(self) -> tuple[float, float]:
        """One inference: its seconds, and the processor seconds that the process has used so far."""


@dataclass
class Rounds:
    """What the rotation saw: times by candidate, all of one length, and the share of others in each round."""

    seconds: dict[str, list[float]]
    processor_seconds: dict[str, list[float]] = field(default_factory=dict)
    """What the same runs took of the processors, by candidate."""
    others: list[float | None] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Whole rounds that count; after an interruption some candidates may have one more time."""
        return len(self.others)

    def quiet(self) -> list[int]:
        """Indices of the quiet rounds; all of them where the system does not tell."""
        return [index for index, share in enumerate(self.others) if share is None or share < QUIET_BELOW]


def chosen_rounds(others: Sequence[float | None], least: int = LEAST_QUIET_ROUNDS) -> tuple[list[int], str]:
    """The rounds that count, and what they are called: "quiet", or "all" where fewer than `least` were quiet."""
    quiet = [index for index, share in enumerate(others) if share is not None and share < QUIET_BELOW]
    if len(quiet) >= least:
        return quiet, "quiet"
    return list(range(len(others))), "all"


def rotate(
    turns: Mapping[str, Turn],
    wanted_quiet_rounds: int,
    max_seconds: float,
    *,
    min_rounds: int = 3,
    warm_up: int = 1,
    most_rounds: int | None = None,
    rounds: Rounds | None = None,
    after_round: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], MachineCpu | None] = machine_cpu,
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_SECONDS),
) -> Rounds:
    """Run whole rounds until enough were quiet, there are `most_rounds`, or the time is up; but at least `min_rounds`.

    A candidate that fails is left out from then on, and its times are dropped: a ratio needs both in every round.

    Args:
        turns: the candidates by name, in the order of each round.
        wanted_quiet_rounds: enough.
        max_seconds: for all rounds, warm-up included.
        min_rounds: that are run however late it is.
        warm_up: rounds before the first that counts.
        most_rounds: that are run however disturbed they were; None sets no limit.
        rounds: what the rotation sees is put there, so that an interruption leaves what was seen.
        after_round: called after each round with the number of rounds that count so far.
        clock, cpu, settle: replaced by tests.
    """
    result = Rounds({}) if rounds is None else rounds
    result.seconds.update({name: [] for name in turns})
    result.processor_seconds.update({name: [] for name in turns})
    own = dict.fromkeys(turns, 0.0)
    alive = dict(turns)
    start = clock()
    for number in range(-warm_up, sys.maxsize):
        enough = len(result.quiet()) >= wanted_quiet_rounds or clock() - start >= max_seconds or number == most_rounds
        if (number >= min_rounds and enough) or not alive:
            return result
        before, own_before = cpu(), sum(own[name] for name in alive)
        own_parent = time.process_time()
        for name in list(alive):
            settle()
            try:
                seconds, used_so_far = alive[name].run()
            except CandidateFailed as error:
                result.failures[name] = str(error)
                own_before -= own[name]
                del alive[name], result.seconds[name], result.processor_seconds[name]
                continue
            if number >= 0:
                result.seconds[name].append(seconds)
                result.processor_seconds[name].append(used_so_far - own[name])
            own[name] = used_so_far
        if number >= 0:
            used = sum(own[name] for name in alive) - own_before + time.process_time() - own_parent
            # Before their first turn, nobody knows what the candidates have used for loading.
            result.others.append(used_by_others(before, cpu(), used) if number > -warm_up else None)
        after_round(max(0, number + 1))
    raise AssertionError("the loop has no other end")
