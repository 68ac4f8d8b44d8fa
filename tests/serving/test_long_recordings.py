"""Recordings whose analysis takes long: two at a time, while others go on; and many of one client."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile

from golden.tiny import tiny_mel
from hifigan_rt.tools.serving import audio_bodies
from running_server import npy, running, wait_for

COPY = "/v1/copy-synthesis"


def recording(samples: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(samples, np.float32), 8000, "PCM_16", format="WAV")
    return buffer.getvalue()


def test_long_recordings_wait_for_each_other_and_not_others_for_them(sources, monkeypatch):
    analysed, begun, may_end = audio_bodies._analysed, [], threading.Event()

    def slow_for_long_ones(reader, *rest):
        if reader.samples > 8000:
            begun.append(1)
            assert may_end.wait(60)
        return analysed(reader, *rest)

    monkeypatch.setattr(audio_bodies, "_analysed", slow_for_long_ones)
    monkeypatch.setattr(audio_bodies, "_SHORT_SECONDS", 1)
    long = recording(10_000)
    with running(sources) as server, server.client() as client:
        asked = [server.begin(COPY, long) for _ in range(8)]
        wait_for(lambda: server.context.active == 8 and len(begun) == 2)
        with server.connect() as gone:
            gone.sendall(
                f"POST {COPY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(long)}\r\n\r\n".encode() + long
            )
            wait_for(lambda: server.context.active == 9)
        wait_for(lambda: server.context.active == 8)
        assert client.post("/v1/synthesize?format=flac", content=npy(tiny_mel(20))).status_code == 200
        assert client.post(COPY, content=recording(4000)).status_code == 200
        assert len(begun) == 2
        may_end.set()
        for thread, answers in asked:
            thread.join()
            assert answers[0].status_code == 200
    assert len(begun) == 8


def test_the_recordings_of_one_client_do_not_keep_another_waiting(sources, monkeypatch):
    analysed, begun, may_end = audio_bodies._analysed, [], threading.Semaphore(0)

    def slow(reader, *rest):
        begun.append(reader.samples)
        assert may_end.acquire(timeout=60)
        return analysed(reader, *rest)

    monkeypatch.setattr(audio_bodies, "_analysed", slow)
    with running(sources, trusted_proxies=("127.0.0.1",)) as server, ThreadPoolExecutor(11) as clients:

        def post(address: str, samples: int) -> int:
            with server.client(headers={"X-Forwarded-For": address}) as client:
                return client.post(COPY, content=recording(samples)).status_code

        waiting = server.context.short_recordings._waiting
        asked = [clients.submit(post, "10.0.0.1", 4000) for _ in range(10)]
        wait_for(lambda: len(begun) == 4 and len(waiting) == 6)
        asked.append(clients.submit(post, "10.0.0.2", 3000))
        wait_for(lambda: len(waiting) == 7)
        may_end.release()
        wait_for(lambda: len(begun) == 5)
        may_end.release(len(asked))
        assert [one.result() for one in asked] == [200] * 11
    assert begun[4] == 3000
