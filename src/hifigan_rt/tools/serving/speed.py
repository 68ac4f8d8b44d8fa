"""How fast this server computes, learnt from the blocks it has computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MEMORY_BLOCKS = 50
_SHARE_SECONDS = 5.0
"""A share is that of about so many seconds."""


@dataclass
class _Account:
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0


class Speed:
    """Audio seconds per second of computing, per model; and what share of the processor urgent work takes."""

    def __init__(self) -> None:
        """Start with nothing known: what is not known is taken for infinitely fast."""
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
        """What urgent work has taken of the processor lately, 0 to about 1."""
        return self._urgent_seconds * math.exp((self._booked_at - now) / _SHARE_SECONDS) / _SHARE_SECONDS

    def x_real_time(self, model: str) -> float | None:
        """Lately; None before the first block."""
        pace = self._paces.get(model, 0.0)
        return 1 / pace if pace > 0 else None

    def seconds(self, model: str, audio_seconds: float) -> float:
        """To compute so much audio; 0 before the first block."""
        return audio_seconds * self._paces.get(model, 0.0)
