"""What stands before every route: the record of a request, and who is let in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hifigan_rt.system.machine import host_name, is_loopback
from hifigan_rt.tools.serving.context import Context, Exchange
from hifigan_rt.tools.serving.error_answers import error_answer
from hifigan_rt.tools.serving.failures import (
    Forbidden,
    InternalFailure,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
    Unauthorized,
    as_serving_error,
)

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""What the log and the metrics have as the status of a request whose client went; nginx's convention."""

PUBLIC_PATHS = ("/", "/openapi.json", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""Need no token: probes have none, and what describes the server says nothing secret."""

PUBLIC_PREFIX = "/page/"
"""The page's own files, which a browser asks for before its user can type a token."""

TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 - a prefix
"""A browser cannot give a WebSocket an Authorization header: there the token may be an offered subprotocol."""

_COUNTED_WHERE_RAISED = (QueueFull.code, TooManyRequests.code, ShuttingDown.code)
"""The scheduler refuses WebSocket streams as well, which have had their status before."""

_HEALTH_PATHS = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}")


class Recorder:
    """Gives each request an id, answers its failures, logs one line about it, and counts it."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = Exchange(_request_id(Headers(scope=scope).get("x-request-id")))
        scope["hifigan.exchange"] = exchange
        try:
            await self._app(scope, receive, _recording(send, exchange))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            await self._answer(error, exchange, scope, receive, _recording(send, exchange))
        finally:
            self._context.let_go(exchange)
            self._report(exchange, scope)

    async def _answer(
        self, error: BaseException, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if isinstance(error, ClientDisconnect):
            exchange.code, exchange.status = "client_gone", exchange.status or CLIENT_GONE
            return
        if isinstance(error, asyncio.CancelledError):
            failure: ServingError = ShuttingDown("the server is shutting down and could not finish this request")
        else:
            failure = as_serving_error(error)
        if isinstance(failure, InternalFailure):
            logger.error("request %s failed", exchange.request_id, exc_info=error)
        exchange.code = failure.code
        if exchange.status is None:
            await error_answer(failure, scope, exchange.request_id)(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011, "reason": failure.code})
        # Else the answer has begun: the server cuts it off, so that nobody takes it for whole.

    def _report(self, exchange: Exchange, scope: Scope) -> None:
        seconds = time.monotonic() - exchange.started
        route = getattr(scope.get("route"), "path", "") or "unmatched"
        status = exchange.status or CLIENT_GONE
        self._context.telemetry.request_finished(route, status, exchange.model, seconds)
        if exchange.code is not None and status != CLIENT_GONE and exchange.code not in _COUNTED_WHERE_RAISED:
            self._context.telemetry.rejected(exchange.code)
        client = scope.get("client") or ("", 0)
        facts = {
            "event": "request",
            "request_id": exchange.request_id,
            "client": client[0],
            "method": scope.get("method", "WEBSOCKET"),
            "route": route,
            "status": status,
            "code": exchange.code,
            "model": exchange.model or None,
            "seconds": round(seconds, 6),
            "sent_bytes": exchange.sent_bytes,
            **exchange.facts,
        }
        level = logging.DEBUG if route in _HEALTH_PATHS and status < 400 else logging.INFO
        logger.log(level, "%s %s", facts["method"], route, extra={"facts": facts})


class Gate:
    """Lets a request through to the routes, or refuses it before its body is read."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        settings = context.settings
        self._token = None if settings.bearer_token is None else _digest(settings.bearer_token)
        self._origins = frozenset(settings.cors_origins)
        # Without a token on loopback, a page whose name was made to point at 127.0.0.1 would be as good as a local one.
        self._only_loopback_names = self._token is None and is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._check_names(scope, headers)
        if scope["path"] in _HEALTH_PATHS:
            self._check_token(scope, headers)
            await self._app(scope, receive, send)
            return
        self._check_token(scope, headers)
        self._check_room()
        self._context.active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._context.active -= 1

    def _check_room(self) -> None:
        most = self._context.settings.max_concurrent_requests
        refusal: ServingError | None = None
        if self._context.draining:
            refusal = ShuttingDown("the server is shutting down: it takes no new requests")
        elif self._context.active >= most:
            refusal = TooManyRequests(f"{most} requests are being answered, as many as may be: try again later", 1.0)
        if refusal is not None:
            self._context.telemetry.rejected(refusal.code)
            raise refusal

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if self._token is None or path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX):
            return
        given = _given_tokens(scope, headers)
        # Digests have equal lengths, so that the comparison's time tells nothing at all.
        matches = [hmac.compare_digest(_digest(token), self._token) for token in given]
        if not any(matches):
            raise Unauthorized("this server asks for a bearer token: send the header Authorization: Bearer TOKEN")

    def _check_names(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        # Browsers always name a host; probes that speak HTTP/1.0 do not.
        if self._only_loopback_names and host and not is_loopback(host_name(host)):
            raise Forbidden(
                f"host {host[:80]!r} is not this machine's loopback: a server without a token answers to 127.0.0.1, "
                "[::1] and localhost alone; start it with --token-file to use other names"
            )
        origin = headers.get("origin")
        # Browsers send GET without asking, and keep the answer from the page; what changes or computes is refused here.
        if origin is None or scope.get("method") in ("GET", "HEAD", "OPTIONS"):
            return
        if urlsplit(origin).netloc != host and origin not in self._origins and "*" not in self._origins:
            raise Forbidden(f"pages of {origin[:80]!r} may not use this server: --cors-origin lets them")


def check_operator(scope: Scope, context: Context) -> None:
    """Let through who may change what the server runs: holders of the token; without one, this machine alone.

    Raises:
        Forbidden: it is neither.
    """
    if context.settings.bearer_token is not None:
        return  # the gate has seen it
    client = scope.get("client")
    forwarded = any(name in (b"forwarded", b"x-forwarded-for") for name, _ in scope["headers"])
    if client is None or forwarded or not is_loopback(client[0]):
        raise Forbidden("without a token, only this machine itself may do that: start the server with --token-file")


def _request_id(given: str | None) -> str:
    return given if given is not None and _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _recording(send: Send, exchange: Exchange) -> Send:
    async def recorded(message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            exchange.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = exchange.request_id
            headers["X-Content-Type-Options"] = "nosniff"
        elif kind == "websocket.accept":
            exchange.status = 101
        elif kind == "http.response.body":
            exchange.sent_bytes += len(message.get("body", b""))
        elif kind == "websocket.send":
            exchange.sent_bytes += len(message.get("bytes") or message.get("text") or b"")
        await send(message)

    return recorded


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _given_tokens(scope: Scope, headers: Headers) -> Iterable[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    for name in scope.get("subprotocols", ()):
        if name.startswith(TOKEN_SUBPROTOCOL):
            yield name.removeprefix(TOKEN_SUBPROTOCOL)
