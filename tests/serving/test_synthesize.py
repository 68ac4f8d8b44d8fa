"""Mels in, audio out, through a running server: what comes is what the vocoder gives."""

from __future__ import annotations

import gzip
import io
import json
import zlib

import httpx2
import numpy as np
import pytest
import soundfile

from golden.tiny import tiny_mel
from hifigan_rt import load
from hifigan_rt.audio import read_audio, to_pcm16
from hifigan_rt.errors import SamplesNotFinite
from running_server import npy, running
from waiting import at_once

SEGMENT_FRAMES = 32
"""`ServerSettings.streamed_segment_frames`."""


def floats(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<f4")


@pytest.mark.parametrize("frames", [1, 2, 31, 255, 256, 257, 700])
def test_floats_are_the_vocoders_bit_for_bit(client, vocoder, frames):
    mel = tiny_mel(frames)
    answer = client.post("/v1/synthesize?format=float32", content=npy(mel))
    assert answer.status_code == 200
    assert np.array_equal(floats(answer.content), vocoder(mel))


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 700])
def test_streamed_floats_are_those_of_the_same_segments(client, vocoder, frames):
    mel = tiny_mel(frames)
    answer = client.post("/v1/synthesize?format=float32&stream=1", content=npy(mel))
    assert answer.status_code == 200
    assert answer.headers["transfer-encoding"] == "chunked"
    assert np.array_equal(floats(answer.content), vocoder(mel, segment_frames=SEGMENT_FRAMES))


def test_every_way_of_sending_a_mel_is_the_same_mel(client, vocoder):
    mel = tiny_mel(50)
    want = vocoder(mel)
    rows = json.dumps({"mel": mel.astype(float).tolist()}).encode()
    bare = {"X-Mel-Shape": "10,50", "Content-Type": "application/octet-stream"}
    for content, headers in (
        (npy(mel), {"Content-Type": "application/x-npy"}),
        (npy(mel), {"Content-Type": "application/octet-stream"}),
        (npy(mel), {}),
        (npy(mel), {"Content-Type": "application/x-www-form-urlencoded"}),
        (npy(mel[None]), {}),
        (npy(mel[:, :, None]), {}),
        (npy(mel[None, :, None]), {}),
        (json.dumps({"mel": mel[None, :, :, None].tolist()}).encode(), {"Content-Type": "application/json"}),
        (npy(np.asfortranarray(mel)), {}),
        (npy(mel.astype(">f4")), {}),
        (npy(mel.astype(np.float64)), {}),
        (mel.astype("<f4").tobytes(), bare),
        (mel.astype("<f4").tobytes(), {"X-Mel-Shape": "10 , 50"}),
        (rows, {"Content-Type": "application/json"}),
        (rows, {"Content-Type": "application/json; charset=utf-8"}),
        (gzip.compress(npy(mel)), {"Content-Encoding": "gzip"}),
        (gzip.compress(npy(mel)[:100]) + gzip.compress(npy(mel)[100:]), {"Content-Encoding": "x-gzip"}),
        (zlib.compress(npy(mel)), {"Content-Encoding": "deflate"}),
    ):
        answer = client.post("/v1/synthesize?format=float32", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        assert np.array_equal(floats(answer.content), want)


def test_a_chunked_body_is_taken(client, vocoder):
    mel = tiny_mel(300)
    content = npy(mel)
    pieces = (content[at : at + 1000] for at in range(0, len(content), 1000))
    answer = client.post("/v1/synthesize?format=float32", content=pieces)
    assert np.array_equal(floats(answer.content), vocoder(mel))


@pytest.mark.parametrize("streamed", [0, 1])
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_lossless_files_hold_the_rounded_samples(client, vocoder, name, streamed):
    mel = tiny_mel(700)
    answer = client.post(f"/v1/synthesize?format={name}&stream={streamed}", content=npy(mel))
    audio = vocoder(mel, segment_frames=SEGMENT_FRAMES) if streamed else vocoder(mel)
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate == 8000
    assert np.array_equal(samples, to_pcm16(audio)[0])
    # Our own reader looks for a missing end, which soundfile does not.
    assert read_audio(io.BytesIO(answer.content)).note is None
    assert answer.headers["content-type"] == f"audio/{name}"


@pytest.mark.parametrize("streamed", [0, 1])
def test_bare_integers_are_the_rounded_samples(client, vocoder, streamed):
    mel = tiny_mel(100)
    answer = client.post(f"/v1/synthesize?format=pcm16&stream={streamed}", content=npy(mel))
    audio = vocoder(mel, segment_frames=SEGMENT_FRAMES) if streamed else vocoder(mel)
    assert np.array_equal(np.frombuffer(answer.content, "<i2"), to_pcm16(audio)[0])
    assert answer.headers["content-type"] == "application/vnd.hifigan.pcm16;rate=8000;channels=1"


@pytest.mark.parametrize("streamed", [0, 1])
def test_opus_decodes_to_as_many_samples(client, streamed):
    answer = client.post(f"/v1/synthesize?format=opus&stream={streamed}", content=npy(tiny_mel(2000)))
    assert answer.headers["content-type"] == "audio/ogg;codecs=opus"
    recording = read_audio(io.BytesIO(answer.content))
    assert (recording.sample_rate, recording.encoding, recording.note) == (8000, "OGG OPUS", None)
    assert len(recording.samples) == 16000


def test_the_facts_are_in_the_headers(client):
    answer = client.post("/v1/synthesize", content=npy(tiny_mel(100)), headers={"X-Request-Id": "client-1.a:b~c"})
    headers = answer.headers
    assert headers["content-length"] == str(len(answer.content)) == str(44 + 2 * 800)
    assert (headers["x-sample-rate"], headers["x-samples"], headers["x-audio-seconds"]) == ("8000", "800", "0.100000")
    assert (headers["x-model"], headers["x-clipped-samples"]) == ("tiny", "0")
    assert headers["x-request-id"] == "client-1.a:b~c"
    stages = dict(stage.split(";dur=") for stage in headers["server-timing"].split(", "))
    assert list(stages) == ["body", "compute", "encode"]
    assert all(float(milliseconds) >= 0 for milliseconds in stages.values())
    assert "x-mel-warning" not in headers


def test_a_mel_of_another_convention_is_answered_with_a_warning(client):
    decibels = np.random.default_rng(0).uniform(-100, 0, (10, 300)).astype(np.float32)
    answer = client.post("/v1/synthesize", content=npy(decibels))
    assert answer.status_code == 200
    assert "decibels" in answer.headers["x-mel-warning"]


def test_models_are_chosen_by_name(client, other_file):
    mel = tiny_mel(60)
    answer = client.post("/v1/synthesize?format=float32&model=other", content=npy(mel))
    assert answer.headers["x-model"] == "other"
    with load(other_file) as other:
        assert np.array_equal(floats(answer.content), other(mel))


def test_audio_leaves_while_the_rest_is_computed(slow):
    engine, sources = slow
    with running(sources) as server, server.client() as client, engine.held(after_blocks=2):
        url = "/v1/synthesize?format=pcm16&stream=1"
        with client.stream("POST", url, content=npy(tiny_mel(32 * 40))) as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            engine.release()
            rest = b"".join(pieces)
    assert 0 < len(first) <= 2 * 8 * 32 * 2
    assert len(first) + len(rest) == 2 * 8 * 32 * 40


def test_nobody_gets_anothers_audio(server, vocoder):
    mels = {seed: tiny_mel(50 + 37 * seed, seed) for seed in range(12)}
    wanted = {seed: (vocoder(mel), vocoder(mel, segment_frames=SEGMENT_FRAMES)) for seed, mel in mels.items()}
    wrong: list[str] = []

    def ask(seed: int) -> None:
        with server.client() as client:
            for turn in range(4):
                streamed = (seed + turn) % 2
                url = f"/v1/synthesize?format=float32&stream={streamed}"
                request_id = f"seed-{seed}-{turn}"
                answer = client.post(url, content=npy(mels[seed]), headers={"X-Request-Id": request_id})
                if answer.headers.get("x-request-id") != request_id:
                    wrong.append(f"{request_id}: {answer.headers}")
                if not np.array_equal(floats(answer.content), wanted[seed][streamed]):
                    wrong.append(request_id)

    at_once(ask, mels)
    assert wrong == []


def test_an_engine_that_gives_nan_is_the_servers_failure(slow):
    engine, sources = slow
    with running(sources) as server, server.client() as client:
        engine.failure = SamplesNotFinite()
        for name in ("wav", "flac", "pcm16", "float32", "opus"):
            for streamed in (0, 1):
                url = f"/v1/synthesize?format={name}&stream={streamed}"
                answer = client.post(url, content=npy(tiny_mel(40)))
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (500, "engine_failed"), (name, streamed)
                assert error["message"] == "the model gave values that are no audio: the server's log tells why"


def test_an_engine_that_fails_half_way_cuts_the_answer_off(slow):
    engine, sources = slow
    compute = engine.pretend

    def fail_later(frames: int) -> np.ndarray:
        if engine.frames > 32 * 10:
            raise RuntimeError("a test")
        return compute(frames)

    with running(sources) as server, server.client() as client:
        engine.pretend = fail_later
        with (
            client.stream("POST", "/v1/synthesize?stream=1", content=npy(tiny_mel(32 * 20))) as answer,
            pytest.raises(httpx2.RemoteProtocolError),
        ):
            answer.read()
        assert client.get("/healthz").status_code == 200
