"""Guard of connections, which any protocol of asyncio can have.

It ends connections whose clients take in nothing, reads little at once of what takes long to parse, and keeps the
number of connections within what the process may have open: once no descriptor is left, nobody gets in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from hifigan_rt.system.addresses import client_at
from hifigan_rt.tools.serving.settings import ServerSettings

logger = logging.getLogger(__name__)

_READ_AT_ONCE_BYTES = (512, 8 << 10, 256 << 10)
"""Fewest, first and most bytes that are read at once from a connection."""
_PARSING_SECONDS = (0.0005, 0.002)
"""Time to parse what was read at once, below which more is read the next time, and above which less is."""

_LEAST_TAKEN_BYTES = 4096
"""Bytes that a client must take in per `write_timeout_seconds`."""


class OpenConnections:
    """All connections by the address at their other end, those of each in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at: dict[str, dict[ConnectionGuard, None]] = {}

    def add(self, connection: ConnectionGuard) -> None:
        """Count a connection; beyond the most, one is closed, so that many who are silent or slow shut nobody out.

        The address with most connections gives one first, its oldest: one that waits for a request, or else for a body,
        if this address has more than that of the one that came. If there is none, that is the one to go.
        """
        self._at.setdefault(connection.address, {})[connection] = None
        if sum(map(len, self._at.values())) > self._most:
            own = len(self._at[connection.address])
            in_order = sorted(self._at.values(), key=len, reverse=True)
            idle = (
                other for others in in_order for other in others if other.waits_for_request and other is not connection
            )
            sending = (other for others in in_order if len(others) > own for other in others if other.waits_for_body)
            given_up = next(idle, None) or next(sending, connection)
            self.remove(given_up)
            given_up.give_up()

    def remove(self, connection: ConnectionGuard) -> None:
        """Count a connection no longer."""
        connections = self._at.get(connection.address, {})
        connections.pop(connection, None)
        if not connections:
            self._at.pop(connection.address, None)


class ConnectionGuard(asyncio.Protocol):
    """Mixin that goes before a protocol.

    asyncio reads 256 KiB at once: 40,000 chunks of a body or frames of a WebSocket if they are of the smallest, whose
    parsers take more than a second for them. `max_size` of its transports is undocumented.
    """

    limits: ServerSettings
    open_connections: OpenConnections
    address = ""
    _guarded: asyncio.Transport
    _read_from: Any = None
    _timer: asyncio.TimerHandle | None = None
    _unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream socket
        if hasattr(transport, "max_size"):
            self._read_from = transport
            self._read_from.max_size = _READ_AT_ONCE_BYTES[1]
        self._guarded = transport
        self.address = client_at(str((transport.get_extra_info("peername") or ("",))[0]))
        super().connection_made(transport)
        self.open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self.open_connections.remove(self)
        super().connection_lost(exc)

    @property
    def waits_for_request(self) -> bool:
        """Whether nothing is lost if the connection is closed now."""
        return False

    @property
    def waits_for_body(self) -> bool:
        """Whether a request has come in part, and no answer has begun."""
        return False

    def give_up(self) -> None:
        """Close the connection, for others to be taken."""
        logger.info("too many connections: one of %s is closed", self.address)
        self._guarded.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        began = time.perf_counter()
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - asyncio would log it as an error, with its trace
            logger.info("a client's bytes end its connection: %s: %.200s", type(error).__name__, error)
            self._guarded.abort()
        if self._read_from is not None:
            self._read_from.max_size = read_at_once(self._read_from.max_size, time.perf_counter() - began)

    def _watch(self) -> None:
        self._unsent = self._guarded.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(self.limits.write_timeout_seconds, self._look)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._guarded.get_write_buffer_size() > self._unsent - _LEAST_TAKEN_BYTES:
            logger.info("a client does not read: its connection is closed")
            self._guarded.abort()
        else:
            self._watch()


def read_at_once(size: int, seconds: float) -> int:
    """Choose how much is read next, where parsing `size` bytes took some time."""
    fewest, _, most = _READ_AT_ONCE_BYTES
    if seconds > _PARSING_SECONDS[1]:
        return max(fewest, size // 4)
    return min(most, 2 * size) if seconds < _PARSING_SECONDS[0] else size
