"""Whose block is computed next.

First come streams whose listeners would hear silence, the least recently served of them; then streamed responses that
have not begun; then everything else by the computing time it still needs, less what it has waited, so that short
requests pass long ones and nothing waits for ever. While urgent streams would take the whole processor, the rest gets a
share of it nevertheless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.work import Work

_MAX_CREDIT_SECONDS = 2.0
_FIRST_BLOCK_SECONDS = 0.1
"""What a block is taken to cost before one was measured."""


class Ordering:
    """The order of works, and the account of the time that urgent ones have taken from the others."""

    def __init__(self, settings: ServerSettings, claimed_seconds: Callable[[Work], float]) -> None:
        """Start with nothing owed.

        Args:
            settings: the share, the lead and the ageing.
            claimed_seconds: how long what counts for a work's rank is expected to take.
        """
        self._settings = settings
        self._claimed_seconds = claimed_seconds
        self._credit = 0.0
        self._bulk_block_seconds = _FIRST_BLOCK_SECONDS
        self._bulk_waits = False

    def choose(self, works: Iterable[Work], now: float) -> Work | None:
        """The work whose block is next; None if none can be computed."""
        urgent: dict[int, list[Work]] = {0: [], 1: [], 2: []}
        for work in works:
            if work.ready():
                urgent[work.urgency(now, self._settings.urgent_lead_seconds)].append(work)
        bulk = urgent[2]
        self._bulk_waits = bool(bulk)
        if not bulk:
            self._credit = 0.0
        elif not (urgent[0] or urgent[1]) or self._credit >= self._bulk_block_seconds:
            return min(bulk, key=self.score)
        if urgent[0]:
            return min(urgent[0], key=lambda work: work.served_at)
        return min(urgent[1], key=lambda work: work.waiting_since, default=None)

    def score(self, work: Work) -> float:
        """The rank among what can wait, the lowest first. Its differences do not change as time goes by."""
        return self._claimed_seconds(work) + self._settings.ageing * work.waiting_since

    def served(self, *, urgent: bool, seconds: float) -> None:
        """Book the time that a block took."""
        if urgent:
            if self._bulk_waits:
                share = self._settings.bulk_share
                self._credit = min(self._credit + seconds * share / (1 - share), _MAX_CREDIT_SECONDS)
        else:
            self._credit = max(self._credit - seconds, 0.0)
            self._bulk_block_seconds = min(seconds, _MAX_CREDIT_SECONDS)
