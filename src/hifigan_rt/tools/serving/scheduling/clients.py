"""Clients that share the server: what each has used lately, and what part of a limit it may take."""

from __future__ import annotations

import math
from collections import Counter

WINDOW_SECONDS = 5.0
"""Time over which the use of the processor is averaged."""

_MAX_REMEMBERED = 1000
_FORGOTTEN_SECONDS = 0.001


class ClientUse:
    """Computing seconds that each client has used lately; they fade within `WINDOW_SECONDS`."""

    def __init__(self) -> None:
        self._booked: dict[str, tuple[float, float]] = {}  # seconds, and when

    def book(self, client: str, seconds: float, now: float) -> None:
        """Add computing seconds to what a client has used."""
        self._booked[client] = (self.seconds(client, now) + seconds, now)
        if len(self._booked) > _MAX_REMEMBERED:
            self._booked = {
                client: booked for client, booked in self._booked.items()
                if self.seconds(client, now) > _FORGOTTEN_SECONDS
            }  # fmt: skip

    def seconds(self, client: str, now: float) -> float:
        """Tell the computing seconds, 0 to `WINDOW_SECONDS`."""
        seconds, at = self._booked.get(client, (0.0, now))
        return seconds * math.exp((at - now) / WINDOW_SECONDS)

    def beyond_share(self, client: str, clients: int, now: float, least: float = 0.0) -> bool:
        """Tell whether a client has used more than its share, and more than the least share, while others wait."""
        return clients > 1 and self.seconds(client, now) > WINDOW_SECONDS * max(1 / clients, least)


def count(counts: Counter[str], client: str, more: int) -> None:
    """Add to what a client has; who has nothing is not among the keys."""
    counts[client] += more
    if not counts[client]:
        del counts[client]


def has_room(mine: float, held: float, clients: int, most: float, reserve: float) -> bool:
    """Tell whether a client may hold so much of something that is limited.

    All that is not reserved is shared equally among those who hold any of it: a lone client may hold it all. The
    reserve is what the next client begins with while the former ones are still above their new share.

    Args:
        mine: what the client would hold.
        held: what all would hold together.
        clients: those who would hold something.
        most: what all may hold together.
        reserve: part of `most` that no lone client can take.
    """
    return held <= most and mine <= max(1.0, (most - reserve) / clients)


def reserve_of(limit: float) -> int:
    """Tell the reserve for a limit: a sixteenth."""
    return int(limit) // 16
