"""A real server on a free port of loopback, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from hifigan_rt.serving.context import Context
from hifigan_rt.serving.server import Server
from hifigan_rt.serving.settings import ServerSettings
from hifigan_rt.vocoder import Vocoder
from serving_models import tiny_vocoder

BANDS, HOP = 80, 256
"""Of the tiny model."""


class RunningServer:
    def __init__(self, port: int, context: Context) -> None:
        self.port, self.context = port, context
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.stream_url = f"ws://{self.address}/v1/stream"

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    @property
    def streams(self) -> int:
        """Live streams, as Prometheus would see them."""
        for line in self.context.telemetry.exposition().decode().splitlines():
            if line.startswith("hifigan_active_streams "):
                return int(float(line.split()[1]))
        raise AssertionError("no such metric")


@contextmanager
def running_server(
    settings: ServerSettings | None = None, sources: Mapping[str, Callable[[], Vocoder]] | None = None
) -> Iterator[RunningServer]:
    """Serve models, `tiny` by default, until the block ends."""
    settings = dataclasses.replace(settings or ServerSettings(), port=0, grace_seconds=1.0)
    server = Server(settings, sources or {"tiny": tiny_vocoder})
    listening = server.listen()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield RunningServer(listening.getsockname()[1], server.context)
    finally:
        server.begin_shutdown()
        thread.join(30)
        assert not thread.is_alive(), "the server does not end"


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "what the test waits for does not come"
        time.sleep(0.01)


def mel_of(frames: int, seed: int = 0) -> np.ndarray:
    """float32 [M, T], in the range of speech."""
    return np.random.default_rng(seed).uniform(-11.5, 1.0, (BANDS, frames)).astype(np.float32)
