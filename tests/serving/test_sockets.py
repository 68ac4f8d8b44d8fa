"""Clients that are slow, silent, gone or no clients at all: the server goes on, and their work and sockets end."""

from __future__ import annotations

import socket
import struct
import time
from asyncio.selector_events import _SelectorSocketTransport

import pytest

from golden.tiny import tiny_mel
from running_server import REQUEST, npy, read_all, request, running, status_and_code, wait_for


def vanish(connection: socket.socket) -> None:
    """Go without a farewell: what a killed process or a pulled cable's reset looks like."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("streamed", [0, 1])
@pytest.mark.parametrize("leave", [socket.socket.close, vanish])
def test_a_client_that_goes_stops_the_work(slow, streamed, leave):
    engine, sources = slow
    with running(sources) as server:
        warm_up = engine.frames
        block = 32 if streamed else 256
        with engine.held(after_blocks=2):
            connection = server.connect()
            connection.sendall(request(npy(tiny_mel(20 * 256)), b"?stream=%d" % streamed))
            wait_for(lambda: engine.frames == warm_up + 2 * block)
            if streamed:
                assert connection.recv(12) == b"HTTP/1.1 200"
            leave(connection)
            wait_for(lambda: server.context.active == 0)
        wait_for(lambda: server.metric("hifigan_queued_requests") == 0)
        assert engine.frames <= warm_up + 3 * block
        labels = {"route": "/v1/synthesize", "model": "slow"}
        counts = [server.metric("hifigan_requests_total", status=status, **labels) for status in ("200", "499")]
        assert counts == ([1, 0] if streamed else [0, 1])
        wait_for(lambda: server.metric("hifigan_cancelled_requests_total") == 1)
        # Nothing was refused, though the log calls both "client_gone".
        assert b"hifigan_rejected_requests_total{" not in server.context.telemetry.exposition()


def test_a_client_that_goes_while_it_sends_is_no_failure(server, caplog):
    gone = server.metric("hifigan_cancelled_requests_total")
    connection = server.connect()
    connection.sendall(request(npy(tiny_mel(1000)))[:5000])
    wait_for(lambda: server.context.active == 1)
    connection.close()
    wait_for(lambda: server.context.active == 0)
    wait_for(lambda: server.metric("hifigan_cancelled_requests_total") == gone + 1)
    assert server.context.memory.held_bytes == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_client_that_never_reads_loses_its_connection(slow):
    engine, sources = slow
    with running(sources, write_timeout_seconds=0.5, max_unread_seconds=5.0) as server:
        server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        warm_up = engine.frames
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frames = 60_000
        connection.sendall(
            b"POST /v1/synthesize?stream=1&format=float32 HTTP/1.1\r\nHost: localhost\r\nX-Mel-Shape: 10,%d\r\n"
            b"Content-Length: %d\r\n\r\n" % (frames, 40 * frames)
        )
        connection.sendall(bytes(40 * frames))
        wait_for(lambda: engine.frames > warm_up)
        wait_for(lambda: server.context.active == 0)
        # Computed were what the sockets' buffers hold and the scheduler's bound on what is not read.
        assert engine.frames < frames
        connection.close()


def test_a_client_that_reads_slowly_gets_everything(slow):
    _, sources = slow
    with running(sources, write_timeout_seconds=1.0) as server:
        # Accepted sockets inherit it: the answer waits in the server, not in the kernel.
        server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            connection.sendall(request(npy(tiny_mel(20_000)), b"?format=pcm16", b"Connection: close\r\n"))
            began, received = time.monotonic(), 0
            while piece := connection.recv(30_000):
                received += len(piece)
                time.sleep(len(piece) / 120_000)
    assert received > 2 * 8 * 20_000
    assert time.monotonic() - began > 2 * 1.0


def test_headers_that_do_not_come_end_the_connection(sources):
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    # The next request on a connection has as long as the first.
    answers = {b"": 0, b"POST /v1/synth": 0, whole: 0, whole + b"\r\nGET /hea": 1}
    with running(sources, header_timeout_seconds=1.0) as server:
        connections = [server.connect() for _ in answers]
        for connection, beginning in zip(connections, answers, strict=True):
            connection.sendall(beginning)
        for connection, count in zip(connections, answers.values(), strict=True):
            with connection:
                assert read_all(connection).count(b"HTTP/1.1 200") == count


def test_headers_a_byte_at_a_time_end_too(sources):
    with (
        running(sources, header_timeout_seconds=0.4) as server,
        server.connect() as connection,
        pytest.raises(OSError),  # noqa: PT011 - reset or broken pipe, as the timing falls
    ):
        for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 5000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)


def test_a_body_that_does_not_come_is_answered(sources):
    chunked = b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n"
    content = npy(tiny_mel(100))
    with running(sources, body_timeout_seconds=1.0) as server:
        with server.connect() as cut_short, server.connect() as in_chunks:
            cut_short.sendall(request(content)[:-1])
            in_chunks.sendall(chunked)
            for connection in (cut_short, in_chunks):
                assert status_and_code(read_all(connection)) == (408, "request_timeout")
        with server.client() as client:
            assert client.post("/v1/synthesize", content=content).status_code == 200


def test_a_half_closed_client_counts_as_gone(slow):
    engine, sources = slow
    with running(sources) as server, server.connect() as connection, engine.held():
        connection.sendall(request(npy(tiny_mel(20))))
        wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
        connection.shutdown(socket.SHUT_WR)
        wait_for(lambda: server.context.active == 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Length: -4\r\n\r\n", 400),
        (b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Length: four\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 200_000, 431),
    ],
)
def test_what_is_no_http_is_answered_in_json(server, sent, status):
    code = "bad_request" if status == 400 else "headers_too_large"
    counted = server.metric("hifigan_rejected_requests_total", reason=code)
    with server.connect() as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert status_and_code(answer) == (status, code)
    assert server.metric("hifigan_rejected_requests_total", reason=code) == counted + 1


def test_a_chunk_that_is_none_ends_the_connection(server):
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"
        )
        assert status_and_code(read_all(connection)) == (400, "bad_request")
    wait_for(lambda: server.context.active == 0)


def test_more_bytes_than_declared_are_the_next_request(server):
    content = npy(tiny_mel(20))
    with server.connect() as connection:
        connection.sendall(request(content) + b"more\r\n\r\n")
        answer = read_all(connection)
    first, second = answer.index(b"HTTP/1.1 200 OK"), answer.index(b"HTTP/1.1 400 ")
    assert first < second


def test_requests_one_after_the_other_on_one_connection(server):
    content = npy(tiny_mel(20))
    with server.connect() as connection:
        connection.sendall(request(content, b"?format=wav") * 3 + request(content, b"", b"Connection: close\r\n"))
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.usefixtures("quiet")
def test_a_client_that_goes_while_it_is_refused_is_no_failure(server, monkeypatch):
    connection = server.connect()
    write_eof = _SelectorSocketTransport.write_eof

    def end_after_reset(transport):
        vanish(connection)
        write_eof(transport)

    monkeypatch.setattr(_SelectorSocketTransport, "write_eof", end_after_reset)
    # The second one is found to be no request while the response to the first is sent.
    connection.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/9.9\r\n\r\n")
    wait_for(lambda: connection.fileno() < 0)
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def test_who_asks_for_leave_is_refused_before_the_body(server):
    head = REQUEST % (b"", 1 << 40, b"Expect: 100-continue\r\n")
    with server.connect() as connection:
        connection.sendall(head)
        answer = read_all(connection)
    assert b"100 Continue" not in answer
    assert status_and_code(answer) == (413, "payload_too_large")


def test_who_asks_for_leave_gets_it(server):
    content = npy(tiny_mel(20))
    with server.connect() as connection:
        connection.sendall(REQUEST % (b"", len(content), b"Expect: 100-continue\r\nConnection: close\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(content)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("http", [b"1.0", b"1.1"])
def test_a_client_whose_connection_ends_behind_a_refusal_may_finish_its_body(server, http):
    """nginx asks so by default: reset while it sends, it answers 502 instead of what it was told."""
    content = bytes(8 << 20)
    head = REQUEST % (b"?format=mp4", len(content), b"Connection: close\r\n")
    with server.connect() as connection:
        connection.sendall(head.replace(b"HTTP/1.1", b"HTTP/" + http))
        answer = read_all(connection)
        connection.sendall(content)
    assert status_and_code(answer) == (400, "bad_request")


def test_an_answer_that_does_not_wait_for_the_body_ends_the_connection(server):
    """What a proxy sends next on it would be read as the rest of the body."""
    with server.connect() as connection:
        connection.sendall(REQUEST % (b"?format=mp4", 1 << 20, b"") + b"a part of it")
        answer = read_all(connection)
    assert status_and_code(answer) == (400, "bad_request")
    assert answer.lower().count(b"connection: close") == 1


def test_a_refused_body_that_goes_on_without_end_ends_the_connection(server, monkeypatch):
    monkeypatch.setattr("hifigan_rt.tools.serving.connections._LINGER_SECONDS", 0.3)
    with server.connect() as connection:
        connection.sendall(REQUEST % (b"", 1 << 40, b""))
        answer = b""
        while not answer.endswith(b"}}"):
            answer += connection.recv(1 << 16)
        assert status_and_code(answer) == (413, "payload_too_large")
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the timing falls
            for _ in range(2000):
                connection.sendall(bytes(1 << 14))
                time.sleep(0.005)


def test_silent_connections_beyond_what_may_be_open_give_way(sources):
    with running(sources, max_concurrent_requests=1) as server, server.client() as client:
        assert client.get("/healthz").status_code == 200
        silent = [
            socket.create_connection(("127.0.0.1", server.port), 60, source_address=("127.0.0.2", 0)) for _ in range(80)
        ]
        assert read_all(silent[0]) == b""
        assert client.get("/healthz").status_code == 200
        with server.client() as another:
            assert another.post("/v1/synthesize", content=npy(tiny_mel(20))).status_code == 200
        for connection in silent:
            connection.close()


def test_many_silent_connections_leave_room_for_others(server):
    silent = [server.connect() for _ in range(300)]
    with server.client() as client:
        assert client.post("/v1/synthesize", content=npy(tiny_mel(20))).status_code == 200
    for connection in silent:
        connection.close()


@pytest.mark.parametrize("whole", [False, True])
def test_a_stream_of_http_1_0_that_is_cut_off_does_not_look_whole(slow, whole):
    """Its answers end where the connection does; proxies ask that way whose settings say nothing else."""
    engine, sources = slow
    sent = request(npy(tiny_mel(320)), b"?format=pcm16&stream=1").replace(b"HTTP/1.1", b"HTTP/1.0")
    with running(sources) as server, server.connect() as connection, engine.held(after_blocks=1):
        connection.sendall(sent)
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:
            received += connection.recv(1 << 16)
        engine.failure = None if whole else RuntimeError("the engine fails")
        engine.release()
        if whole:
            received += read_all(connection)
            assert len(received.partition(b"\r\n\r\n")[2]) == 2 * 8 * 320
        else:
            with pytest.raises(ConnectionResetError):
                while connection.recv(1 << 16):
                    pass
