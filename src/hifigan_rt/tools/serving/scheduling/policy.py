"""What the queue learns: the speed of models, and how long a request may wait."""

from __future__ import annotations

import math
from collections import defaultdict

from hifigan_rt.tools.serving.scheduling.clients import WINDOW_SECONDS
from hifigan_rt.tools.serving.settings import ServerSettings

CALM_SECONDS = 2.0
"""Time without a refusal after which an overload is over."""

_MEMORY_BLOCKS = 50
_BLOCK_PENALTY = 0.01
_KNOWN_BLOCKS = 10
_MOST_TIMES_EXPECTED = 10


class _BlockCosts:
    """Computing seconds of a model's blocks: some for each block, and some for each second of its audio.

    A block of one frame costs more than its part of a long one, since all weights are read for it; so one figure for
    both lets many small requests pass as quick, and then counts long ones as slow. The two are fitted by least squares
    to blocks that fade. Blocks of one length cannot tell them apart: the penalty gives such blocks' time to their
    audio.
    """

    def __init__(self) -> None:
        self._blocks = self._audio = self._audio_squared = self._busy = self._all_busy = self._audio_busy = 0.0
        self.per_block = self.per_audio_second = self.x_real_time = 0.0

    def book(self, audio_seconds: float, busy_seconds: float) -> None:
        """Note what a block gave and took."""
        fading = 1 - 1 / _MEMORY_BLOCKS
        self._audio = self._audio * fading + audio_seconds
        self._all_busy = self._all_busy * fading + busy_seconds
        if self._blocks > _KNOWN_BLOCKS:
            # One short block in a moment in which the machine stood still would make all short ones count as slow.
            expected = self.per_block + audio_seconds * self.per_audio_second
            busy_seconds = min(busy_seconds, _MOST_TIMES_EXPECTED * expected)
        self._blocks = self._blocks * fading + 1
        self._audio_squared = self._audio_squared * fading + audio_seconds**2
        self._busy = self._busy * fading + busy_seconds
        self._audio_busy = self._audio_busy * fading + audio_seconds * busy_seconds
        if not self._audio:
            return
        blocks = self._blocks * (1 + _BLOCK_PENALTY)
        determinant = blocks * self._audio_squared - self._audio**2
        fitted = (self._audio_squared * self._busy - self._audio * self._audio_busy) / determinant
        self.per_block = min(max(fitted, 0.0), self._busy / self._blocks)
        self.per_audio_second = (self._busy - self.per_block * self._blocks) / self._audio
        self.x_real_time = self._audio / self._all_busy if self._all_busy > 0 else 0.0


class Speed:
    """Computing seconds of each model's blocks, and the share of the processor that live streams take.

    Both are learnt from the blocks that were computed; a model of which nothing is known counts as infinitely fast.
    """

    def __init__(self) -> None:
        self._costs: defaultdict[str, _BlockCosts] = defaultdict(_BlockCosts)
        self._urgent_seconds = 0.0  # fading
        self._booked_at = -math.inf

    def book(self, model: str, audio_seconds: float, busy_seconds: float) -> None:
        """Note what a block gave and took; its part by its length if several blocks were computed together."""
        self._costs[model].book(audio_seconds, busy_seconds)

    def book_urgent(self, audio_seconds: float, busy_seconds: float, now: float, waited_seconds: float | None) -> None:
        """Note a block among those of live streams.

        Args:
            audio_seconds: that it gave.
            busy_seconds: that it took, if a listener waited for it; its part if several were computed together.
            now: when it was done.
            waited_seconds: from when it could be computed, of a block that cost others hardly anything, since many are
                computed together; None if each has its own price.
        """
        if waited_seconds is not None and waited_seconds < audio_seconds:
            # Turns follow one another however few streams they join. What tells how full such an engine is, is how much
            # of a block's audio could be played until it is there.
            busy_seconds *= waited_seconds / audio_seconds
        self._urgent_seconds = self.urgent_share(now) * WINDOW_SECONDS + busy_seconds
        self._booked_at = now

    def urgent_share(self, now: float) -> float:
        """Tell the share of the processor that live streams took lately to stay ahead of their listeners, 0 to 1."""
        return self._urgent_seconds * math.exp((self._booked_at - now) / WINDOW_SECONDS) / WINDOW_SECONDS

    def x_real_time(self, model: str) -> float:
        """Tell the audio seconds per second of computing; 0 before the first block."""
        return self._costs[model].x_real_time

    def seconds(self, model: str, audio_seconds: float, blocks: float) -> float:
        """Tell the expected time to compute so much audio in so many blocks; 0 before the first block."""
        costs = self._costs[model]
        return blocks * costs.per_block + audio_seconds * costs.per_audio_second


class QueueLimit:
    """Limit of the expected wait: long through a burst, short for whoever sends more than can be computed.

    A queue that may hold 5 s of work takes bursts and clients that ask for the next utterance when they have the last.
    Under a lasting overload it would be full all the time, and everybody let in would wait those 5 s without one
    request more being answered: so a refusal cuts the limit of the client that was refused, until nothing of it has
    been refused for `CALM_SECONDS`. Others keep theirs.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._usual = settings.max_queue_wait_seconds
        self._overloaded = min(settings.overload_queue_wait_seconds, self._usual)
        self._calm_at: dict[str, float] = {}

    def seconds(self, client: str, now: float) -> float:
        """Tell how long a client's request that comes now may have to wait."""
        return self._overloaded if now < self._calm_at.get(client, -math.inf) else self._usual

    def refused(self, client: str, now: float) -> None:
        """Note that a client's request was refused."""
        if client not in self._calm_at:
            self._calm_at = {name: calm_at for name, calm_at in self._calm_at.items() if now < calm_at}
        self._calm_at[client] = now + CALM_SECONDS
