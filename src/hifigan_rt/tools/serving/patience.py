"""How long a request may have to wait: through a burst long, while ever more comes than can be computed briefly."""

from __future__ import annotations

import math

from hifigan_rt.tools.serving.settings import ServerSettings

CALM_SECONDS = 2.0
"""Without a refusal for so long, the overload is over."""


class Patience:
    """The wait that is still let in.

    A queue that may hold 5 s of work takes bursts and clients that ask for the next utterance when they have the last.
    Under a lasting overload it would be full all the time, and everybody let in would wait those 5 s without one
    request more being answered: so the first refusal cuts the wait, the queue runs down to that, and stays there
    until nothing has been refused for `CALM_SECONDS`.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Start without an overload."""
        self._usual = settings.max_queue_wait_seconds
        self._overloaded = min(settings.overload_queue_wait_seconds, self._usual)
        self._refused_at = -math.inf

    def seconds(self, now: float) -> float:
        """How long a request may have to wait that comes now."""
        return self._overloaded if now < self._refused_at + CALM_SECONDS else self._usual

    def refused(self, now: float) -> None:
        """A request came that was not let in."""
        self._refused_at = now
