"""Heads of requests that break a rule of RFC 9110, 9112 or 6455, and those that look odd and break none."""

from __future__ import annotations

import h11
import pytest

from hifigan_rt.tools.serving.errors import ServingError
from hifigan_rt.tools.serving.request_heads import MAX_HEADER_BYTES, MAX_HEADER_LINES, CheckedConnection, check_head

KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"


def head(headers: bytes = b"", line: bytes = b"POST /v1/synthesize HTTP/1.1", host: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + host + headers + b"\r\n"


def read(received: bytes) -> h11.Request | ServingError | None:
    """The request, or why there is none; None while more is needed."""
    connection = CheckedConnection(h11.SERVER)
    connection.receive_data(received)
    connection = connection.skip_empty_lines()
    event = connection.next_event()
    assert isinstance(event, h11.Request) or event is h11.NEED_DATA
    return event if isinstance(event, h11.Request) else connection.failure


BROKEN = {
    "length and chunks": (head(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "contradict"),
    "chunks and length": (head(b"transfer-encoding: chunked\r\ncontent-length: 0\r\n"), 400, "contradict"),
    "two lengths": (head(b"Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "comes 2 times"),
    "one length twice": (head(b"Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "comes 2 times"),
    "a list of lengths": (head(b"Content-Length: 5, 5\r\n"), 400, "'5, 5'"),
    "a length with a sign": (head(b"Content-Length: +5\r\n"), 400, "'+5'"),
    "a length in hexadecimal": (head(b"Content-Length: 0x5\r\n"), 400, "'0x5'"),
    "a length of nothing": (head(b"Content-Length:\r\n"), 400, "in digits alone"),
    "a length of other digits": (head("Content-Length: \u0661\r\n".encode()), 400, "in digits alone"),
    "a length beyond all": (head(b"Content-Length: 99999999999999999999\r\n"), 413, "'99999999999999999999' is more"),
    "chunked twice": (head(b"Transfer-Encoding: chunked, chunked\r\n"), 400, "once"),
    "chunked in two lines": (head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "once"),
    "chunked with more": (head(b"Transfer-Encoding: chunked;q=1\r\n"), 400, "'chunked;q=1'"),
    "no coding": (head(b"Transfer-Encoding:\r\n"), 501, "''"),
    "another coding": (head(b"Transfer-Encoding: gzip, chunked\r\n"), 501, "'gzip'"),
    "a coding that looks like it": (head(b"Transfer-Encoding: xchunked\r\n"), 501, "'xchunked'"),
    "identity": (head(b"Transfer-Encoding: identity\r\n"), 501, "'identity'"),
    "chunks in HTTP/1.0": (head(b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.0"), 400, "HTTP/1.0"),
    "a folded header": (head(b"A: b\r\n c\r\n"), 400, "begins with a space"),
    "a folded first header": (head(host=b" Host: x\r\n"), 400, "begins with a space"),
    "a space before the colon": (head(b"Content-Length : 5\r\n"), 400, "a space before its colon"),
    "a tab before the colon": (head(b"Transfer-Encoding\t: chunked\r\n"), 400, "a space before its colon"),
    "no colon": (head(b"Content-Length 5\r\n"), 400, "no colon"),
    "no name": (head(b": 5\r\n"), 400, "other characters"),
    "a name of two words": (head(b"a b: 5\r\n"), 400, "other characters"),
    "a name beyond ASCII": (head(b"a\xff: 5\r\n"), 400, "other characters"),
    "a bare carriage return": (head(b"A: b\rContent-Length: 5\r\n"), 400, "carriage return"),
    "a carriage return too many": (head(b"A: b\r\r\n"), 400, "carriage return"),
    "a NUL": (head(b"A: \0\r\n"), 400, "control character"),
    "an escape": (head(b"A: \x1b[2J\r\n"), 400, "control character"),
    "no host": (head(host=b""), 400, "Host is missing"),
    "two types": (head(b"Content-Type: a/b\r\nContent-Type: a/b\r\n"), 400, "Content-Type comes 2 times"),
    "two shapes": (head(b"X-Mel-Shape: 80,20\r\nx-mel-shape: 20,80\r\n"), 400, "X-Mel-Shape comes 2 times"),
    "two hosts": (head(b"Host: x\r\n"), 400, "Host comes 2 times"),
    "a host that is none": (head(host=b"Host: [\r\n"), 400, "Host '['"),
    "a host with a path": (head(host=b"Host: x/y\r\n"), 400, "Host 'x/y'"),
    "a host with a user": (head(host=b"Host: a@x\r\n"), 400, "Host 'a@x'"),
    "a port that is none": (head(host=b"Host: x:y\r\n"), 400, "Host 'x:y'"),
    "two ports": (head(host=b"Host: x:1:2\r\n"), 400, "Host 'x:1:2'"),
    "a host of HTTP/1.0 that is none": (head(host=b"Host: x y\r\n", line=b"GET / HTTP/1.0"), 400, "Host 'x y'"),
    "two hosts in HTTP/1.0": (head(b"Host: y\r\n", line=b"GET / HTTP/1.0"), 400, "Host comes 2 times"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0"),
    "HTTP/0.9": (head(line=b"GET / HTTP/0.9"), 505, "HTTP/0.9"),
    "HTTP/9": (head(line=b"GET / HTTP/9"), 400, "METHOD TARGET HTTP/1.1"),
    "http/1.1": (head(line=b"GET / http/1.1"), 400, "METHOD TARGET HTTP/1.1"),
    "HTTP/1.10": (head(line=b"GET / HTTP/1.10"), 400, "METHOD TARGET HTTP/1.1"),
    "no version": (head(line=b"GET /"), 400, "METHOD TARGET HTTP/1.1"),
    "two spaces": (head(line=b"GET  / HTTP/1.1"), 400, "METHOD TARGET HTTP/1.1"),
    "a space in the target": (head(line=b"GET /a b HTTP/1.1"), 400, "METHOD TARGET HTTP/1.1"),
    "a target beyond ASCII": (head(line="GET /\u00e9 HTTP/1.1".encode()), 400, "METHOD TARGET HTTP/1.1"),
    "a tab": (head(line=b"GET\t/ HTTP/1.1"), 400, "METHOD TARGET HTTP/1.1"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400, "http://, not https://"),
    "a space first": (b" " + head(), 400, "METHOD TARGET HTTP/1.1"),
    "a path without /": (head(line=b"GET v1/models HTTP/1.1"), 400, "begins with /"),
    "a star": (head(line=b"GET * HTTP/1.1"), 400, "begins with /"),
    "a fragment": (head(line=b"GET /v1/models#a HTTP/1.1"), 400, "fragment"),
    "another scheme": (head(line=b"GET ftp://x/ HTTP/1.1"), 400, "http://HOST/PATH"),
    "an address without a host": (head(line=b"GET http:///v1 HTTP/1.1"), 400, "of a host"),
    "an address of a port alone": (head(line=b"GET http://:80/v1 HTTP/1.1"), 400, "of a host"),
    "an address with a user": (head(line=b"GET http://a:b@x/v1 HTTP/1.1"), 400, "of a host"),
    "an address that is none": (head(line=b"GET http://[/v1 HTTP/1.1"), 400, "of a host"),
    "CONNECT": (head(line=b"CONNECT x:443 HTTP/1.1"), 501, "CONNECT"),
    "another expectation": (head(b"Expect: 100-continue, the-worst\r\n"), 417, "'the-worst'"),
    "too much": (head(b"A: " + b"y" * MAX_HEADER_BYTES + b"\r\n"), 431, f"more than {MAX_HEADER_BYTES} bytes"),
    "too much in one piece": (head(b"A: " + b"y" * 60_000 + b"\r\n") + bytes(60_000), 431, "bytes"),
    "too much without end": (b"GET /" + b"y" * 200_000, 431, "bytes"),
    "too many headers": (head(b"A: b\r\n" * MAX_HEADER_LINES), 431, f"more than {MAX_HEADER_LINES} headers"),
    "too many headers without end": (head(b"A: b\r\n" * 2000)[:-2], 431, "headers"),
}  # fmt: skip
GET = b"GET /v1/stream HTTP/1.1"
BROKEN |= {
    "a handshake with a body": (head(UPGRADE + VERSION + KEY + b"Content-Length: 5\r\n", GET), 400, "no body"),
    "a handshake in chunks": (head(UPGRADE + VERSION + KEY + b"Transfer-Encoding: chunked\r\n", GET), 400, "no body"),
    "another version": (head(UPGRADE + KEY + b"Sec-WebSocket-Version: 8\r\n", GET), 426, "'8'"),
    "no version of a WebSocket": (head(UPGRADE + KEY, GET), 426, "13 is"),
    "no key": (head(UPGRADE + VERSION, GET), 400, "16 bytes in base64"),
    "a short key": (head(UPGRADE + VERSION + b"Sec-WebSocket-Key: AAAA\r\n", GET), 400, "'AAAA'"),
    "a key that is none": (head(UPGRADE + VERSION + b"Sec-WebSocket-Key: \xff\r\n", GET), 400, "16 bytes in base64"),
    "two keys": (head(UPGRADE + VERSION + KEY * 2, GET), 400, "once"),
    "two origins": (head(UPGRADE + VERSION + KEY + b"Origin: a\r\nOrigin: a\r\n", GET), 400, "Origin"),
    "a wrong subprotocol": (head(UPGRADE + VERSION + KEY + b"Sec-WebSocket-Protocol: a b\r\n", GET), 400, "name"),
    "no subprotocol": (head(UPGRADE + VERSION + KEY + b"Sec-WebSocket-Protocol: ,\r\n", GET), 400, "names"),
    "a long line of a handshake": (head(UPGRADE + VERSION + KEY + b"A: " + b"y" * 8190 + b"\r\n", GET), 431, "8190"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_breaks_a_rule_is_refused_with_value_and_rule(kind):
    received, status, text = BROKEN[kind]
    failure = read(received)
    assert isinstance(failure, ServingError), failure
    assert (failure.status, text in failure.message) == (status, True), failure.message
    assert len(failure.message) < 250
    assert failure.message.isascii()
    assert failure.message.isprintable()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("kind", ["too much in one piece", "too many headers without end", "length and chunks"])
def test_in_pieces_of_any_size(kind, size):
    received, status, _ = BROKEN[kind]
    received = received[: received.find(b"\r\n\r\n") + 4 if size == 1 and status == 400 else MAX_HEADER_BYTES + 1000]
    came = next(end for end in range(0, len(received) + size, size) if fails(received[:end]))
    with pytest.raises(ServingError) as refused:
        check_head(received[:came])
    assert refused.value.status == status


def fails(received: bytes) -> bool:
    try:
        check_head(received)
    except ServingError:
        return True
    return False


FINE = {
    "plain": head(b"Content-Length: 5\r\n"),
    "bare line feeds": head(b"Content-Length: 5\r\n").replace(b"\r", b""),
    "empty lines before": b"\r\n\n\r\n" + head(),
    "leading zeros": head(b"Content-Length: 0005\r\n"),
    "chunked in capitals": head(b"Transfer-Encoding:  Chunked \r\n"),
    "text beyond ASCII": head(b"User-Agent: caf\xe9 \t x\r\n"),
    "values of nothing": head(b"Accept:\r\nX-A: \r\n"),
    "HTTP/1.0 without host": head(line=b"GET / HTTP/1.0", host=b""),
    "HTTP/1.0 that expects": head(b"Expect: 100-continue, more\r\n", line=b"POST / HTTP/1.0"),
    "a later HTTP/1.x": head(line=b"GET / HTTP/1.2"),
    "an empty host": head(host=b"Host:\r\n"),
    "a host with a port": head(host=b"Host: x.example:8004\r\n"),
    "IPv6": head(host=b"Host: [2001:db8::1]:80\r\n"),
    "a name with an underscore": head(host=b"Host: my_service\r\n"),
    "an odd query": head(line=b"GET /v1/models?a=%zz&b=[|]'<\"^` HTTP/1.1"),
    "a query without path in an address": head(line=b"GET HTTP://x?a=1 HTTP/1.1"),
    "OPTIONS *": head(line=b"OPTIONS * HTTP/1.1"),
    "asks for leave": head(b"Expect: 100-Continue\r\n"),
    "another upgrade": head(b"Upgrade: h2c, TLS/1.0\r\nConnection: Upgrade, HTTP2-Settings\r\n"),
    "an upgrade that is posted": head(UPGRADE + b"Content-Length: 5\r\n"),
    "a handshake of HTTP/1.0": head(UPGRADE + KEY + VERSION, line=b"GET / HTTP/1.0"),
    "many headers": head(b"A: b\r\n" * (MAX_HEADER_LINES - 1)),
    "much": head(b"A: " + b"y" * (MAX_HEADER_BYTES - 100) + b"\r\n") + bytes(100_000),
    "a handshake": head(UPGRADE.lower() + VERSION + KEY + b"Sec-WebSocket-Protocol: hifigan.v1,, bearer.a-b\r\n", GET),
    "a handshake of Firefox": head(b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" + VERSION + KEY, GET),
}  # fmt: skip


@pytest.mark.parametrize("kind", FINE)
def test_what_breaks_no_rule_is_taken(kind):
    assert isinstance(read(FINE[kind]), h11.Request)


def test_a_whole_address_is_a_path_and_a_host():
    for target, path in (
        (b"http://a.example:80/v1?x=1", b"/v1?x=1"),
        (b"HTTPS://[::1]", b"/"),
        (b"http://a?x", b"/?x"),
    ):
        request = read(head(line=b"GET " + target + b" HTTP/1.1", host=b"Host: b\r\n"))
        assert isinstance(request, h11.Request)
        assert request.target == path
        assert [value for name, value in request.headers if name == b"host"] == [target.split(b"/")[2].split(b"?")[0]]


def test_an_upgrade_counts_where_it_may_and_its_options_may_be_in_two_lines():
    def kept(received: bytes) -> dict[bytes, bytes]:
        request = read(received)
        assert isinstance(request, h11.Request)
        return dict(request.headers)

    for kind in ("another upgrade", "an upgrade that is posted", "a handshake of HTTP/1.0"):
        assert b"upgrade" not in kept(FINE[kind])
    two = b"Upgrade: websocket\r\nConnection: Upgrade\r\nConnection: keep-alive\r\n"
    headers = kept(head(two + VERSION + KEY, GET))
    assert (headers[b"upgrade"], headers[b"connection"]) == (b"websocket", b"Upgrade, keep-alive")


def test_half_a_head_is_waited_for():
    for beginning in (b"\r", b"\r\n", b"G", head()[:-1], head()[:-3]):
        assert read(beginning) is None
