"""What the queue learns: the speed of models, and how long a request may wait."""

from __future__ import annotations

import math

from hifigan_rt.tools.serving.scheduling.clients import WINDOW_SECONDS
from hifigan_rt.tools.serving.settings import ServerSettings

CALM_SECONDS = 2.0
"""Time without a refusal after which an overload is over."""

_MEMORY_BLOCKS = 50


class Speed:
    """Computing seconds per audio second of each model, and the share of the processor that live streams take.

    Both are learnt from the blocks that were computed; a model of which nothing is known counts as infinitely fast.
    """

    def __init__(self) -> None:
        self._booked: dict[str, tuple[float, float]] = {}  # audio seconds and computing seconds; fading
        self._urgent_seconds = 0.0  # fading
        self._booked_at = -math.inf

    def book(
        self,
        model: str,
        audio_seconds: float,
        busy_seconds: float,
        now: float,
        *,
        urgent: bool,
        waited_seconds: float | None = None,
    ) -> None:
        """Note what a block gave and took.

        Args:
            model: whose block it was.
            audio_seconds: that it gave.
            busy_seconds: that it took; its part of them if several blocks were computed together.
            now: when it was done.
            urgent: whether a listener waited for it.
            waited_seconds: from when it could be computed, of a block that cost others hardly anything, since many are
                computed together; None if each has its own price.
        """
        audio, busy = self._booked.get(model, (0.0, 0.0))
        fading = 1 - 1 / _MEMORY_BLOCKS
        self._booked[model] = audio * fading + audio_seconds, busy * fading + busy_seconds
        if waited_seconds is not None and waited_seconds < audio_seconds:
            # Turns follow one another however few streams they join. What tells how full such an engine is, is how much
            # of a block's audio could be played until it is there.
            busy_seconds *= waited_seconds / audio_seconds
        self._urgent_seconds = self.urgent_share(now) * WINDOW_SECONDS + (busy_seconds if urgent else 0.0)
        self._booked_at = now

    def urgent_share(self, now: float) -> float:
        """Tell the share of the processor that live streams took lately to stay ahead of their listeners, 0 to 1."""
        return self._urgent_seconds * math.exp((self._booked_at - now) / WINDOW_SECONDS) / WINDOW_SECONDS

    def x_real_time(self, model: str) -> float:
        """Tell the audio seconds per second of computing; 0 before the first block."""
        audio, busy = self._booked.get(model, (0.0, 0.0))
        return audio / busy if busy > 0 else 0.0

    def seconds(self, model: str, audio_seconds: float) -> float:
        """Tell the expected time to compute so much audio; 0 before the first block."""
        audio, busy = self._booked.get(model, (0.0, 0.0))
        return audio_seconds * (busy / audio) if audio > 0 else 0.0


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
