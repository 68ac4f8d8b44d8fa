"""Recordings that cannot be resynthesised are refused with the reason."""

import gzip
import json
import threading

import pytest

from golden.tiny import tiny_mel, write_tiny
from hifigan_rt import load
from hifigan_rt.tools.serving import audio_bodies
from running_server import npy, recording, running

SYNTHESIZE = "/v1/synthesize"
MEL = tiny_mel(20)


def test_a_mel_and_a_recording_at_each_others_place(client):
    told = client.post(SYNTHESIZE, content=recording()).json()["error"]["message"]
    assert told == "the body is a WAV recording, not a mel: /v1/copy-synthesis takes recordings"
    told = client.post("/v1/copy-synthesis", content=npy(MEL)).json()["error"]["message"]
    assert told == "the body is a NumPy array, not a recording: /v1/synthesize takes mels"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "the body is a git-LFS pointer, not the file itself"),
        (b"<!DOCTYPE html><title>404</title>", "the body is an HTML page: the download saved the web page"),
        (b"", "the body is empty"),
        (b"PK\x03\x04" + bytes(26) + b"mel.npy", "the body is an archive of NumPy arrays, no .npy, and bare float32"),
        (b"%PDF-1.4\n", "the body is a PDF, no .npy, and bare float32 needs the header"),
        (b'{"mel": [[1]]}', "the body is no .npy, and bare float32"),
    ],
)
def test_bodies_that_are_no_mel_are_named(client, content, text):
    assert client.post(SYNTHESIZE, content=content).json()["error"]["message"].startswith(text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"no audio at all", "not wav, flac, ogg or mp3"),
        (recording()[:30], "cannot be decoded"),
        (recording(seconds=0.001), "samples"),
        (recording(rate=16000), "resample=1"),
        (recording(channels=2), "mono=1"),
    ],
)
def test_bad_recordings(client, content, text):
    answer = client.post("/v1/copy-synthesis", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "audio_invalid")
    assert text in answer.json()["error"]["message"]
    assert "--" not in answer.json()["error"]["message"]


def test_a_recording_for_a_model_without_mel_settings(tmp_path):
    """Its mels are synthesised all the same."""
    path = write_tiny(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({name: fields[name] for name in fields if name != "n_fft"}))
    with running({"partial": lambda: load(path)}) as server, server.client() as client:
        answer = client.post("/v1/copy-synthesis", content=recording())
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "analysis_unavailable")
        assert answer.json()["error"]["message"].endswith("missing: n_fft")
        answer = client.post(SYNTHESIZE, content=npy(MEL))
        assert (answer.status_code, answer.headers["x-sample-rate"]) == (200, "8000")
        assert "422" in client.get("/openapi.json").json()["paths"]["/v1/copy-synthesis"]["post"]["responses"]


def test_a_recording_beyond_the_longest(sources):
    with running(sources, max_mel_seconds=0.4) as server, server.client() as client:
        answer = client.post("/v1/copy-synthesis", content=recording())
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "audio_invalid")
        assert "longer than 0.4 s" in answer.json()["error"]["message"]
        assert "--" not in answer.json()["error"]["message"]


def test_a_few_bytes_that_become_junk_fill_no_log_and_hold_nobody_up(server, client, monkeypatch, capfd):
    """Whatever a decoder takes for odd bytes, others do not wait for it."""
    threads = []
    opened = audio_bodies.open_recording
    monkeypatch.setattr(
        audio_bodies, "open_recording", lambda *given: (threads.append(threading.current_thread()), opened(*given))[1]
    )
    capfd.readouterr()
    packed = gzip.compress(b"\xff\xfb\0\0" * 32_000)
    answer = client.post("/v1/copy-synthesis", content=packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "audio_invalid")
    assert "no frames of MPEG audio" in answer.json()["error"]["message"]
    assert capfd.readouterr().err == ""
    assert client.post("/v1/copy-synthesis", content=recording()).status_code == 200
    assert len(threads) == 2
    assert server.thread not in threads
