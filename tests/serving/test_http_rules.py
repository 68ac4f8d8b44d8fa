"""HTTP and WebSocket as the RFCs have them: what is refused, and what strangers' mistakes leave in the log."""

from __future__ import annotations

import json
import logging

import pytest

from golden.tiny import tiny_mel
from running_server import npy, read_all, request, running, status_and_code, wait_for
from websocket_client import HANDSHAKE, KEY, frame


def exchanged(server, *pieces: bytes) -> bytes:
    with server.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_all(connection)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("path", "status", "allowed"),
    [
        (b"/v1/nothing", 404, None),
        (b"/v1/stream/", 404, None),
        (b"/v1/synthesize", 405, b"POST"),
        (b"/v1/models/tiny", 405, b"GET, HEAD"),
        (b"/healthz", 405, b"GET, HEAD"),
        (b"/v2/nothing", 404, None),
    ],
)
def test_a_websocket_elsewhere_is_answered_as_any_request(server, path, status, allowed):
    answer = exchanged(server, HANDSHAKE % path)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    fields = {name.lower(): value for name, value in lines}
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert fields.get(b"allow") == allowed
    assert b"x-request-id" in fields
    text = json.dumps(json.loads(body)["error"])
    assert path.decode() in text
    assert "the WebSocket is /v1/stream" in text


@pytest.mark.parametrize("token", ["", "secret"])
def test_what_a_proxy_makes_of_a_websocket_is_told_the_way_out(server, sources, token):
    """Upgrade and Connection belong to one connection: a proxy drops them unless it is told to pass them on."""
    head = b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n"
    sent = head % (KEY + b"Sec-WebSocket-Protocol: hifigan.v1, bearer.%s\r\n" % (token.encode() or b"x")) + b"\r\n"
    if token:
        with running(sources, bearer_tokens=(token,)) as guarded:
            answer = exchanged(guarded, sent)
            assert status_and_code(exchanged(guarded, sent.replace(b".secret", b".wrong")))[0] == 401
    else:
        answer = exchanged(server, sent)
    assert status_and_code(answer) == (426, "upgrade_required")
    assert b"\r\nupgrade: websocket\r\n" in answer.lower()
    assert b"Upgrade: websocket and Connection: Upgrade" in answer
    assert b"a proxy in front" in answer


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(b"", b"", b"Transfer-Encoding: chunked\r\n"), 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 2000 + b"\r\n", 431),
        (HANDSHAKE.replace(b": 13", b": 12") % b"/v1/stream", 426),
        (HANDSHAKE.replace(b"\r\n\r\n", b"\r\nA: " + b"y" * 9000 + b"\r\n\r\n") % b"/v1/stream", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: \x1b]0;owned\x07\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_refused_is_answered_and_the_connection_closed(server, sent, status):
    # What follows is no request, and does not cost the client the answer.
    answer = exchanged(server, sent, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(1 << 20))
    assert status_and_code(answer)[0] == status
    assert answer.count(b"HTTP/1.1") == 1 + answer.count(b"HTTP/1.1 is")
    assert b"connection: close" in answer.lower()


def test_a_refusal_has_the_form_of_its_protocol(server):
    head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    for sent, text in (
        (head + chunked + b"Content-Length: 3\r\n\r\n", "bad_request: Content-Length and"),
        (head + chunked + b"\r\nzzz\r\n", "bad_request: the request is not as HTTP/1.1 has it"),
        (b"GET /v2 HTTP/3.0\r\n\r\n", "http_version_unknown: HTTP/3.0"),
    ):
        told = json.loads(exchanged(server, sent).partition(b"\r\n\r\n")[2])["error"]
        assert isinstance(told, str)
        assert told.startswith(text)
    assert isinstance(json.loads(exchanged(server, b"GET /v2x\r\n\r\n").partition(b"\r\n\r\n")[2])["error"], dict)


def test_a_refusal_is_found_in_the_log_by_its_id(server, caplog):
    caplog.set_level(logging.INFO, "hifigan_rt")
    answer = exchanged(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert f"x-request-id: {told['request_id']}".encode() in answer.lower()
    facts = [getattr(record, "facts", {}) for record in caplog.records]
    [found] = [fact for fact in facts if fact.get("request_id") == told["request_id"]]
    assert (found["event"], found["client"], found["code"]) == ("refused", "127.0.0.1", "bad_request")


def test_a_whole_address_is_taken_whatever_the_host(server):
    answer = exchanged(
        server, b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    answer = exchanged(server, HANDSHAKE % b"http://localhost/v1/nothing")
    assert status_and_code(answer)[0] == 404


def test_empty_lines_between_requests_are_skipped(server):
    once = request(npy(tiny_mel(20)))
    last = request(npy(tiny_mel(20)), b"", b"Connection: close\r\n")
    assert exchanged(server, b"\r\n" + once + b"\r\n" + once + b"\r\n\n" + last).count(b"HTTP/1.1 200 OK") == 3


def test_empty_lines_alone_end_in_time(sources):
    with running(sources, header_timeout_seconds=0.3) as server:
        assert exchanged(server, b"\r\n\r\n") == b""


def test_frames_sent_with_the_handshake_are_taken(server):
    mel = tiny_mel(40)
    frames = [frame(9, b"?"), frame(1, b"{}"), frame(2, mel.T.astype("<f4").tobytes()), frame(1, b'{"type": "finish"}')]
    for pieces in ([HANDSHAKE % b"/v1/stream" + b"".join(frames)], [HANDSHAKE % b"/v1/stream", *frames]):
        with server.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            answer = b""
            while b'"type": "end", "frames": 40' not in answer:
                piece = connection.recv(1 << 16)
                assert piece, answer
                answer += piece
        assert answer.startswith(b"HTTP/1.1 101 ")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "frames",
    [
        [frame(1, b"\xff")],
        [frame(1, b"\xff"), frame(8, b"\x03\xe8")],
        [frame(1, b"\xff"), frame(1, b"\xff"), frame(1, b"{}")],
        [frame(8, b"\x03\xe8"), frame(1, b"\xff")],
        [frame(1, b"{}"), frame(1, b"\xed\xa0\x80"), frame(9, b"?"), frame(2, bytes(40))],
        [frame(0, b"x")],
        [frame(3, b"x")],
        [frame(8, b"\x03")],
        [frame(8, b"\xff\xff\xff")],
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_broken_frames_are_no_error_of_the_server(server, frames, together):
    sent = HANDSHAKE % b"/v1/stream"
    with server.connect() as connection:
        if together:
            connection.sendall(sent + b"".join(frames))
        else:
            connection.sendall(sent)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 101 ")
            connection.sendall(b"".join(frames))
        read_all(connection)
    wait_for(lambda: server.context.active == 0)


@pytest.mark.usefixtures("quiet")
def test_clients_that_go_in_the_middle_are_no_error(server):
    for sent in (
        HANDSHAKE % b"/v1/stream",
        HANDSHAKE % b"/nothing",
        HANDSHAKE[:40],
        HANDSHAKE % b"/v1/stream" + b"\x81",
    ):
        for _ in range(5):
            connection = server.connect()
            connection.sendall(sent)
            connection.close()
    wait_for(lambda: server.context.active == 0)
