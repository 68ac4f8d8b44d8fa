"""Middleware in Ray Serve's own HTTP proxies, which `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names on each node.

A client whose replica is lost gets an error that says so, in place of a connection that breaks; and answers and bodies
pass at the speed of both ends, see `proxied_messages`. Applications of others on the same cluster are let through.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hifigan_rt.tools.serving.error_responses import error_response, told
from hifigan_rt.tools.serving.errors import ReplicaLost
from hifigan_rt.tools.serving.proxied_messages import (
    DELIVERED,
    DISCONNECTS,
    EXTENSION,
    REPORT_BYTES,
    TAKEN,
    WINDOW_BYTES,
    payload_bytes,
)

_WRITE_TIMEOUT_SECONDS = 60.0
"""Time for a client to take in one part of an answer. The replica's own limit ends the work, this the connection."""


def middlewares() -> list[Middleware]:
    """Name what Ray is to run in its proxies: the function that the variable names."""
    return [Middleware(ProxyGuard)]


class ProxyGuard:
    """ASGI application that stands before Ray's proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        flow = _ProxyFlow(scope, receive, send)
        scope = {**scope, "extensions": {**(scope.get("extensions") or {}), EXTENSION: {}}}
        try:
            await self._app(scope, flow.receive, flow.send)
        finally:
            flow.close()
        await flow.end()


class _ProxyFlow:
    """Messages of one request in a proxy."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._arriving: asyncio.Future[Message] | None = None
        self._moved = asyncio.Event()
        self._came = self._taken = self._delivered = self._told = 0
        self._limited = False
        """Whether the application reports what it takes."""
        self._begun = self._ended = self._gone = False

    async def receive(self) -> Message:
        """Give Ray the client's next message, or how much of the answer the client has taken."""
        while True:
            if self._delivered - self._told >= REPORT_BYTES:
                self._told = self._delivered
                return {"type": DELIVERED, "bytes": self._delivered}
            full = self._limited and self._came - self._taken >= WINDOW_BYTES
            if self._arriving is None and not full:
                self._arriving = asyncio.ensure_future(self._receive())
            if self._arriving is not None and self._arriving.done():
                message, self._arriving = self._arriving.result(), None
                self._came += payload_bytes(message)
                self._gone = self._gone or message["type"] in DISCONNECTS
                return message
            await self._wait()

    async def send(self, message: Message) -> None:
        """Send the client a message of the application."""
        kind = message["type"]
        if kind == TAKEN:
            self._limited, self._taken = True, message["bytes"]
            self._moved.set()
            return
        async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
            await self._send(message)
        self._begun = True
        self._ended = kind == "websocket.close" or (kind.endswith(".body") and not message.get("more_body", False))
        self._delivered += payload_bytes(message)
        self._moved.set()

    async def end(self) -> None:
        """Tell the client what an application that is lost left unsaid."""
        if self._ended or self._gone:
            return
        failure = ReplicaLost("the replica that served this was lost, or stopped before the end: try again", 1.0)
        if self._scope["type"] == "websocket" and self._begun:
            with suppress(OSError, RuntimeError):  # the client went in the meantime
                await self._send({"type": "websocket.send", "text": json.dumps(told(failure))})
                await self._send({"type": "websocket.close", "code": 1012, "reason": failure.code})
        elif not self._begun:
            # Ray tells the proxies no application's prefix: what follows it is looked for.
            path = re.findall(r"/v2(?:/.*)?$|$", self._scope["path"])[0]
            request_id = dict(self._scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
            answer = error_response(failure, {**self._scope, "path": path}, request_id)
            await answer(self._scope, self._receive, self._send)
        # Else the answer of HTTP has begun: the server cuts it off, so that nobody takes it for whole.

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._arriving is not None:
            self._arriving.cancel()

    async def _wait(self) -> None:
        self._moved.clear()
        moved = asyncio.ensure_future(self._moved.wait())
        waited: set[asyncio.Future[Any]] = {moved} if self._arriving is None else {moved, self._arriving}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
