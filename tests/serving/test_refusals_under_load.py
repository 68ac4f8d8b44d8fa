"""A server that is full, busy or failing says so, and when to come back."""

import contextlib
import http.client
import socket

import numpy as np
import pytest

from golden.tiny import tiny_mel
from hifigan_rt.errors import EngineError
from running_server import npy, request, running, wait_for

SYNTHESIZE = "/v1/synthesize"
JSON = {"Content-Type": "application/json"}
MEL = tiny_mel(20)


def test_what_does_not_fit_into_the_budget_waits_and_is_refused(sources):
    with running(sources, memory_budget_bytes=64 << 20, max_queue_wait_seconds=0.1) as small, small.client() as client:
        small.context.memory.held_bytes += 64 << 20
        answer = client.post(SYNTHESIZE, content=npy(MEL))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
        assert answer.json()["error"]["message"].startswith("requests hold 67.1 MB of the server's 67.1 MB")
        assert answer.headers["retry-after"] == "1"
        small.context.memory.held_bytes -= 64 << 20
        assert client.post(SYNTHESIZE, content=npy(MEL)).status_code == 200
        wait_for(lambda: small.context.memory.held_bytes == 0)  # a little after the answer is here


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (SYNTHESIZE, {}),
        (SYNTHESIZE, {"X-Mel-Shape": "10,20"}),
        (SYNTHESIZE, JSON),
        ("/v1/copy-synthesis", {}),
        ("/v2/models/slow/infer", {}),
    ],
)
def test_a_full_server_refuses_without_reading_the_body(slow, path, headers):
    engine, sources = slow
    with running(sources, max_queued_requests=1) as server:
        with engine.held():
            thread, answers = server.begin(SYNTHESIZE, npy(MEL))
            wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
            with server.connect() as connection:
                lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000000"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                connection.sendall("\r\n".join([*lines, "", "only the beginning"]).encode())
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) >= 1
                assert b"queue_full" in answer.read()
            assert server.metric("hifigan_rejected_requests_total", reason="queue_full") == 1
        thread.join()
        assert answers[0].status_code == 200


def test_what_is_too_long_to_wait_for_is_refused_by_its_length(slow):
    engine, sources = slow
    with running(sources, max_queued_audio_seconds=6.0) as server, server.client() as client:
        with engine.held():
            asked = [server.begin(SYNTHESIZE, npy(tiny_mel(5000)))]  # 5 s
            wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
            body = npy(tiny_mel(4000).astype(np.float64))
            refused = client.post(SYNTHESIZE, content=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
            asked.append(server.begin(SYNTHESIZE, npy(tiny_mel(300))))
            wait_for(lambda: server.metric("hifigan_queued_requests") == 2)
        for thread, answers in asked:
            thread.join()
            assert answers[0].status_code == 200


def test_a_packed_body_is_judged_by_the_shape_that_it_states_before_it_is_read(slow):
    engine, sources = slow
    with running(sources, max_queued_audio_seconds=6.0) as server, engine.held():
        thread, answers = server.begin(SYNTHESIZE, npy(tiny_mel(5000)))  # 5 s
        wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
        for shape, status in (("10,4000", 503), ("10,400", 400)):
            with server.connect() as connection:
                lines = [f"POST {SYNTHESIZE} HTTP/1.1", "Host: 127.0.0.1", "Content-Encoding: gzip"]
                lines += [f"X-Mel-Shape: {shape}", "Content-Length: 18"]
                body = b"" if status == 503 else b"only the beginning"
                connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.status == status
        engine.release()
        thread.join()
        assert answers[0].status_code == 200


def test_a_full_queue_is_told_at_once(slow):
    engine, sources = slow
    with running(sources, max_queued_requests=1) as server, server.client() as client, engine.held():
        thread, _ = server.begin(SYNTHESIZE, npy(MEL))
        wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
        for streamed in (0, 1):
            answer = client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(MEL))
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
        assert server.metric("hifigan_rejected_requests_total", reason="queue_full") == 2
        engine.release()
        thread.join()


def test_a_long_streamed_answer_shuts_nobody_out(slow):
    engine, sources = slow
    engine.seconds_per_block = 0.01
    with running(sources, max_queue_wait_seconds=1.0) as server, server.client() as client:
        thread, answers = server.begin(f"{SYNTHESIZE}?stream=1", npy(tiny_mel(4000)))
        wait_for(lambda: engine.frames >= 64)
        for streamed in (0, 1):
            assert client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(tiny_mel(344))).status_code == 200
            assert not answers
        thread.join()
        assert answers[0].status_code == 200


def test_bodies_that_drip_give_their_places_to_who_has_fewer(sources):
    """Two clients hold all places with bodies that do not come: a third has what it needs, and they the rest."""
    content = npy(MEL)
    with running(sources, max_concurrent_requests=16) as served:
        dripping = []
        for address, count in (("127.0.0.2", 12), ("127.0.0.3", 4)):
            for _ in range(count):
                slow = socket.create_connection(("127.0.0.1", served.port), 60, source_address=(address, 0))
                slow.sendall(request(content)[:-1])
                dripping.append(slow)
        wait_for(lambda: served.context.active == 16)
        with served.client() as client:
            for _ in range(3):
                assert client.post(SYNTHESIZE, content=content).status_code == 200
        answer = http.client.HTTPResponse(dripping[0])
        answer.begin()
        assert answer.status == 429
        assert b"other clients need its place" in answer.read()
        assert served.metric("hifigan_rejected_requests_total", reason="too_many_requests") >= 1
        assert served.context.active >= 13
        for slow in dripping[-4:]:  # they have few, and keep them
            slow.sendall(content[-1:])
            assert slow.recv(12) == b"HTTP/1.1 200"
        for slow in dripping:
            slow.close()
        wait_for(lambda: served.context.active == 0)


def test_more_requests_than_may_be_are_refused(slow):
    engine, sources = slow
    with running(sources, max_concurrent_requests=1) as server, server.client() as client, engine.held():
        thread, _ = server.begin(SYNTHESIZE, npy(MEL))
        wait_for(lambda: server.context.active == 1)
        answer = client.post(SYNTHESIZE, content=npy(MEL))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        engine.release()
        thread.join()


def test_a_lone_client_leaves_a_few_connections_to_others(sources):
    def status(address: str, forwarded: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, 60, source_address=(address, 0))
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models", headers={"X-Forwarded-For": forwarded})
            return connection.getresponse().status

    with running(sources, max_concurrent_requests=16, trusted_proxies=("127.0.0.3",)) as server:
        server.context.active_of["127.0.0.2"] = 15
        assert status("127.0.0.2", "198.51.100.7") == 429
        assert status("127.0.0.1", "127.0.0.2") == 200
        assert status("127.0.0.3", "198.51.100.7") == 200
        assert status("127.0.0.3", "127.0.0.2") == 429
        del server.context.active_of["127.0.0.2"]
        wait_for(lambda: server.context.active == 0)


def test_a_request_that_takes_too_long_is_given_up(slow):
    engine, sources = slow
    engine.seconds_per_block = 0.1
    with running(sources, request_timeout_seconds=0.3) as server, server.client() as client:
        answer = client.post(SYNTHESIZE, content=npy(tiny_mel(256 * 20)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_an_engine_that_fails_says_nothing_of_the_inside(slow):
    engine, sources = slow
    with running(sources) as server, server.client() as client:
        for failure, code in ((EngineError, "engine_failed"), (RuntimeError, "internal"), (MemoryError, "internal")):
            engine.failure = failure("secret of /home/me")
            for streamed in (0, 1):
                answer = client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(MEL))
                assert (answer.status_code, answer.json()["error"]["code"]) == (500, code)
                assert "secret" not in answer.text
        engine.failure = None
        assert client.post(SYNTHESIZE, content=npy(MEL)).status_code == 200
