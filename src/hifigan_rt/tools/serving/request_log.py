"""Outermost of the server: the record of each request, the answer to its failure, its line in the log, its count."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from hifigan_rt.tools.serving.clients import client_of, networks
from hifigan_rt.tools.serving.context import Context, RequestRecord
from hifigan_rt.tools.serving.error_responses import error_response
from hifigan_rt.tools.serving.errors import (
    CUT_OFF,
    InternalFailure,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
    as_serving_error,
    let_go,
)
from hifigan_rt.tools.serving.routes import Endpoint

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Status in log and metrics of a request whose client went; nginx's convention."""
CLIENT_GONE_CODE = "client_gone"
"""Its code in the log, also where the answer had begun; such a request was not refused."""

_COUNTED_WHERE_RAISED = (QueueFull.code, TooManyRequests.code, ShuttingDown.code)
"""Codes that the scheduler counts itself: it refuses WebSocket streams as well, which have had their status before."""

_SHOWN_METHOD_CHARACTERS = 20

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}")


class RequestLog:
    """Middleware that gives each request an id, answers its failures, logs one line about it, and counts it."""

    def __init__(self, app: ASGIApp, context: Context, endpoints: Iterable[Endpoint]) -> None:
        self._app = app
        self._context = context
        self._proxies = networks(context.settings.trusted_proxies)
        self._health_paths = frozenset(endpoint.path for endpoint in endpoints if endpoint.health)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id")
        record = RequestRecord(_request_id(given), client_of(scope, self._proxies))
        scope["hifigan.record"] = record
        # Ray's proxies add to each answer the id that they hand on: two headers would be read as one of both.
        told_by_proxy = bool(self._context.settings.replica) and given == record.request_id
        recorded = _recording(send, record, told_by_proxy=told_by_proxy)
        try:
            await self._app(scope, receive, recorded)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            try:
                await self._answer(error, record, scope, receive, recorded)
            finally:
                let_go(error)
        finally:
            self._context.memory.release(record)
            self._report(record, scope)

    async def _answer(
        self, error: BaseException, record: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if isinstance(error, (ClientDisconnect, WebSocketDisconnect)):
            record.code, record.status = CLIENT_GONE_CODE, record.status or CLIENT_GONE
            return
        if isinstance(error, asyncio.CancelledError):
            failure: ServingError = CUT_OFF
        else:
            failure = as_serving_error(error)
        if isinstance(failure, InternalFailure):
            logger.error("request %s failed", record.request_id, exc_info=error)
        record.code = failure.code
        if record.status is None:
            await error_response(failure, scope, record.request_id)(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011, "reason": failure.code})
        # Else the response has begun: the server cuts it off, so that nobody takes it for whole.

    def _report(self, record: RequestRecord, scope: Scope) -> None:
        seconds = time.monotonic() - record.started
        route = getattr(scope.get("route"), "path", "") or "unmatched"
        status = record.status or CLIENT_GONE
        self._context.telemetry.request_finished(route, status, record.model, seconds)
        if record.code == CLIENT_GONE_CODE or status == CLIENT_GONE:
            self._context.telemetry.cancelled()
        elif record.code is not None and record.code not in _COUNTED_WHERE_RAISED:
            self._context.telemetry.rejected(record.code)
        facts = {
            "event": "request",
            "request_id": record.request_id,
            "client": record.client,
            "method": str(scope.get("method", "WEBSOCKET"))[:_SHOWN_METHOD_CHARACTERS],
            "route": route,
            "status": status,
            "code": record.code,
            "model": record.model or None,
            "seconds": round(seconds, 6),
            "sent_bytes": record.sent_bytes,
            **record.facts,
        }
        level = logging.DEBUG if route in self._health_paths and status < 400 else logging.INFO
        logger.log(level, "%s %s", facts["method"], route, extra={"facts": facts})


def _request_id(given: str | None) -> str:
    return given if given is not None and _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _recording(send: Send, record: RequestRecord, *, told_by_proxy: bool) -> Send:
    async def recorded(message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            record.status = message["status"]
            headers = MutableHeaders(scope=message)
            if kind != "http.response.start" or not told_by_proxy:
                headers["X-Request-Id"] = record.request_id
            headers["X-Content-Type-Options"] = "nosniff"
        elif kind == "websocket.accept":
            record.status = 101
        elif kind == "http.response.body":
            record.sent_bytes += len(message.get("body", b""))
        elif kind == "websocket.send":
            record.sent_bytes += len(message.get("bytes") or message.get("text") or b"")
        await send(message)

    return recorded
