"""A small server for listeners in one room: gives them the page, and keeps what they answer.

It knows two addresses, the page and where answers go; nothing else of the disk can be asked for, the key least of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hifigan_rt.errors import EvaluationError, OutputError, ServerError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.system.machine import host_name, is_loopback, is_same_origin
from hifigan_rt.tools.bulk.outputs import make_folder
from hifigan_rt.tools.listening.definition import Definition, read_page
from hifigan_rt.tools.listening.submissions import MAX_BYTES, parse

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Maximum number of connections at a time; more wait."""

MAX_RESULTS = 10_000
"""Files in the folder of results, so that nobody fills the disk."""

REQUEST_SECONDS = 30.0
"""Limit for a client to send its whole request."""

SILENCE_SECONDS = 30.0
"""Limit for a client to take anything in."""

_RESULTS = "/results"


@dataclass
class _Service:
    """What all connections share."""

    page: bytes
    definition: Definition
    results: Path
    on_result: Callable[[Path], None]
    only_loopback_names: bool
    writing: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, content: bytes) -> Path:
        """Write a result under a name of its own; the same result again gets the same name.

        Raises:
            EvaluationError: it is no result of this test, or there are too many.
            OutputError: it could not be written.
        """
        submission = parse(content, self.definition)
        digest = hashlib.sha256(content).hexdigest()[:12]
        path = self.results / f"{submission.listener}-{digest}.json"
        with self.writing:
            if not path.exists():
                if sum(1 for _ in self.results.iterdir()) >= MAX_RESULTS:
                    raise EvaluationError(f"there are {MAX_RESULTS} results already: no more are taken")
                with atomic_writer(path) as file:
                    file.write(content)
                self.on_result(path)
        return path


class Collector:
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
        make_folder(results)
        # Found out now, and not when the first listener has done all the work.
        with atomic_writer(results / ".writable"):
            pass
        (results / ".writable").unlink()
        service = _Service(content, definition, results, on_result, is_loopback(host))
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server((host, port), family, service)
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

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, service: _Service) -> None:
        self.address_family = family
        self.service = service
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        # Connections that break are everyday; the base class prints a trace for each.
        logger.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "hifigan-listen"
    sys_version = ""
    timeout = SILENCE_SECONDS

    def setup(self) -> None:
        super().setup()
        self._deadline = threading.Timer(REQUEST_SECONDS, self._give_up)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._give_page(with_body=True)

    def do_HEAD(self) -> None:
        self._give_page(with_body=False)

    def do_POST(self) -> None:
        if self._is_foreign():
            return
        if self._place != _RESULTS:
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        elif self.headers.get_content_type() != "application/json":
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a result is application/json")
        else:
            self._take_result()

    def _give_page(self, *, with_body: bool) -> None:
        if self._is_foreign():
            return
        if self._place != "/":
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing at this address; the test is at /")
            return
        self._deadline.cancel()
        page = self.server.service.page
        self._head(HTTPStatus.OK, "text/html; charset=utf-8", len(page))
        if with_body:
            self.wfile.write(page)

    @property
    def _place(self) -> str:
        """Path of the request's target, without the query; the target itself if it is no address."""
        try:
            return urlsplit(self.path).path
        except ValueError:
            return self.path

    def _is_foreign(self) -> bool:
        """Refuse what another site's page sends through a listener's browser; also under a name made to lead here."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        name = host_name(host)
        if self.server.service.only_loopback_names and not is_loopback(name):
            self._answer(HTTPStatus.FORBIDDEN, "this server answers to localhost alone; --host opens it to others")
        elif origin is not None and not is_same_origin(origin, host):
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
        if len(length) > 12 or int(length) > MAX_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a result has at most {MAX_BYTES} bytes")
            return
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            return
        try:
            path = self.server.service.keep(content)
        except EvaluationError as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"the result was not taken: {error}")
        except OutputError:
            logger.exception("a result could not be written")
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
        logger.debug("%s %s", self.address_string(), format % args)
