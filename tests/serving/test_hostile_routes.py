"""All routes at once: tricks in paths, lies in headers, sockets left open, and everybody's own audio in the middle."""

from __future__ import annotations

import gzip
import json
import random
import socket
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from golden.tiny import tiny_mel
from hifigan_rt.tools.serving.errors import ServingError
from running_server import Running, npy, request, running, wait_for
from waiting import at_once
from websocket_client import open_stream, rest, send

NAMES = [
    "..", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "tiny%2f..%2fother", "tiny%00", "%00", "%ff",
    "%c0%ae%c0%ae", "tiny%0d%0aX-Injected:%201", "TINY", "tiny%20", "%20tiny", "tiny.safetensors", "tiny;other",
    "tiny%3f", "x" * 4000, "%F0%9F%8E%A4", "%ED%A0%80", "__class__", "{name}", "*", "~root", "%25%32%65", "C:%5Ctiny",
]  # fmt: skip
ROUTES = [
    ("GET", "/v1/models/{}"),
    ("POST", "/v1/models/{}/reload"),
    ("GET", "/v2/models/{}"),
    ("GET", "/v2/models/{}/ready"),
    ("GET", "/v2/models/{}/versions/1"),
    ("GET", "/v2/models/tiny/versions/{}"),
    ("POST", "/v2/models/{}/infer"),
    ("POST", "/v1/synthesize?model={}"),
    ("GET", "/page/{}"),
]


def failure_codes() -> set[str]:
    classes = [ServingError]
    for failure in classes:
        classes += failure.__subclasses__()
    return {failure.code for failure in classes} | {"headers_too_large"}


def exchange(server: Running, request: bytes, *, end: bool = False) -> tuple[int, bytes] | None:
    """Status and body of the answer to bytes; None if the server closed without one."""
    with server.connect() as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        content = bytearray()
        while b"\r\n\r\n" not in content:
            chunk = connection.recv(1 << 16)
            if not chunk:
                return None
            content += chunk
        head, _, body = bytes(content).partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", 0)):
            chunk = connection.recv(1 << 16)
            if not chunk:
                break
            body += chunk
        assert b"x-injected" not in fields
        return int(head.split()[1]), body


def code_of(path: str, body: bytes) -> str:
    """The machine-readable code of a failure, in the form of its protocol."""
    content = json.loads(body)
    if path.startswith("/v2"):
        assert set(content) == {"error"}
        code, _, text = content["error"].partition(": ")
    else:
        assert set(content["error"]) == {"code", "message", "request_id"}
        code, text = content["error"]["code"], content["error"]["message"]
    assert code in failure_codes()
    assert 5 < len(text) < 500
    return code


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_tricks_in_names_lead_nowhere(server, method, path):
    for name in NAMES:
        target = path.format(name)
        request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        answer = exchange(server, request.encode())
        assert answer is not None, target
        status, body = answer
        assert status == 404, (target, status, body)
        assert code_of(path, body) in ("not_found", "model_not_found")
        assert b"root:" not in body


MEL = npy(tiny_mel(20))
POST = b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\n"
LIES = {
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", {400}),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\nhello", {400}),
    "a length in words": (POST + b"Content-Length: five\r\n\r\nhello", {400}),
    "a length with an exponent": (POST + b"Content-Length: 1e3\r\n\r\nhello", {400}),
    "an absurd length": (POST + b"Content-Length: 99999999999999999999\r\n\r\nhello", {400, 413}),
    "a body beyond the limit": (POST + b"Content-Length: 100000000\r\n\r\nhello", {413}),
    "length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "no chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n", {400}),
    "a chunk of exabytes": (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nhello\r\n", {400, 408, 413}),
    "a chunk of negative size": (POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", {400}),
    "chunks inside gzip": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {501}),
    "another encoding": (POST + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello", {415}),
    "gzip twice": (POST + b"Content-Encoding: gzip, gzip\r\nContent-Length: 5\r\n\r\nhello", {415}),
    "gzip that is none": (POST + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", {400}),
    "a header of 300 kB": (POST + b"X-Long: " + b"x" * 300_000 + b"\r\n\r\n", {400, 431}),
    "fifty thousand headers": (POST + b"A: b\r\n" * 50_000 + b"\r\n", {431}),
    "a header with a NUL": (POST + b"X-A: \0\r\nContent-Length: 0\r\n\r\n", {400}),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", {400}),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300) + b"\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
    "another method": (b"BREW /v1/synthesize HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    "a whole URL of elsewhere": (b"GET http://elsewhere/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {403}),
    "a stream without upgrade": (b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n", {426}),
    "an upgrade without key": (
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {400, 426},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def impatient(sources):
    with running(sources, header_timeout_seconds=1.0, body_timeout_seconds=1.0, write_timeout_seconds=1.0) as server:
        yield server


@pytest.mark.parametrize("lie", LIES)
def test_lies_in_headers_are_refused(impatient, vocoder, lie):
    request, statuses = LIES[lie]
    answer = exchange(impatient, request)
    assert answer is not None
    assert answer[0] in statuses, answer
    with impatient.client() as client:
        after = client.post("/v1/synthesize?format=float32", content=MEL)
    np.testing.assert_array_equal(np.frombuffer(after.content, "<f4"), vocoder(tiny_mel(20)))


def test_bodies_that_end_early_are_dropped(impatient):
    for length in (len(MEL) + 1, 10 * len(MEL)):
        request = POST + f"Content-Length: {length}\r\n\r\n".encode() + MEL
        assert exchange(impatient, request, end=True) is None
    wait_for(lambda: impatient.context.active == 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_half_open_sockets_cost_nothing_for_long(impatient, vocoder):
    before = descriptors()
    beginnings = [
        b"",
        b"POST /v1/syn",
        POST + b"X-Slow: ",
        POST + f"Content-Length: {len(MEL)}\r\n\r\n".encode() + MEL[:100],
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ]
    opened = []
    for turn in range(60):
        opened.append(impatient.connect())
        opened[-1].sendall(beginnings[turn % len(beginnings)])
    with impatient.client() as client:
        answer = client.post("/v1/synthesize?format=float32", content=MEL)
        np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), vocoder(tiny_mel(20)))
    # The server's ends are closed by the server, while the clients keep theirs.
    wait_for(lambda: descriptors() <= before + len(opened) + 2)
    wait_for(lambda: impatient.context.active == 0)
    for connection in opened:
        connection.close()


def test_sockets_are_set_up_against_waiting(server):
    """Both were measured: 40 ms per answer with Nagle's algorithm, 1.6 s for all while one client's pings came."""
    with server.client() as client, connect(f"ws://127.0.0.1:{server.port}/v1/stream") as opened:
        client.get("/healthz")
        opened.send("{}")
        opened.recv(20)
        connections = list(server.server.server_state.connections)
        assert {type(connection).__name__ for connection in connections} == {"HttpConnection", "WebSocketConnection"}
        for connection in connections:
            transport = connection.transport
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            if type(connection).__name__ == "WebSocketConnection":
                assert 512 <= transport.max_size < 256 << 10


def test_a_mel_of_more_than_an_hour_is_refused(server):
    frames = 3600 * 1000 + 1
    size = {"binary_data_size": 40 * frames}
    tensor = {"name": "mel_spec", "datatype": "FP32", "shape": [1, 10, frames], "parameters": size}
    text = json.dumps({"inputs": [tensor]}).encode()
    packed = gzip.compress(text + bytes(40 * frames), 1)
    headers = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(text))}
    with server.client() as client:
        answer = client.post("/v2/models/tiny/infer", content=packed, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("payload_too_large: ")


class Asker:
    """Asks in every protocol, in an order of its own, and compares each answer with the vocoder's own."""

    def __init__(self, server: Running, vocoders: dict, seed: int) -> None:
        self.server, self.vocoders = server, vocoders
        self.random = random.Random(seed)
        self.wrong: list[str] = []
        self.answers = 0

    def run(self, turns: int) -> None:
        ways = [self.whole, self.streamed, self.inferred, self.live, self.vanish]
        for turn in range(turns):
            seed = self.random.randrange(1 << 30)
            way = self.random.choice(ways)
            model = self.random.choice(list(self.vocoders))
            mel = tiny_mel(self.random.randrange(1, 700), seed)
            try:
                audio = way(model, mel)
            except Exception as error:  # noqa: BLE001 - a thread of a test must not swallow it
                self.wrong.append(f"{way.__name__}, turn {turn}: {error!r}")
                continue
            if audio is None:
                continue
            self.answers += 1
            segment = {"streamed": 32, "live": 16}.get(way.__name__)
            if not np.array_equal(audio, self.vocoders[model](mel, segment_frames=segment)):
                self.wrong.append(f"{way.__name__}, turn {turn}: not the audio of its mel")

    def post(self, path: str, **options) -> bytes:
        with self.server.client() as client:
            answer = client.post(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.content

    def whole(self, model: str, mel: np.ndarray) -> np.ndarray:
        return np.frombuffer(self.post(f"/v1/synthesize?format=float32&model={model}", content=npy(mel)), "<f4")

    def streamed(self, model: str, mel: np.ndarray) -> np.ndarray:
        path = f"/v1/synthesize?format=float32&stream=1&model={model}"
        return np.frombuffer(self.post(path, content=npy(mel)), "<f4")

    def inferred(self, model: str, mel: np.ndarray) -> np.ndarray:
        tensor = {"name": "mel_spec", "datatype": "FP32", "shape": [1, *mel.shape]}
        request = {
            "inputs": [tensor | {"parameters": {"binary_data_size": mel.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
        text = json.dumps(request).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        content = self.post(f"/v2/models/{model}/infer", content=text + mel.tobytes(), headers=headers)
        return np.frombuffer(content[-4 * 8 * mel.shape[1] :], "<f4")

    def live(self, model: str, mel: np.ndarray) -> np.ndarray:
        with open_stream(self.server, model=model, output="float32") as opened:
            send(opened, mel, [37])
            pcm, _ = rest(opened)
        return np.frombuffer(pcm, "<f4")

    def vanish(self, model: str, mel: np.ndarray) -> None:
        sent = request(npy(mel), b"?model=%s" % model.encode())
        with self.server.connect() as connection:
            connection.sendall(sent[: self.random.randrange(1, len(sent) + 1)])


def test_everybody_gets_their_own_audio_whatever_others_do(server, sources):
    vocoders = {name: load() for name, load in sources.items()}
    askers = [Asker(server, vocoders, seed) for seed in range(8)]
    at_once(lambda asker: asker.run(25), askers)
    assert [wrong for asker in askers for wrong in asker.wrong] == []
    assert sum(asker.answers for asker in askers) > 100
    wait_for(lambda: server.context.active == 0)
    for vocoder in vocoders.values():
        vocoder.close()
