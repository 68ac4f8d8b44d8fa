"""Connections whose other end is slow, silent or gone: what uvicorn's protocols lack.

A connection ends when its request's headers do not come in time, when its client does not take in what was sent, or
when it goes on sending a body long after the response. Requests that are no HTTP get an answer in JSON, as all others.

uvicorn 0.54 has settings for idle connections (`timeout_keep_alive`) and for the size of headers, and none for these.
So `Config(http=..., ws=...)`, which is public, gets subclasses of its protocols. The guard of `connection_guards` and
the options of the sockets need asyncio's interface alone. These parts are uvicorn's own, and why `pyproject.toml` pins
its minor version:

- `conn` (h11's state), `handle_events`, `timeout_keep_alive_task`: whether headers are still to come, and by which
  rules they are read (`request_heads`);
- `cycle` and its `transport`, `on_response_complete`: whether a body goes on after its response, and whether that was
  cut off;
- `handle_websocket_upgrade`, `handshake_initiated`, `handshake_complete`: frames that come with the handshake;
- `send_receive_event_to_app`, `frames`, `curr_msg_data_type`, `close_sent`, `handle_parser_exception`: texts that are
  not UTF-8;
- `handle_ping`, `writable`: pings of a client that reads nothing;
- `handle_cont`, and `conn.reader` of websockets: messages in pieces, and what is left of one when the connection ends;
- `shutdown`: what a client is told whose stream the server's end cuts off;
- `close_timeout`: how long a WebSocket's client may take to answer a close;
- `queue`, `read_paused`, `close_timer`: an end over a broken frame, which its client can read.

A proxy in front would do most of this for those who have one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import socket
import struct
import uuid
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from hifigan_rt.tools.serving.connection_guards import ConnectionGuard, OpenConnections
from hifigan_rt.tools.serving.error_responses import error_content, told
from hifigan_rt.tools.serving.errors import CUT_OFF, ServingError
from hifigan_rt.tools.serving.request_heads import MAX_HEADER_BYTES, CheckedConnection
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

logger = logging.getLogger(__name__)

_MAX_EARLY_BYTES = 64 << 10
"""Bytes of frames behind a handshake that is not answered yet, beyond which no more are read."""

_SEEN_BYTES = 100
"""Bytes of a head that is refused, which tell the protocol of its target."""

_LINGER_SECONDS = 5.0
"""Time for the rest of a body after its response: closing sooner would make some clients lose the response."""

# A client whose machine vanished while its audio is computed is noticed after a minute.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class HttpConnection(ConnectionGuard, H11Protocol):
    """HTTP/1.1 connection that does not wait without end."""

    conn: CheckedConnection
    telemetry: Telemetry
    _headers_due: asyncio.TimerHandle | None = None
    _refused = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = CheckedConnection(h11.SERVER, MAX_HEADER_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Whatever the kernel did not take counts as unread.
        self._guarded.set_write_buffer_limits(high=0)
        _set_up(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_headers()
        cut_off = not self.waits_for_request and self.cycle.response_started
        if cut_off and self.cycle.scope["http_version"] == "1.0":
            # To HTTP/1.0 the end of the connection is the end of the answer: one that was cut off must not look whole.
            _reset_at_close(self._guarded)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        self.conn = self.conn.skip_empty_lines()
        super().handle_events()
        if self.cycle is not None and self.cycle.transport is self.transport:  # type: ignore[redundant-expr]
            self.cycle.transport = _AnswersTransport(self.transport)  # type: ignore[assignment]
        if self.conn.failure is not None and not self._refused:
            self._refuse(self.conn.failure)
        # A connection that is kept for the next request has uvicorn's timer until something comes.
        waits = self.conn.their_state is h11.IDLE and not self._refused
        if not waits or (self.timeout_keep_alive_task is not None and not self.conn.trailing_data[0]):
            self._forget_headers()
        elif self._headers_due is None:
            self._expect_headers()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, with what came behind the handshake."""
        behind = self.conn.trailing_data[0]
        self.open_connections.remove(self)
        super().handle_websocket_upgrade(event)
        protocol = self._guarded.get_protocol()
        if behind and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(behind)

    @property
    def waits_for_request(self) -> bool:
        """Whether no request has come, or all have been answered."""
        # uvicorn declares it never to be None, and begins with None.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    @property
    def waits_for_body(self) -> bool:
        """Whether a request has come, its body has not, and no answer has begun."""
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(_LINGER_SECONDS, self._end_body_of, self.cycle)

    def end(self) -> None:
        """Close the connection behind an answer, once a client that still sends its body has had time to read it."""
        if not (self.waits_for_request and self.conn.their_state is h11.SEND_BODY):
            self.transport.close()
            return
        # `on_response_complete` comes next, and gives the client its time.
        self._refused = True
        self._say_farewell()

    def _refuse(self, failure: ServingError) -> None:
        """Answer what is no request, if that is still possible, and close once the client has had time to read it."""
        self._refused = True
        request_id = uuid.uuid4().hex
        body = json.dumps(error_content(failure, self._path(), request_id)).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **failure.headers}
        headers["X-Request-Id"] = request_id
        # The last one of its name: what an upgrade would need is said in vain by a connection that ends.
        headers["Connection"] = "close"
        if not self.waits_for_request:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        facts = {"event": "refused", "request_id": request_id, "client": self.address, "status": failure.status}
        facts["code"] = failure.code
        self.telemetry.rejected(failure.code)
        logger.info("request refused: %s", failure.message, extra={"facts": facts})
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        reason = http.HTTPStatus(failure.status).phrase.encode()
        response = h11.Response(status_code=failure.status, headers=list(headers.items()), reason=reason)
        for event in (response, h11.Data(body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._say_farewell()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _say_farewell(self) -> None:
        """End this side alone: closed while something of the client's is unread, a connection loses what was sent."""
        try:
            self.transport.write_eof()
        except OSError:  # the client has reset the connection, and asyncio has not been told yet
            self.transport.abort()

    def _path(self) -> str:
        """Tell the path of a request that is refused: while its body is read, or as far as its head shows one."""
        if not self.waits_for_request:
            return str(self.cycle.scope["path"])
        words = self.conn.trailing_data[0][:_SEEN_BYTES].split(b" ")
        return words[1].decode("latin-1") if len(words) > 1 else ""

    def _expect_headers(self) -> None:
        self._headers_due = self.loop.call_later(self.limits.header_timeout_seconds, self.transport.abort)

    def _forget_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _end_body_of(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.abort()


class _AnswersTransport:
    """Transport as an answer sees it, which closes it at its end whatever of the request is unread."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        connection = self._transport.get_protocol()
        if isinstance(connection, HttpConnection):
            connection.end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class WebSocketConnection(ConnectionGuard, WebSocketsSansIOProtocol):
    """WebSocket that is closed when its client takes in nothing, and whose client's mistakes are no errors here."""

    _early = b""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = _LINGER_SECONDS
        self._begun = bytearray()
        """What has come of a message in several pieces."""

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            # Frames before the answer to the handshake: its parser would answer them before it.
            self._early += data
            if len(self._early) > _MAX_EARLY_BYTES:
                self.transport.pause_reading()
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # The parser refers to itself: what it and this object hold stays until the garbage collector comes by.
        self.frames, self._begun, self._early = [], bytearray(), b""
        self.conn.reader.discard()

    def handle_ping(self) -> None:
        """Answer a ping, but none of a client that does not take in the answers: they would be kept here."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Append a piece of a message: a list of tiny ones would take many times their bytes."""
        self._begun += b"".join(self.frames) + event.data
        self.frames = []
        if event.fin:
            self.frames, self._begun = [bytes(self._begun)], bytearray()
            self.send_receive_event_to_app()

    def shutdown(self) -> None:
        """Tell a client that the server ends and cuts it off."""
        if self.handshake_complete and self.conn.state is State.OPEN:
            self.conn.send_text(json.dumps(told(CUT_OFF)).encode())
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012, "reason": CUT_OFF.code})
            self.conn.send_close(CloseCode.SERVICE_RESTART, CUT_OFF.code)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()

    def handle_parser_exception(self) -> None:
        """Tell the client what ends the connection, and close it once the client has had time to read that."""
        if self.close_sent:
            return
        close = self.conn.close_sent
        assert close is not None  # noqa: S101 - the parser has closed, or who calls this
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        # As after a refused request: what still comes is read, and dropped by the parser.
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        with contextlib.suppress(OSError):  # the client has reset the connection, and asyncio has not been told yet
            self.transport.write_eof()

    def send_receive_event_to_app(self) -> None:
        """Hand a message to the application; a text that is not UTF-8 ends the connection, and is no error here."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames[0]):
            self.frames = []
            if self.conn.state is State.OPEN:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send an ASGI message."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # Else uvicorn logs an error: it takes a handshake that was refused for one that was not answered.
            self.handshake_complete = True
        elif message["type"] == "websocket.accept" and self._early:
            early, self._early = self._early, b""
            self.transport.resume_reading()
            self.data_received(early)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def connection_classes(
    settings: ServerSettings, most_open: int, telemetry: Telemetry
) -> tuple[type[HttpConnection], type[WebSocketConnection]]:
    """Make the protocols for uvicorn's `http` and `ws`.

    Args:
        settings: whose time limits they keep.
        most_open: connections that may be open together.
        telemetry: counts requests that are refused before a route sees them.
    """
    shared: dict[str, Any] = {"limits": settings, "open_connections": OpenConnections(most_open)}
    http_connection = type("HttpConnection", (HttpConnection,), {**shared, "telemetry": telemetry})
    return http_connection, type("WebSocketConnection", (WebSocketConnection,), shared)


def _reset_at_close(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # the client has closed it already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _set_up(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # A connection that its client has reset already takes no options on some systems; it ends with the first reading.
    with contextlib.suppress(OSError):
        # asyncio does so only where the listening socket was made with a protocol number; without it, an answer in two
        # writes waits for the client's delayed acknowledgement: 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            option = getattr(socket, name, None)  # not every system has them
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
