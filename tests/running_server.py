"""Servers as users run them, on free ports of loopback, in threads of the test process; and a slow engine for them."""

from __future__ import annotations

import asyncio
import io
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx2
import numpy as np
import soundfile

from hifigan_rt.engines.base import Engine, EngineInfo
from hifigan_rt.engines.streams import EngineStream
from hifigan_rt.graph import Graph
from hifigan_rt.tools.serving.server import Server
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.vocoder import Vocoder
from serving_models import PretendedStream
from waiting import wait_for


def npy(mel: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, mel)
    return buffer.getvalue()


def recording(rate: int = 8000, channels: int = 1, seconds: float = 0.5) -> bytes:
    shape = (int(rate * seconds), channels) if channels > 1 else int(rate * seconds)
    buffer = io.BytesIO()
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    soundfile.write(buffer, audio, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


REQUEST = b"POST /v1/synthesize%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n"


def request(content: bytes, query: bytes = b"", headers: bytes = b"") -> bytes:
    return REQUEST % (query, len(content), headers) + content


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes."""
    received = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def status_and_code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


class Running:
    """A server that takes requests."""

    def __init__(self, server: Server, listening: socket.socket, thread: threading.Thread) -> None:
        self.server, self.listening, self.thread = server, listening, thread
        self.port: int = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.context = server.context

    def client(self, **options) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60, **options)

    def begin(self, path: str, content: bytes) -> tuple[threading.Thread, list[httpx2.Response]]:
        """Send a request from a thread; its answer will be in the list."""
        answers: list[httpx2.Response] = []

        def post() -> None:
            with self.client() as client:
                answers.append(client.post(path, content=content))

        thread = threading.Thread(target=post)
        thread.start()
        return thread, answers

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics, 0 if it is not there yet."""
        registry = self.context.telemetry._registry
        return registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(
    sources: Mapping[str, Callable[[], Vocoder]], *, preload: Sequence[str] | None = None, **settings
) -> Iterator[Running]:
    # What a machine can compute in time is not for a test to know: none is refused unless a test asks for it.
    defaults = ServerSettings(port=0, max_queue_wait_seconds=1e6)
    server = Server(replace(defaults, **settings), sources, preload=preload)
    listening = server.listen()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        yield Running(server, listening, thread)
    finally:
        server.begin_shutdown()
        server.begin_shutdown()
        thread.join(60)
        assert not thread.is_alive(), "the server did not end"


class SlowEngine(Engine):
    """Computes silence of TINY's lengths, each block as slowly as the test wants or when it says; counts the frames."""

    info = EngineInfo("slow", "0", "float32", 1, "none")
    offline_segment_frames = 256

    def __init__(self) -> None:
        super().__init__()
        self.seconds_per_block = 0.0
        self.frames = 0
        self.failure: Exception | None = None
        self._allowed = math.inf  # blocks
        self._changed = threading.Condition()

    @contextmanager
    def held(self, after_blocks: int = 0) -> Iterator[None]:
        """Let so many blocks more be computed, and no other before the end `release` or `allow`."""
        self.allow(after_blocks)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let every block be computed again."""
        self.allow(math.inf)

    def allow(self, blocks: float) -> None:
        """Let so many blocks more be computed."""
        with self._changed:
            self._allowed = blocks
            self._changed.notify_all()

    def pretend(self, frames: int) -> np.ndarray:
        with self._changed:
            assert self._changed.wait_for(lambda: self._allowed > 0, 60)
            self._allowed -= 1
        time.sleep(self.seconds_per_block)
        if self.failure is not None:
            raise self.failure
        self.frames += frames
        return np.zeros(8 * frames, np.float32)

    def stream(self, segment_frames: int, graph: Graph, conditioning: np.ndarray | None = None) -> EngineStream:
        return PretendedStream(segment_frames, lambda mel: self.pretend(mel.shape[1]))

    def _run(self, mel: np.ndarray, conditioning: np.ndarray | None = None) -> np.ndarray:
        return self.pretend(mel.shape[2])[None]
