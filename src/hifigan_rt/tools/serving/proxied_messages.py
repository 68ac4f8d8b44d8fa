"""Messages that pass Ray's proxy on their way between client and replica, at the speed of both.

Ray Serve hands a request to a replica through queues that have no end: the proxy reads whatever a client sends, and
keeps whatever it does not take. Between `ProxyGuard`, which Ray runs in its proxies, and `ReplicaGuard`, which stands
before the application in a replica, two kinds of messages tell how far the other end is, in bytes since the request
began:

- `TAKEN`, from the replica: what the application has taken of the client's body or messages;
- `DELIVERED`, from the proxy: what the client's connection has taken of the answer.

Nobody is more than `WINDOW_BYTES` ahead of the other, so that the limits of memory and time in the replica mean what
they mean without a proxy. Without the guard in the proxy, `ReplicaGuard` limits nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hifigan_rt.tools.serving.settings import ServerSettings

EXTENSION = "hifigan.flow"
"""Name in a scope's `extensions` by which a proxy says that it has the guard."""
TAKEN, DELIVERED = "hifigan.taken", "hifigan.delivered"
"""Types of the two kinds of messages; each has `bytes`, the sum since the request began."""

WINDOW_BYTES = 1 << 18
REPORT_BYTES = 1 << 16
"""Bytes after which one end tells the other how far it is. A client must take that much within the time for writing."""
_PIECE_BYTES = 1 << 16
"""Largest part of an answer's body that is sent at once."""

DISCONNECTS = ("http.disconnect", "websocket.disconnect")


def payload_bytes(message: Message) -> int:
    """Count the bytes of the client's, or for the client, in a message."""
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")


class ReplicaGuard:
    """ASGI application that stands before another in a replica."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope = _below_prefix(scope)
        if EXTENSION not in (scope.get("extensions") or {}):
            await self._app(scope, receive, _in_bytes(send))
            return
        flow = _ReplicaFlow(scope, receive, send, self._settings.write_timeout_seconds)
        arriving = asyncio.ensure_future(flow.take_in())
        try:
            await flow.begin()
            await self._app(scope, flow.receive, flow.send)
        finally:
            arriving.cancel()


class _ReplicaFlow:
    """Messages of one request in a replica."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, write_timeout_seconds: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._timeout_seconds = write_timeout_seconds
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._last: Message | None = None
        self._taken = self._told = self._sent = self._delivered = 0
        self._moved = asyncio.Event()

    async def begin(self) -> None:
        """Tell the proxy that this application reports what it takes, unless all that comes is small."""
        if self._scope["type"] == "http" and not _has_long_body(self._scope):
            return
        await self._send({"type": TAKEN, "bytes": 0})

    async def take_in(self) -> None:
        """Take in what the proxy sends, to the end."""
        gone = {"type": f"{self._scope['type']}.disconnect", "code": 1006}
        while True:
            try:
                message = await self._receive()
            except Exception:  # noqa: BLE001 - Ray's, of a proxy that is gone
                message = gone
            if message["type"] == DELIVERED:
                self._delivered = message["bytes"]
            else:
                self._messages.put_nowait(message)
                if message["type"] in DISCONNECTS:
                    self._last = message
            self._moved.set()
            if self._last is not None:
                return

    async def receive(self) -> Message:
        """Give the application the next message; once the client is gone, that it is."""
        if self._messages.empty() and self._last is not None:
            return self._last
        message = await self._messages.get()
        self._taken += payload_bytes(message)
        if self._taken - self._told >= REPORT_BYTES:
            self._told = self._taken
            await self._send({"type": TAKEN, "bytes": self._taken})
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application once the client has taken most of what went before.

        Raises:
            ClientDisconnect: the client takes nothing for as long as it may.
        """
        for piece in _pieces(message):
            await self._wait_for_room()
            self._sent += payload_bytes(piece)
            await self._send(piece)
            await asyncio.sleep(0)

    async def _wait_for_room(self) -> None:
        while self._sent - self._delivered >= WINDOW_BYTES and self._last is None:
            self._moved.clear()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._moved.wait()
            except TimeoutError as error:
                raise ClientDisconnect from error


def _below_prefix(scope: Scope) -> Scope:
    """Take away what Ray puts before the application's own paths, its `route_prefix`, as nginx does."""
    prefix, path = scope.get("root_path", ""), scope["path"]
    return {**scope, "path": path[len(prefix) :], "root_path": ""} if path.startswith(f"{prefix}/") else scope


def _has_long_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or not declared.isdigit() or int(declared) > WINDOW_BYTES


def _pieces(message: Message) -> Iterator[Message]:
    """Cut a message into such as Ray can carry and as are quickly delivered."""
    body = message.get("body") if message["type"] == "http.response.body" else None
    if not body:
        yield message
        return
    for start in range(0, len(body), _PIECE_BYTES):
        end = start + _PIECE_BYTES
        # Ray cannot carry a memoryview.
        yield {**message, "body": bytes(body[start:end]), "more_body": message.get("more_body") or end < len(body)}


def _in_bytes(send: Send) -> Send:
    async def sent(message: Message) -> None:
        for piece in _pieces(message):
            await send(piece)

    return sent
