"""Holds the connections of a server: a bound on all, and one client cannot take them from the others."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter

from hifigan_rt.system.addresses import client_at


class Connections:
    """Open connections, each with its client.

    When all are in use, a new one takes the place of the oldest one of the client that has the most; so a client can
    crowd out itself alone.

    Args:
        most: maximum number at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: dict[socket.socket, str] = {}
        """Clients by connection, the oldest first."""
        self._lock = threading.Lock()

    def admit(self, connection: socket.socket, peer: str) -> bool:
        """Add a connection, and end another one if there must be room.

        Args:
            connection: the new one.
            peer: the address that it comes from.

        Returns:
            Whether it was added: not if no other client has more connections than its own would have.
        """
        client = client_at(peer)
        with self._lock:
            if len(self._clients) >= self._most:
                counts = Counter(self._clients.values())
                greediest, count = counts.most_common(1)[0]
                if count <= counts[client] + 1:
                    return False
                oldest = next(entry for entry, owner in self._clients.items() if owner == greediest)
                del self._clients[oldest]
                end(oldest)
            self._clients[connection] = client
        return True

    def forget(self, connection: socket.socket) -> None:
        """Remove a connection that was closed."""
        with self._lock:
            self._clients.pop(connection, None)


def end(connection: socket.socket) -> None:
    """End a connection that another thread may be waiting for."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
