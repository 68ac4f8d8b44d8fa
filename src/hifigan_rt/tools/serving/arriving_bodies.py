"""Bodies that are being read: a client that sends many slowly holds places that others wait for.

While there is room for every request, each body has the whole time limit. Once a client that has few finds no place,
one that has more bodies on their way loses its oldest: it has had the longest to come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(eq=False)
class ArrivingBody:
    """Body that is being read."""

    limit: asyncio.Timeout
    """Time limit, which ends at once when the body is displaced."""
    displaced: bool = False
    """Whether it was given up for another client's request."""


class ArrivingBodies:
    """Bodies of all clients that are being read, those of each in the order in which they began; on the event loop."""

    def __init__(self) -> None:
        self._of: dict[str, list[ArrivingBody]] = {}

    @contextmanager
    def arriving(self, client: str, limit: asyncio.Timeout) -> Iterator[ArrivingBody]:
        """Count a body while it is read.

        Args:
            client: whose body it is.
            limit: the time limit that it is read under, already entered.
        """
        body = ArrivingBody(limit)
        bodies = self._of.setdefault(client, [])
        bodies.append(body)
        try:
            yield body
        finally:
            if body in bodies:
                bodies.remove(body)
            if not bodies and self._of.get(client) is bodies:
                del self._of[client]

    def displace_for(self, client: str, own: int) -> bool:
        """Give up the oldest body of the client that has most, if that is more than somebody else would have.

        Args:
            client: who needs a place.
            own: requests that this client would have with it.

        Returns:
            Whether a body was given up, so that there is a place.
        """
        other = max((name for name in self._of if name != client), key=lambda name: len(self._of[name]), default=None)
        if other is None or len(self._of[other]) <= own:
            return False
        body = self._of[other].pop(0)
        if not body.limit.expired():
            body.displaced = True
            body.limit.reschedule(asyncio.get_running_loop().time())
        return True
