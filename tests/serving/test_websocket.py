"""Live streams: the samples are the vocoder's, whoever floods, sleeps or vanishes beside them."""

from __future__ import annotations

import asyncio
import json
import threading

import numpy as np
import pytest
from websockets.sync.client import connect

from golden.tiny import tiny_mel
from hifigan_rt.audio import to_pcm16
from hifigan_rt.tools.serving import websocket
from running_server import wait_for
from waiting import at_once
from websocket_client import open_stream, ready, rest, send, streams, vanish

BANDS, HOP = 10, 8


@pytest.mark.parametrize("segment_frames", [1, 16, 33])
@pytest.mark.parametrize("pushes", [[1], [7, 0, 40], [1000]])
def test_the_sum_is_the_offline_call_bit_for_bit(server, vocoder, segment_frames, pushes):
    mel = tiny_mel(345)
    with open_stream(server, model="tiny", segment_frames=segment_frames, output="float32") as opened:
        told = ready(opened)
        assert {name: told[name] for name in ("model", "sample_rate", "hop_length", "num_mels", "output")} == {
            "model": "tiny", "sample_rate": 8000, "hop_length": HOP, "num_mels": BANDS, "output": "float32",
        }  # fmt: skip
        assert told["segment_frames"] == segment_frames
        assert told["look_ahead_samples"] == -vocoder.graph.receptive_field.first_sample
        send(opened, mel, pushes)
        pcm, texts = rest(opened)
    np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), vocoder(mel, segment_frames=segment_frames))
    assert texts == [{"type": "end", "frames": 345, "samples": 345 * HOP, "audio_seconds": 0.345, "clipped_samples": 0}]
    assert opened.protocol.close_code == 1000


def test_the_defaults_are_the_first_model_and_integers(server, vocoder):
    mel = tiny_mel(50)
    with open_stream(server) as opened:
        told = ready(opened)
        assert (told["model"], told["segment_frames"], told["output"]) == ("tiny", 16, "pcm16")
        send(opened, mel, [20])
        pcm, _ = rest(opened)
    wanted, _ = to_pcm16(vocoder(mel, segment_frames=16))
    np.testing.assert_array_equal(np.frombuffer(pcm, "<i2"), wanted)


def test_options_in_the_query_are_not_passed_over(server):
    with connect(f"{server.url.replace('http', 'ws')}/v1/stream?output=float32") as opened:
        told = json.loads(opened.recv(20))
    assert (told["type"], told["code"]) == ("error", "bad_request")
    assert told["message"] == "query parameter 'output' is not known here: none is"


def test_a_stream_of_nothing_ends_with_nothing(server):
    with open_stream(server) as opened:
        ready(opened)
        opened.send(b"")
        opened.send('{"type": "finish"}')
        pcm, texts = rest(opened)
    assert pcm == b""
    assert [(text["type"], text["frames"], text["samples"]) for text in texts] == [("end", 0, 0)]


def test_audio_comes_while_frames_are_still_to_come(server, vocoder):
    mel = tiny_mel(64)
    frames = np.ascontiguousarray(mel.T, "<f4")
    with open_stream(server, segment_frames=16, output="float32") as opened:
        ready(opened)
        opened.send(frames[:48].tobytes())
        samples = 48 * HOP + vocoder.graph.receptive_field.first_sample
        first = b""
        while len(first) < 4 * samples:
            first += opened.recv(20)
        assert len(first) == 4 * samples
        opened.send(frames[48:].tobytes())
        opened.send('{"type": "finish"}')
        pcm, _ = rest(opened)
    np.testing.assert_array_equal(np.frombuffer(first + pcm, "<f4"), vocoder(mel, segment_frames=16))


def test_a_mel_of_another_convention_is_told_once(server):
    mel = 20 / np.log(10) * tiny_mel(400)
    with open_stream(server) as opened:
        ready(opened)
        send(opened, mel, [30])
        _, texts = rest(opened)
    assert [(text["type"], text.get("code")) for text in texts] == [("warning", "mel_convention"), ("end", None)]
    assert "decibels" in texts[0]["message"]


def test_ten_thousand_tiny_messages(server, vocoder):
    mel = tiny_mel(10_000)
    with open_stream(server, segment_frames=32, output="float32") as opened:
        ready(opened)
        sender = threading.Thread(target=send, args=(opened, mel, [1]))
        sender.start()
        pcm, _ = rest(opened)
        sender.join()
    np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), vocoder(mel, segment_frames=32))


def test_many_streams_at_once_get_their_own_audio(server, sources):
    wrong: list[str] = []
    loaded = {name: sources[name]() for name in ("tiny", "other")}

    def one(seed: int) -> None:
        model = ("tiny", "other")[seed % 2]
        mel, segment = tiny_mel(200 + 11 * seed, seed), (8, 16, 32)[seed % 3]
        with open_stream(server, model=model, segment_frames=segment, output="float32") as opened:
            ready(opened)
            send(opened, mel, [1 + seed, 50])
            pcm, _ = rest(opened)
        if not np.array_equal(np.frombuffer(pcm, "<f4"), loaded[model](mel, segment_frames=segment)):
            wrong.append(f"stream {seed}")

    at_once(one, range(16))
    assert wrong == []
    wait_for(lambda: streams(server) == 0)


def test_whoever_has_all_and_closes_first_is_no_client_that_went(server, monkeypatch):
    close, has_gone = websocket._Session.close, threading.Event()

    async def late(session, code, reason):
        await asyncio.to_thread(has_gone.wait, 60)
        await session._websocket.receive()  # that the client has closed
        await close(session, code, reason)

    monkeypatch.setattr(websocket._Session, "close", late)
    before = server.metric("hifigan_cancelled_requests_total")
    opened = open_stream(server)
    ready(opened)
    opened.send(tiny_mel(1).T.tobytes())
    opened.send('{"type": "finish"}')
    while not isinstance(text := opened.recv(), str) or json.loads(text)["type"] != "end":
        pass
    vanish(opened)
    has_gone.set()
    wait_for(lambda: server.context.active == 0)
    assert server.metric("hifigan_cancelled_requests_total") == before
