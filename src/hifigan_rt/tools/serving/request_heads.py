"""Rules of RFC 9110 and 9112 for the head of a request, which h11 takes less strictly or refuses without saying why.

Whatever two programs in a row might read in two ways is refused, and the connection closed: bytes behind such a head
could be a body to one and a request to the other. What the RFCs leave to the server:

- lines may end in a bare line feed; empty lines before a request are skipped;
- a target may be a whole address of http or https: its authority takes the place of `Host`;
- `Upgrade` counts in a GET of HTTP/1.1 that asks for a WebSocket, and is ignored elsewhere;
- an unknown transfer coding is 501, another version than HTTP/1.x 505, another expectation than 100-continue 417.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NoReturn

import h11

from hifigan_rt.tools.serving.errors import (
    BadRequest,
    ExpectationFailed,
    HeadersTooLarge,
    HttpVersionUnknown,
    NotImplementedHere,
    PayloadTooLarge,
    ServingError,
    UpgradeRequired,
)

MAX_HEADER_BYTES = 32 << 10
"""Largest head of a request, from its first line to the empty one."""

MAX_HEADER_LINES = 100
"""Most headers of a request."""

_MAX_HANDSHAKE_LINE_BYTES = 8190
"""Longest line of a WebSocket's handshake: the package that answers it reads no longer one."""

_BETWEEN_REQUESTS = {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}
_EMPTY_LINES = re.compile(rb"(\r?\n)+")
_END = re.compile(rb"\n\r?\n")
_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_ADDRESS = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)
_HOST = re.compile(rb"(\[[0-9A-Za-z%:.~_-]+\]|([-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(:[0-9]*)?")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TLS_RECORD = b"\x16\x03"
_SHOWN_BYTES = 40
_ONCE = (
    "Host",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Authorization",
    "X-Mel-Shape",
    "X-Conditioning",
    "Inference-Header-Content-Length",
)

Headers = Mapping[bytes, Sequence[bytes]]


class CheckedConnection(h11.Connection):
    """HTTP connection of a server, which reads a request's head by the rules of this module.

    Attributes:
        failure: what the client is to be told, once it sent something that is no request; nothing follows then.
    """

    failure: ServingError | None = None

    def skip_empty_lines(self) -> CheckedConnection:
        """Leave out empty lines before the next request: a connection in the same state, without them."""
        if self.states != _BETWEEN_REQUESTS:
            return self
        received = self.trailing_data[0]
        lines = _EMPTY_LINES.match(received)
        if lines is None:
            return self
        anew = CheckedConnection(h11.SERVER, MAX_HEADER_BYTES)
        if lines.end() < len(received):  # h11 takes no bytes for the end of the connection
            anew.receive_data(received[lines.end() :])
        return anew

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Read the next event; one that cannot be read is kept as `failure`, and more data seems to be needed."""
        received = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        if self.failure is not None or received == b"\r":
            return h11.NEED_DATA
        try:
            headers = check_head(received)
            event = super().next_event()
            if headers is None or not isinstance(event, h11.Request):
                return event
            return _plain(event, headers)
        except ServingError as failure:
            self.failure = failure
        except h11.RemoteProtocolError as error:
            self.failure = BadRequest(f"the request is not as HTTP/1.1 has it: {str(error)[:200]}")
        return h11.NEED_DATA

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Make an event's bytes; an answer that comes before its request has ended says that the connection ends.

        HAProxy 2.6 sends the next request, perhaps another client's, on a connection whose body its client broke off:
        it was read as the rest of that body.
        """
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [*event.headers.raw_items(), (b"Connection", b"close")]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send_with_data_passthrough(event)


def check_head(received: bytes) -> Headers | None:
    """Check the head of a request, as far as it has come.

    Args:
        received: all that has come since the last request.

    Returns:
        The headers' values by lower-case name; None while the head has no end.

    Raises:
        ServingError: it breaks a rule, or is too large.
    """
    end = _END.search(received, 0, MAX_HEADER_BYTES)
    if end is None and len(received) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the headers have more than {MAX_HEADER_BYTES} bytes, the most that is read")
    if received and received[0] <= 0x20:
        _refuse_first_line(received)
    if end is None:
        if received.count(b"\n") > MAX_HEADER_LINES + 1:
            raise _too_many_lines()
        return None
    first, *lines = [line.removesuffix(b"\r") for line in received[: end.start()].split(b"\n")]
    if len(lines) > MAX_HEADER_LINES:
        raise _too_many_lines()
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        _refuse_first_line(first)
    method, target, *version = found.groups()
    if version[0] != b"1":
        raise HttpVersionUnknown(f"HTTP/{version[0].decode()}.{version[1].decode()} is not spoken here: HTTP/1.1 is")
    headers = _headers(lines)
    _check_once(headers)
    _check_host(headers, needed=version[1] != b"0")
    _check_target(method, target)
    _check_framing(headers, chunked_known=version[1] != b"0")
    if version[1] != b"0":
        _check_expectations(headers)
        if _asks_for_websocket(method, headers):
            _check_handshake(headers, max(map(len, (first, *lines))))
    return headers


def _refuse_first_line(line: bytes) -> NoReturn:
    if line.startswith(_TLS_RECORD):
        raise BadRequest("the connection begins as TLS does, and this port speaks HTTP: use http://, not https://")
    line = line.partition(b"\n")[0].removesuffix(b"\r")
    raise BadRequest(f"the first line {_shown(line)} is no request: METHOD TARGET HTTP/1.1 is, with one space between")


def _headers(lines: Sequence[bytes]) -> Headers:
    headers: dict[bytes, list[bytes]] = defaultdict(list)
    for line in lines:
        name, colon, value = line.partition(b":")
        rule = ""
        if line[:1] in (b" ", b"\t"):
            rule = "begins with a space: a header is one line"
        elif not colon:
            rule = "has no colon behind its name"
        elif name.endswith((b" ", b"\t")):
            rule = "has a space before its colon"
        elif not _TOKEN.fullmatch(name):
            rule = "has a name of other characters than letters, digits and -"
        elif b"\r" in value:
            rule = "has a carriage return in it that ends no line"
        elif _CONTROL.search(value):
            rule = "has a control character in it"
        if rule:
            raise BadRequest(f"the header line {_shown(line)} {rule}")
        headers[name.lower()].append(value.strip(b" \t"))
    return headers


def _check_once(headers: Headers) -> None:
    """Check that no header comes twice of which one alone would be read."""
    for name in _ONCE:
        count = len(headers.get(name.lower().encode(), ()))
        if count > 1:
            raise BadRequest(f"the header {name} comes {count} times: send it once")


def _check_host(headers: Headers, *, needed: bool) -> None:
    hosts = headers.get(b"host", ())
    if needed and not hosts:
        raise BadRequest("the header Host is missing, which each request of HTTP/1.1 has once")
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise BadRequest(f"Host {_shown(host)} is no name or address with an optional port")


def _check_target(method: bytes, target: bytes) -> None:
    if method == b"CONNECT":
        raise NotImplementedHere("CONNECT is for proxies, and this server is none: send GET or POST")
    address = _ADDRESS.fullmatch(target)
    if address is not None:
        if not address[1] or not _HOST.fullmatch(address[1]) or address[1].startswith(b":"):
            raise BadRequest(f"the target {_shown(target)} has no valid name or address of a host")
    elif not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        raise BadRequest(f"the target {_shown(target)} is none: send a path that begins with /, or http://HOST/PATH")
    if b"#" in target:
        raise BadRequest(f"the target {_shown(target)} has a fragment: leave out # and what follows")


def _check_framing(headers: Headers, *, chunked_known: bool) -> None:
    """Check how the body is delimited, which must be said in one way and once (RFC 9112, 6.1 to 6.3)."""
    lengths, codings = headers.get(b"content-length", ()), headers.get(b"transfer-encoding")
    for length in lengths:
        if length.isdigit() and not _LENGTH.fullmatch(length):
            raise PayloadTooLarge(f"Content-Length {_shown(length)} is more than any body may have")
        if not _LENGTH.fullmatch(length):
            raise BadRequest(f"Content-Length {_shown(length)} must be a whole number of bytes, in digits alone")
    if codings is None:
        return
    if lengths:
        raise BadRequest("Content-Length and Transfer-Encoding contradict each other: send one of them")
    if not chunked_known:
        raise BadRequest("Transfer-Encoding belongs to HTTP/1.1, and this is a request of HTTP/1.0")
    named = [coding.strip(b" \t").lower() for coding in b",".join(codings).split(b",")]
    for coding in named:
        if coding.partition(b";")[0].strip(b" \t") != b"chunked":
            raise NotImplementedHere(f"transfer coding {_shown(coding)} is not known here: chunked is")
    if named != [b"chunked"] or len(codings) > 1:
        raise BadRequest(f"Transfer-Encoding {_shown(b', '.join(codings))} must be chunked, once and without more")


def _check_expectations(headers: Headers) -> None:
    for expected in _members(headers, b"expect"):
        if expected != b"100-continue":
            raise ExpectationFailed(f"Expect {_shown(expected)} is not known here: 100-continue is")


def _asks_for_websocket(method: bytes, headers: Headers) -> bool:
    asked = b"upgrade" in _members(headers, b"connection") and _members(headers, b"upgrade") == [b"websocket"]
    return asked and method == b"GET"


def _check_handshake(headers: Headers, longest_line: int) -> None:
    """Check a WebSocket's handshake (RFC 6455, 4.2.1), so that it is answered as other requests are."""
    if headers.get(b"transfer-encoding") or headers.get(b"content-length", [b"0"]) != [b"0"]:
        raise BadRequest("a WebSocket's handshake has no body: leave out Content-Length and Transfer-Encoding")
    if longest_line > _MAX_HANDSHAKE_LINE_BYTES:
        raise HeadersTooLarge(
            f"a line of a WebSocket's handshake has {longest_line} bytes: at most {_MAX_HANDSHAKE_LINE_BYTES} are read"
        )
    version = b", ".join(headers.get(b"sec-websocket-version", ()))
    if version != b"13":
        raise UpgradeRequired(f"Sec-WebSocket-Version {_shown(version)} is not spoken here: 13 is")
    key = b", ".join(headers.get(b"sec-websocket-key", ()))
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != 16:
        raise BadRequest(f"Sec-WebSocket-Key {_shown(key)} must be 16 bytes in base64, once")
    if len(headers.get(b"origin", ())) > 1:
        raise BadRequest("the header Origin comes more than once: send it once")
    names = _members(headers, b"sec-websocket-protocol")
    if not all(map(_TOKEN.fullmatch, names)) or (b"sec-websocket-protocol" in headers and not names):
        raise BadRequest(
            "Sec-WebSocket-Protocol must be names with commas between, of letters, digits and !#$%&'*+-.^_`|~"
        )


def _plain(request: h11.Request, headers: Headers) -> h11.Request:
    """Say a request in the one way that what follows understands: see the module's docstring."""
    target, dropped, added = request.target, set(), []
    address = _ADDRESS.fullmatch(target)
    if address is not None:
        target = address[2] if address[2].startswith(b"/") else b"/" + address[2]
        dropped.add(b"host")
        added.append((b"Host", address[1]))
    connection = headers.get(b"connection", ())
    if len(connection) > 1:
        dropped.add(b"connection")
        added.append((b"Connection", b", ".join(connection)))
    if b"upgrade" in headers and not (request.http_version > b"1.0" and _asks_for_websocket(request.method, headers)):
        dropped.add(b"upgrade")
    if not dropped:
        return request
    kept = [(name, value) for name, value in request.headers.raw_items() if name.lower() not in dropped]
    return h11.Request(method=request.method, target=target, headers=kept + added, http_version=request.http_version)


def _members(headers: Headers, name: bytes) -> list[bytes]:
    """Split a header's values at commas, in lower case."""
    members = [member.strip(b" \t").lower() for value in headers.get(name, ()) for member in value.split(b",")]
    return [member for member in members if member]


def _too_many_lines() -> HeadersTooLarge:
    return HeadersTooLarge(f"the request has more than {MAX_HEADER_LINES} headers, the most that are read")


def _shown(value: bytes) -> str:
    text = ascii(value[:_SHOWN_BYTES].decode("latin-1"))
    return text if len(value) <= _SHOWN_BYTES else f"{text}..."
