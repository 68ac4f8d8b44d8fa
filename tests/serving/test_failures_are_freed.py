"""Nothing of a request that failed is kept until Python looks for rings: a server makes few objects, and looks late."""

from __future__ import annotations

import gc
import io
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import pytest
import soundfile

from golden.tiny import tiny_mel
from hifigan_rt.errors import EngineError
from hifigan_rt.tools.serving import audio_bodies, wyoming
from hifigan_rt.tools.serving.loading import VoiceSource
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.wyoming_events import encode_event
from running_server import npy, request, running
from voice_files import TEXT
from waiting import wait_for
from websocket_client import failure, open_stream, ready, rest, streams, vanish

COPY, SYNTHESIZE, SPEECH = "/v1/copy-synthesis", "/v1/synthesize", "/v1/audio/speech"
MEL = tiny_mel(200)


def holders() -> Iterator[object]:
    """What holds bodies, mels and audio: jobs, and the ways that errors came through the server's frames."""
    for found in gc.get_objects():
        if issubclass(type(found), QueuedJob):
            yield found
        elif type(found) is TracebackType and "hifigan_rt/tools/serving" in found.tb_frame.f_code.co_filename:
            yield found.tb_frame.f_code


@pytest.fixture
def check_nothing_is_kept():
    """A check to be made when the client has its answer: the server ends the request a moment later."""

    def check() -> None:
        end = time.monotonic() + 30
        while found := [str(holder) for holder in holders() if holder not in before]:
            assert time.monotonic() < end, found
            time.sleep(0.01)

    logging.disable()  # the log's records, which pytest keeps, hold their errors
    gc.collect()
    before = list(holders())
    gc.disable()
    yield check
    gc.enable()
    logging.disable(logging.NOTSET)


def leave(server, path: str, content: bytes, begun) -> None:
    """Send a request and go as soon as its work has begun."""
    with server.connect() as gone:
        gone.sendall(request(content).replace(b"/v1/synthesize", path.encode()))
        begun()
    wait_for(lambda: server.context.active == 0)


def flac(seconds: float) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, int(8000 * seconds))
    soundfile.write(buffer, noise, 8000, format="FLAC")
    return buffer.getvalue()


def test_recordings(sources, monkeypatch, check_nothing_is_kept):
    analysed, began = audio_bodies._analysed, threading.Event()

    def until_given_up(reader, lease, given_up, *others):
        began.set()
        assert given_up.wait(60)
        return analysed(reader, lease, given_up, *others)

    with running(sources) as server, server.client() as client:
        damaged = bytearray(flac(3))
        damaged[-len(damaged) // 4 :] = bytes(len(damaged) // 4)
        for content, status in ((flac(1), 200), (bytes(damaged), 400), (b"RIFF", 400), (flac(1)[:99], 400)):
            assert client.post(COPY, content=bytes(content)).status_code == status
            check_nothing_is_kept()
        monkeypatch.setattr(audio_bodies, "_analysed", until_given_up)
        leave(server, COPY, flac(3), lambda: began.wait(60))
        check_nothing_is_kept()


def test_mels(slow, check_nothing_is_kept):
    engine, sources = slow
    with running(sources) as server, server.client() as client:
        for content, query, status in (
            (npy(MEL), "", 200), (npy(MEL), "?stream=1", 200), (npy(np.full_like(MEL, np.nan)), "", 400),
            (b"{}", "", 400), (npy(MEL), "?segment_frames=x", 400),
        ):  # fmt: skip
            assert client.post(SYNTHESIZE + query, content=content).status_code == status
            check_nothing_is_kept()
        for query in ("", "?stream=1"):
            engine.failure = EngineError("it broke")
            assert client.post(SYNTHESIZE + query, content=npy(MEL)).status_code == 500
            engine.failure = None  # which holds where it was raised
            check_nothing_is_kept()
        for query in ("", "?stream=1"):
            with engine.held():
                leave(server, SYNTHESIZE + query, npy(MEL), lambda: wait_for(lambda: server.context.active == 1))
            check_nothing_is_kept()


def test_live_streams(server, check_nothing_is_kept):
    for way in ("end", "close", "abort", "refused"):
        opened = open_stream(server)
        ready(opened)
        opened.send(MEL.T.tobytes())
        wait_for(lambda: streams(server) == 1)
        if way == "end":
            opened.send(json.dumps({"type": "finish"}))
            rest(opened)
            opened.close()
        elif way == "refused":
            opened.send(b"123")
            assert failure(opened)[0] == "mel_invalid"
        else:
            (vanish if way == "abort" else type(opened).close)(opened)
        del opened
        wait_for(lambda: streams(server) == 0)
        check_nothing_is_kept()


def test_texts(still_voice, sources, check_nothing_is_kept):
    with running({**sources, "ann": VoiceSource(still_voice)}, wyoming_port=0) as server, server.client() as client:
        for text, status in ((TEXT, 200), ("\u2603", 400), ("", 400)):
            answer = client.post(SPEECH, json={"input": text, "voice": "ann", "response_format": "wav"})
            assert answer.status_code == status
            check_nothing_is_kept()
        leave(server, SPEECH, json.dumps({"input": f"{TEXT} " * 2000, "voice": "ann"}).encode(), lambda: None)
        check_nothing_is_kept()
        for text in ("\u2603", f"{TEXT} " * 2000):
            with socket.create_connection(("127.0.0.1", server.server.wyoming.port), 60) as connection:
                connection.sendall(encode_event("synthesize", {"text": text}))
                assert connection.recv(1)
            wait_for(lambda: server.context.active == 0)
            check_nothing_is_kept()


def test_a_write_that_fails_by_itself(still_voice, sources, monkeypatch, check_nothing_is_kept):
    """The connection breaks between two events of the loop, so that nobody but the write sees it.

    From Python 3.12 on: asyncio of 3.11 keeps nothing of it by itself.
    """
    heard, gone = threading.Event(), threading.Event()
    into_pcm16 = wyoming.to_pcm16

    def once_the_client_is_gone(piece):
        heard.set()
        assert gone.wait(60)
        return into_pcm16(piece)

    monkeypatch.setattr(wyoming, "to_pcm16", once_the_client_is_gone)
    with running({**sources, "ann": VoiceSource(still_voice)}, wyoming_port=0) as server:
        connection = socket.create_connection(("127.0.0.1", server.server.wyoming.port), 60)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, at once
        connection.sendall(encode_event("synthesize", {"text": TEXT}))
        assert heard.wait(60)
        connection.close()
        gone.set()
        wait_for(lambda: server.context.active == 0)
        check_nothing_is_kept()
