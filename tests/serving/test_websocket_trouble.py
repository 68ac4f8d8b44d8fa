"""Live streams in trouble: wrong headers and messages, limits, clients that sleep, flood, never read or vanish."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from golden.tiny import tiny_mel
from hifigan_rt import Client
from hifigan_rt.errors import RequestFailed
from hifigan_rt.tools.serving.connections import WebSocketConnection
from hifigan_rt.tools.serving.errors import ServingError
from hifigan_rt.tools.serving.websocket import close_code
from running_server import Running, read_all, running, wait_for
from websocket_client import HANDSHAKE, connected, failure, frame, open_stream, ready, rest, send, streams, vanish

BANDS, HOP = 10, 8


HEADERS = {
    "no JSON": ("{", "no JSON"),
    "a list": ("[]", "JSON object, and is []"),
    "deep": ("[" * 4000, "no JSON"),
    "long": ('{"model": "' + "x" * 10_000 + '"}', "at most 4096"),
    "a name that is none": ('{"model": 7}', "must be a name, and is 7"),
    "frames as a text": ('{"segment_frames": "16"}', "whole number, and is '16'"),
    "frames true": ('{"segment_frames": true}', "whole number, and is True"),
    "no frames": ('{"segment_frames": 0}', "from 1 to 256"),
    "too many frames": ('{"segment_frames": 257}', "from 1 to 256"),
    "absurd frames": ('{"segment_frames": 1' + "0" * 100 + "}", "from 1 to 256"),
    "mp3": ('{"output": "mp3"}', "pcm16, float32, and is 'mp3'"),
    "output no text": ('{"output": ["pcm16"]}', "pcm16, float32"),
    "a vector of texts": ('{"conditioning": ["a"]}', "list of numbers, and is a JSON list"),
    "a list of speakers": ('{"speaker": [1, 2]}', "a name, and is [1, 2]"),
    "a misspelt key": ('{"segment_frame": 16}', "'segment_frame'"),
    "bytes": (b"{}", "must be a JSON text"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_are_none_are_refused(server, kind):
    header, reason = HEADERS[kind]
    opened = connected(server)
    opened.send(header)
    code, message, closed = failure(opened)
    assert (code, closed) == ("bad_request", 1007)
    assert reason in message


@pytest.mark.parametrize("name", ["absent", "", "../tiny", "/etc/passwd", "tiny\x00", "x" * 3000])
def test_unknown_models_are_refused(server, name):
    code, message, closed = failure(open_stream(server, model=name))
    assert (code, closed) == ("model_not_found", 1008)
    assert len(message) < 200


FRAME = np.ascontiguousarray(tiny_mel(20).T, "<f4")
MESSAGES = {
    "a byte too many": (FRAME.tobytes() + b"\0", "mel_invalid", "a frame has 40"),
    "half a frame": (FRAME.tobytes()[:60], "mel_invalid", "a frame has 40"),
    "NaN": (np.full((2, BANDS), np.nan, "<f4").tobytes(), "mel_invalid", "NaN"),
    "infinite": (np.full((2, BANDS), np.inf, "<f4").tobytes(), "mel_invalid", "infinite"),
    "beyond any convention": (np.full((2, BANDS), 3e38, "<f4").tobytes(), "mel_invalid", "no convention"),
    "big-endian": (FRAME.byteswap().tobytes(), "mel_invalid", "little-endian"),
    "a text that is no JSON": ("finish", "bad_request", "no JSON"),
    "another type": ('{"type": "stop"}', "bad_request", "is 'stop'"),
    "a second header": ('{"model": "tiny"}', "bad_request", "'model'"),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_messages_that_are_none_end_the_stream(server, kind):
    content, code, reason = MESSAGES[kind]
    gone = server.metric("hifigan_cancelled_requests_total")
    opened = open_stream(server)
    ready(opened)
    opened.send(FRAME.tobytes())
    opened.send(content)
    got, message, closed = failure(opened)
    assert (got, closed) == (code, 1007)
    assert reason in message
    wait_for(lambda: streams(server) == 0)
    assert server.metric("hifigan_cancelled_requests_total") == gone, "a refused client did not go"


def test_nothing_may_follow_the_finish(slow):
    engine, sources = slow
    with running(sources) as server, engine.held():
        opened = open_stream(server)
        ready(opened)
        opened.send(np.tile(FRAME, (20, 1)).tobytes())
        opened.send('{"type": "finish"}')
        opened.send(FRAME.tobytes())
        assert failure(opened)[::2] == ("bad_request", 1007)


def test_messages_beyond_the_limit_are_refused(server):
    opened = open_stream(server)
    ready(opened)
    opened.send(bytes(3 << 20))
    code, message, closed = failure(opened)
    assert (code, closed) == ("payload_too_large", 1009)
    assert "fewer frames" in message


def test_messages_far_beyond_the_limit_end_the_connection(server):
    with open_stream(server) as opened:
        ready(opened)
        with suppress(ConnectionClosed):
            opened.send(bytes(8 << 20))
        assert rest(opened) == (b"", [])
    wait_for(lambda: streams(server) == 0)


def test_one_stream_too_many_is_refused(sources):
    with running(sources, max_live_streams=2) as server:
        first, second = open_stream(server), open_stream(server)
        ready(first)
        ready(second)
        assert failure(open_stream(server))[::2] == ("too_many_requests", 1013)
        with Client(server.url) as client, pytest.raises(RequestFailed) as refused, client.stream():
            pass
        assert (refused.value.code, refused.value.retry_after_seconds) == ("too_many_requests", 1.0)
        first.close()
        wait_for(lambda: streams(server) == 1)
        third = open_stream(server)
        ready(third)
        second.close()
        third.close()


def test_idle_clients_are_told_and_closed(sources):
    with running(sources, idle_timeout_seconds=1.0, header_timeout_seconds=1.0) as server:
        silent = connected(server)
        idle = open_stream(server)
        ready(idle)
        idle.send(FRAME.tobytes())
        for opened, reason in ((silent, "no header"), (idle, "nothing came")):
            code, message, closed = failure(opened)
            assert (code, closed) == ("request_timeout", 1008)
            assert reason in message
        wait_for(lambda: streams(server) == 0)


def test_waiting_for_the_computer_is_not_idle(slow):
    engine, sources = slow
    with running(sources, idle_timeout_seconds=0.6) as server, engine.held():
        opened = open_stream(server, segment_frames=16)
        ready(opened)
        opened.send(np.tile(FRAME, (8, 1)).tobytes())
        time.sleep(1.5)
        opened.send('{"type": "finish"}')
        engine.release()
        with opened:
            _, texts = rest(opened)
    assert texts[-1]["type"] == "end"
    assert texts[-1]["samples"] == 160 * HOP


def test_vanished_clients_free_their_streams(server):
    for way in ("close", "abort"):
        opened = open_stream(server)
        ready(opened)
        opened.send(FRAME.tobytes())
        wait_for(lambda: streams(server) == 1)
        if way == "abort":
            vanish(opened)
        else:
            opened.close()
        wait_for(lambda: streams(server) == 0)


class Flood:
    """A client that sends a second of audio after the other as fast as it can, and reads only if it is told to.

    Without a library: those read while they write only as well as their locks let them.
    """

    def __init__(self, server: Running, header: bytes, *, reads: bool) -> None:
        self.sent = 0
        self._socket = server.connect()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.sendall(HANDSHAKE % b"/v1/stream")
        assert self._socket.recv(1 << 10).startswith(b"HTTP/1.1 101 ")
        self._socket.sendall(frame(1, header))
        self._threads = [threading.Thread(target=self._send)]
        if reads:
            self._threads.append(threading.Thread(target=self._read))
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        message = frame(2, np.tile(FRAME, (50, 1)).tobytes())
        with suppress(OSError):
            while True:
                self._socket.sendall(message)
                self.sent += 1

    def _read(self) -> None:
        with suppress(OSError):
            while self._socket.recv(1 << 16):
                pass

    def ended(self) -> bool:
        return not self._threads[0].is_alive()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        self._socket.close()
        assert self.ended()


def test_a_client_that_floods_has_to_wait(slow):
    """What the server holds for it stays below what it may; the rest waits in the client's own socket."""
    engine, sources = slow
    engine.seconds_per_block = 0.02
    with running(sources, max_pending_seconds=0.5) as server:
        flood = Flood(server, b'{"segment_frames": 16}', reads=True)
        wait_for(lambda: engine.frames > 1000)
        queue = server.context.scheduler._queue
        for _ in range(50):
            assert max(job.remaining_frames for job in queue._jobs) <= 500 + 256
            time.sleep(0.01)
        assert flood.sent < 1000, "kernels hold some megabytes, and the client never had to wait"
        flood.close()
        wait_for(lambda: streams(server) == 0)


def test_a_client_that_never_reads_holds_up_nobody(sources, vocoder):
    with running(sources, max_unread_seconds=2.0, write_timeout_seconds=1.0) as server:
        deaf = Flood(server, b'{"output": "float32", "segment_frames": 256}', reads=False)
        wait_for(lambda: streams(server) == 1)
        mel = tiny_mel(300)
        with open_stream(server, segment_frames=16, output="float32") as opened:
            ready(opened)
            send(opened, mel, [16])
            pcm, _ = rest(opened)
        np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), vocoder(mel, segment_frames=16))
        assert all(job._unread <= (2.0 + 1.0) * 8000 for job in server.context.scheduler._queue._jobs)
        wait_for(lambda: streams(server) == 0)
        wait_for(lambda: server.context.active == 0)
        wait_for(deaf.ended)
        deaf.close()


def bare_stream(server: Running) -> tuple[socket.socket, WebSocketConnection]:
    """A stream whose frames are the test's own bytes, with as little room as kernels allow, and its other end."""
    client = socket.socket()
    client.settimeout(60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(HANDSHAKE % b"/v1/stream")
    assert client.recv(1 << 10).startswith(b"HTTP/1.1 101 ")
    [connection] = server.server.server_state.connections
    assert isinstance(connection, WebSocketConnection)
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return client, connection


def test_pings_of_a_client_that_reads_nothing_are_not_answered_in_memory(sources, quiet):
    with running(sources) as server:
        client, connection = bare_stream(server)
        pings = frame(9, bytes(125)) * 1000
        for _ in range(10):
            client.sendall(pings)
        client.sendall(b"\x02\x81\0\0\0\0x")  # the beginning of a message: all pings have come by then
        wait_for(lambda: len(connection.frames) == 1)
        assert connection.transport.get_write_buffer_size() < 100_000
        client.close()
        wait_for(lambda: server.context.active == 0)


def test_pings_are_answered(server):
    with connected(server) as opened:
        for _ in range(3):
            assert opened.ping().wait(20)


@pytest.mark.parametrize("size", [0, 1 << 20, 12 << 20])
@pytest.mark.parametrize(("broken", "code"), [(b"\x83\x80\0\0\0\0", 1002), (frame(1, b"\xff"), 1007)])
def test_the_end_over_a_broken_frame_is_told_whatever_follows_it(server, quiet, broken, code, size):
    """A connection that is closed while something of the client's is unread loses what was sent to the client."""
    with server.connect() as client:
        client.sendall(HANDSHAKE % b"/v1/stream" + frame(1, b"{}") + broken)
        following = threading.Thread(target=client.sendall, args=(frame(2, bytes(1 << 15)) * (size >> 15),))
        following.start()
        answer = read_all(client)
        following.join(20)
    assert answer.rpartition(b"\x88")[2][1:3] == struct.pack(">H", code)
    wait_for(lambda: streams(server) == 0)


def test_a_message_in_tiny_pieces_takes_no_more_than_its_bytes_and_goes_with_its_connection(sources, quiet):
    with running(sources) as server:
        client, connection = bare_stream(server)
        client.sendall(frame(1, b"{}"))
        wait_for(lambda: streams(server) == 1)
        begin, go_on = b"\x02\x81\0\0\0\0x", b"\0\x81\0\0\0\0x"
        client.sendall(begin + go_on * 30_000)
        wait_for(lambda: len(connection._begun) == 30_001)
        assert connection.frames == []
        client.sendall(b"\0\xfe\xff\xff\0\0\0\0" + bytes(1000))  # a piece that does not come to its end
        wait_for(lambda: len(connection.conn.reader.buffer) >= 1000)
        client.close()
        wait_for(lambda: server.context.active == 0)
        wait_for(lambda: not connection._begun and not connection.conn.reader.buffer)


def test_frames_in_pieces_are_what_they_are_in_one(sources, vocoder):
    mel = tiny_mel(40)
    frames = np.ascontiguousarray(mel.T, "<f4").tobytes()
    with running(sources) as server, connected(server) as opened:
        opened.send(iter(['{"output": ', '"float32"', "}"]))
        ready(opened)
        opened.send(frames[start : start + 7] for start in range(0, len(frames), 7))
        opened.send(iter(['{"type": "fin', 'ish"}']))
        pcm, _ = rest(opened)
    np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), vocoder(mel, segment_frames=16))


def test_an_engine_that_fails_is_told(slow):
    engine, sources = slow
    with running(sources) as server:
        opened = open_stream(server)
        ready(opened)
        engine.failure = RuntimeError("a secret of the engine")
        opened.send(FRAME.tobytes())
        code, message, closed = failure(opened)
        assert (code, closed) == ("internal", 1011)
        assert "secret" not in message
        wait_for(lambda: streams(server) == 0)


def test_tokens_are_asked_for_before_the_stream_opens(sources):
    with running(sources, bearer_tokens=("right",)) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus) as caught:
                connected(server, additional_headers=headers)
            assert caught.value.response.status_code == 401
            assert json.loads(caught.value.response.body)["error"]["code"] == "unauthorized"
        with connected(server, additional_headers={"Authorization": "Bearer right"}) as opened:
            opened.send("{}")
            ready(opened)
        with connected(server, subprotocols=["hifigan.v1", "bearer.right"]) as opened:
            assert opened.subprotocol == "hifigan.v1"


def test_a_stream_that_has_begun_is_finished_at_shutdown(sources, vocoder):
    mel = tiny_mel(40)
    with running(sources) as server, open_stream(server, output="float32") as opened:
        ready(opened)
        server.server.begin_shutdown()
        with pytest.raises(InvalidStatus) as caught:
            connected(server)
        assert caught.value.response.status_code == 503
        send(opened, mel, [10])
        pcm, texts = rest(opened)
    np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), vocoder(mel, segment_frames=16))
    assert texts[-1]["type"] == "end"


def test_every_failure_has_a_code_to_close_with():
    classes = [ServingError]
    for failure_class in classes:
        classes += failure_class.__subclasses__()
        assert close_code(failure_class("")) in (1007, 1008, 1009, 1011, 1012, 1013)
