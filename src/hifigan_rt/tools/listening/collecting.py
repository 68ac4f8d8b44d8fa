"""A small server for listeners in one room: gives them the page, and keeps what they answer.

It knows two addresses, the page and where answers go; nothing else of the disk can be asked for, the key least of all.
Whatever a client sends costs bounded time, memory and disk, and leaves nothing in the log but at the level debug.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from hifigan_rt.errors import EvaluationError, OutputError, ServerError
from hifigan_rt.system.closing import Closing
from hifigan_rt.system.machine import host_name, is_loopback, is_same_origin
from hifigan_rt.tools.listening.connections import Connections, end
from hifigan_rt.tools.listening.definition import read_page
from hifigan_rt.tools.listening.intake import Intake

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
"""Maximum number of connections at a time."""

MAX_HEAD_BYTES = 96 << 10
"""Maximum size of a request's line and headers."""

REQUEST_SECONDS = 30.0
"""Limit for a client to send its whole request."""

SILENCE_SECONDS = 30.0
"""Limit for a client to take a piece of an answer in."""

MAX_DISCARDED_BYTES = 64 << 20
DISCARDED_SILENCE_SECONDS = 2.0
"""What is read of a request that was refused: a client reads the answer only after it has sent everything."""

_PIECE_BYTES = 256 << 10

_RESULTS = "/results"

_FULL = (
    b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
    b"all connections are in use: try again\n"
)


class Collector(Closing):
    """The server. Use it as a context, or call `close`.

    Args:
        page: what `hifigan listen make` wrote.
        results: the folder that gets a file per listener; made if it is not there.
        host: by default this machine alone can connect.
        port: 0 takes a free one.
        on_result: called with each file that was written, from the thread of its connection.

    Raises:
        DatasetError: `page` is no page of a listening test.
        OutputError: the folder cannot be written to.
        ServerError: the address cannot be used.
    """

    def __init__(
        self,
        page: Path,
        results: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_result: Callable[[Path], None] = lambda _: None,
    ) -> None:
        content, definition = read_page(page)
        intake = Intake(results, definition, on_result)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server((host, port), family, content, intake)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServerError(f"--host {host} --port {port} cannot be listened on: {reason}") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/"

    def serve(self) -> None:
        """Answer until `stop` is called in another thread, or an exception comes."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End `serve`."""
        self._server.shutdown()

    def close(self) -> None:
        """Stop listening."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Those that are not yet accepted; the base class has 5, which a stranger who connects again and again fills.
    request_queue_size = MAX_CONNECTIONS
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, page: bytes, intake: Intake) -> None:
        self.address_family = family
        self.page, self.intake = page, intake
        self.only_loopback_names = is_loopback(address[0])
        self._connections = Connections(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self._connections.admit(request, client_address[0]):
            return True
        # Into an empty buffer: it does not wait for the client.
        with contextlib.suppress(OSError):
            request.sendall(_FULL)
        return False

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._connections.forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        # Connections that break are everyday; the base class prints a trace for each.
        logger.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "hifigan-listen"
    sys_version = ""
    default_request_version = "HTTP/1.0"
    """What a request without a version is answered in: with a status, which HTTP/0.9 has not."""
    timeout = SILENCE_SECONDS

    def setup(self) -> None:
        super().setup()
        self.rfile = cast("BufferedIOBase", _Head(self.rfile))
        self._has_unread = True
        self._deadline = threading.Timer(REQUEST_SECONDS, end, [self.connection])
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()
        if self._has_unread:
            self._discard()

    def _discard(self) -> None:
        """Take what the client still sends: if it met a closed connection, it would not read the answer."""
        until = time.monotonic() + REQUEST_SECONDS
        left = MAX_DISCARDED_BYTES
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(DISCARDED_SILENCE_SECONDS)
            while left > 0 and time.monotonic() < until and (piece := self.connection.recv(_PIECE_BYTES)):
                left -= len(piece)

    def do_GET(self) -> None:
        self._give_page(with_body=True)

    def do_HEAD(self) -> None:
        self._give_page(with_body=False)

    def do_POST(self) -> None:
        if self._is_refused():
            return
        if self._place != _RESULTS:
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        elif self.headers.get_content_type() != "application/json":
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a result is application/json")
        else:
            self._take_result()

    def _give_page(self, *, with_body: bool) -> None:
        if self._is_refused():
            return
        if self._place != "/":
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing at this address; the test is at /")
            return
        self._deadline.cancel()
        page = self.server.page
        self._head(HTTPStatus.OK, "text/html; charset=utf-8", len(page))
        # In pieces: the limit holds for each, so that a slow line has its time and a client that takes nothing has not.
        for begin in range(0, len(page) if with_body else 0, _PIECE_BYTES):
            self.wfile.write(page[begin : begin + _PIECE_BYTES])

    @property
    def _place(self) -> str:
        """Path of the request's target, without the query; the target itself if it is no address."""
        try:
            return urlsplit(self.path).path
        except ValueError:
            return self.path

    def _is_refused(self) -> bool:
        """Refuse what cannot be understood in one way alone, and what a stranger's page or name leads to.

        Another site's page may send through a listener's browser, also under a name made to lead here.
        """
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        lengths = self.headers.get_all("Content-Length", [])
        if len(hosts) > 1 or (not hosts and self.request_version >= "HTTP/1.1"):
            self._answer(HTTPStatus.BAD_REQUEST, f"a request has one Host, and this has {len(hosts)} (RFC 9112, 3.2)")
        elif len(lengths) + ("Transfer-Encoding" in self.headers) > 1:
            self._answer(HTTPStatus.BAD_REQUEST, "the length of the body is told in two ways (RFC 9112, 6.1 and 6.3)")
        elif self.server.only_loopback_names and not is_loopback(host_name("".join(hosts))):
            self._answer(HTTPStatus.FORBIDDEN, "this server answers to localhost alone; --host opens it to others")
        elif origin is not None and not is_same_origin(origin, "".join(hosts)):
            self._answer(HTTPStatus.FORBIDDEN, "pages from elsewhere may not use this server")
        else:
            return False
        return True

    def _take_result(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or not length.isascii():
            self._answer(HTTPStatus.LENGTH_REQUIRED, "the length of the result must be told")
            return
        # Compared as text first: a number of any length may stand there.
        intake = self.server.intake
        if len(length) > 12 or int(length) > intake.most_bytes:
            self._answer(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a result of this test has at most {intake.most_bytes} bytes"
            )
            return
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            return
        self._has_unread = False
        self._deadline.cancel()
        try:
            path = intake.keep(content)
        except EvaluationError as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"the result was not taken: {error}")
        except OutputError as error:
            logger.error("a result could not be written: %s", error)  # noqa: TRY400 - the text says it all
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the result could not be written: keep the download")
        else:
            self._answer(HTTPStatus.CREATED, json.dumps({"kept": path.name}), "application/json")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        self._deadline.cancel()
        body = f"{text}\n".encode()
        self._head(status, kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(length)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        # Spelt in ASCII: a request may hold what moves a terminal's cursor.
        logger.debug("%s %a", self.address_string(), format % args)


class _Head:
    """What a client sends, of which the request's line and headers are bounded."""

    def __init__(self, inner: BufferedIOBase) -> None:
        self._inner = inner
        self._left = MAX_HEAD_BYTES
        self.read, self.close = inner.read, inner.close

    def readline(self, size: int) -> bytes:
        """Read a line of the head.

        Raises:
            HTTPException: the head is too large; the base class answers 431.
        """
        line = self._inner.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise HTTPException(f"a request's line and headers have at most {MAX_HEAD_BYTES} bytes")
        return line
