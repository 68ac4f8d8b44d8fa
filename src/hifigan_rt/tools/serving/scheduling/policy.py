"""Rules of the queue: the speed of models, how long a request may wait, and whose block is next."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.settings import ServerSettings

CALM_SECONDS = 2.0
"""Time without a refusal after which an overload is over."""

_MEMORY_BLOCKS = 50
_SHARE_SECONDS = 5.0
"""Time over which the share of urgent work is averaged."""
_MAX_CREDIT_SECONDS = 2.0
_FIRST_BLOCK_SECONDS = 0.1
"""Expected cost of a block before one was measured."""


@dataclass
class _Account:
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0


class Speed:
    """Computing seconds per audio second of each model, and the share of the processor that urgent work takes.

    Both are learnt from the blocks that were computed; a model of which nothing is known counts as infinitely fast.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._paces: dict[str, float] = {}  # computing seconds per audio second
        self._urgent_seconds = 0.0  # fading
        self._booked_at = -math.inf

    def book(self, model: str, audio_seconds: float, busy_seconds: float, now: float, *, urgent: bool) -> None:
        """Note what a block gave and took."""
        account = self._accounts.setdefault(model, _Account())
        fading = 1 - 1 / _MEMORY_BLOCKS
        account.audio_seconds = account.audio_seconds * fading + audio_seconds
        account.busy_seconds = account.busy_seconds * fading + busy_seconds
        if account.audio_seconds > 0:
            self._paces[model] = account.busy_seconds / account.audio_seconds
        self._urgent_seconds = self.urgent_share(now) * _SHARE_SECONDS + (busy_seconds if urgent else 0.0)
        self._booked_at = now

    def urgent_share(self, now: float) -> float:
        """Tell the share of the processor that urgent work took lately, 0 to about 1."""
        return self._urgent_seconds * math.exp((self._booked_at - now) / _SHARE_SECONDS) / _SHARE_SECONDS

    def x_real_time(self, model: str) -> float:
        """Tell the audio seconds per second of computing; 0 before the first block."""
        pace = self._paces.get(model, 0.0)
        return 1 / pace if pace > 0 else 0.0

    def seconds(self, model: str, audio_seconds: float) -> float:
        """Tell the expected time to compute so much audio; 0 before the first block."""
        return audio_seconds * self._paces.get(model, 0.0)


class QueueLimit:
    """Limit of the expected wait: long through a burst, short while more comes than can be computed.

    A queue that may hold 5 s of work takes bursts and clients that ask for the next utterance when they have the last.
    Under a lasting overload it would be full all the time, and everybody let in would wait those 5 s without one
    request more being answered: so the first refusal cuts the limit, the queue runs down to that, and stays there
    until nothing has been refused for `CALM_SECONDS`.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._usual = settings.max_queue_wait_seconds
        self._overloaded = min(settings.overload_queue_wait_seconds, self._usual)
        self._refused_at = -math.inf

    def seconds(self, now: float) -> float:
        """Tell how long a request that comes now may have to wait."""
        return self._overloaded if now < self._refused_at + CALM_SECONDS else self._usual

    def refused(self, now: float) -> None:
        """Note that a request was refused."""
        self._refused_at = now


class BlockOrder:
    """Order of the blocks, and the account of the time that urgent jobs have taken from the others.

    First come streams whose listeners would hear silence, the least recently served of them; then streamed responses
    that have not begun; then everything else by the computing time it still needs, less what it has waited, so that
    short requests pass long ones and nothing waits without end. While urgent streams would take the whole processor,
    the rest gets a share of it nevertheless.
    """

    def __init__(self, settings: ServerSettings, speed: Speed) -> None:
        self._settings = settings
        self._speed = speed
        self._credit = 0.0
        self._bulk_block_seconds = _FIRST_BLOCK_SECONDS
        self._bulk_waits = False

    def choose(self, jobs: Iterable[QueuedJob], now: float) -> list[QueuedJob]:
        """Choose the jobs whose blocks are computed next, together; none if no block can be computed.

        It is one job where a CPU computes one block on all cores: eight together gain 3 to 5 % on the native engine
        (docs/figures.md), and the first of them would wait for the last. It is all streams that are due, up to its
        `joined_streams`, of an engine that computes them together.
        """
        urgent: dict[int, list[QueuedJob]] = {0: [], 1: [], 2: []}
        for job in jobs:
            if job.ready():
                urgent[job.urgency(now, self._settings.urgent_lead_seconds)].append(job)
        bulk = urgent[2]
        self._bulk_waits = bool(bulk)
        if not bulk:
            self._credit = 0.0
        elif not (urgent[0] or urgent[1]) or self._credit >= self._bulk_block_seconds:
            return [min(bulk, key=self.rank)]
        if urgent[0]:
            return _with_others_of_its_engine(sorted(urgent[0], key=lambda job: job.served_at))
        return _with_others_of_its_engine(sorted(urgent[1], key=lambda job: job.waiting_since))

    def rank(self, job: QueuedJob) -> float:
        """Rank a job among what can wait, the lowest first. Differences of ranks do not change as time goes by."""
        return self._speed.seconds(job.model, job.claimed_seconds) + self._settings.ageing * job.waiting_since

    def served(self, *, urgent: bool, seconds: float) -> None:
        """Book the time that a block took."""
        if urgent:
            if self._bulk_waits:
                share = self._settings.bulk_share
                self._credit = min(self._credit + seconds * share / (1 - share), _MAX_CREDIT_SECONDS)
        else:
            self._credit = max(self._credit - seconds, 0.0)
            self._bulk_block_seconds = min(seconds, _MAX_CREDIT_SECONDS)


def _with_others_of_its_engine(jobs: list[QueuedJob]) -> list[QueuedJob]:
    """The first job, and those of the others that its engine computes together with it."""
    return [job for job in jobs if job.engine is jobs[0].engine][: jobs[0].engine.joined_streams] if jobs else []
