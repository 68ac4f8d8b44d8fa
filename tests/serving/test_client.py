"""The clients against real servers: what comes back, and what refusals, silence and nonsense become."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from golden.tiny import TINY, tiny_mel
from hifigan_rt import AsyncClient, Client
from hifigan_rt.errors import AudioError, MelError, RequestFailed, ServerUnreachable
from hifigan_rt.tools.client import protocol
from running_server import running

M = TINY.generator.num_mels
RATE = TINY.mel.sample_rate
ROOT = Path(__file__).parents[2]


def recording(samples: int = 4000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(samples) / 9), RATE, format="WAV")
    return file.getvalue()


def test_audio_is_the_vocoders(own_client, vocoder):
    mel = tiny_mel(50)
    audio = own_client.synthesize(mel)
    np.testing.assert_array_equal(audio.samples, vocoder(mel))
    assert (audio.sample_rate, audio.model, audio.warning) == (RATE, "tiny", None)
    assert audio.request_id


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_connections_of_its_own(own_client, vocoder):
    """Two that share one read each other's answers: audio of another mel, without a word."""
    mels = [tiny_mel(20 + index) for index in range(20)]
    expected = [vocoder(mel) for mel in mels]
    own_client.synthesize(mels[0])
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            audios = [own_client.synthesize(mel).samples for mel in mels]
            own_client.close()
            os._exit(0 if all(map(np.array_equal, audios, expected)) else 1)
        children.append(child)
    audios = [own_client.synthesize(mel).samples for mel in mels]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert all(map(np.array_equal, audios, expected))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asynchronous_client_in_one_event_loop_after_another(server, vocoder):
    mel = tiny_mel(20)
    client = AsyncClient(server.url)
    for _ in range(3):
        np.testing.assert_array_equal(asyncio.run(client.synthesize(mel)).samples, vocoder(mel))
    asyncio.run(client.close())
    gc.collect()  # the sockets that the ended loops have left
    with pytest.raises(ServerUnreachable, match=r"^the client is closed: make another one$"):
        asyncio.run(client.models())


def test_a_closed_client_says_so(server):
    client = Client(server.url)
    client.close()
    client.close()
    with pytest.raises(ServerUnreachable, match=r"^the client is closed: make another one$"):
        client.models()


def test_another_model_by_name(own_client, vocoder):
    mel = tiny_mel(20)
    other = own_client.synthesize(mel.astype(np.float64), "other")
    assert other.model == "other"
    assert not np.array_equal(other.samples, vocoder(mel))
    assert [model["name"] for model in own_client.models()] == ["tiny", "other"]


def test_streamed_audio_in_pieces(own_client, vocoder):
    mel = tiny_mel(600)
    np.testing.assert_array_equal(
        np.concatenate(list(own_client.synthesize_streamed(mel))),
        np.concatenate(list(own_client.synthesize_streamed(np.asfortranarray(mel)))),
    )
    assert sum(map(len, own_client.synthesize_streamed(mel))) == vocoder.output_length(600)


def test_copy_synthesis_of_bytes_and_files(own_client, vocoder, tmp_path):
    (tmp_path / "a.wav").write_bytes(recording())
    of_bytes, of_file = own_client.copy_synthesis(recording()), own_client.copy_synthesis(tmp_path / "a.wav")
    np.testing.assert_array_equal(of_bytes.samples, of_file.samples)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(of_file.samples, vocoder(vocoder.mel(samples)))


def test_a_recording_whose_length_is_wrong_is_told(own_client):
    content = recording()
    told = own_client.copy_synthesis(content[:40] + (1000).to_bytes(4, "little") + content[44:])
    assert told.warning.startswith("its header states 1000 bytes of samples and ")
    assert np.array_equal(told.samples, own_client.copy_synthesis(content).samples)


def test_everything_asynchronously(server, vocoder):
    mel = tiny_mel(200)

    async def run():
        async with AsyncClient(server.url) as client:
            whole, copied, models = await asyncio.gather(
                client.synthesize(mel), client.copy_synthesis(recording()), client.models()
            )
            streamed = [piece async for piece in client.synthesize_streamed(mel)]
            async with client.stream(segment_frames=16) as live:
                await live.push(mel)
                await live.finish()
                lived = [piece async for piece in live]
                assert (live.sample_rate, live.num_mels, live.segment_frames) == (RATE, M, 16)
            with pytest.raises(RequestFailed, match="nobody"):
                async with client.stream("nobody"):
                    pass
        return whole, copied, models, np.concatenate(streamed), np.concatenate(lived)

    whole, copied, models, streamed, lived = asyncio.run(run())
    np.testing.assert_array_equal(whole.samples, vocoder(mel))
    np.testing.assert_array_equal(lived, vocoder(mel, segment_frames=16))
    assert len(streamed) == len(whole.samples)
    assert copied.model == models[0]["name"]


@pytest.mark.parametrize(
    ("mel", "text"),
    [
        (np.zeros((2, M, 5), np.float32), r"\[2, 10, 5\]"),
        (np.zeros((M, 0), np.float32), r"must be float \[M, T\]"),
        (np.zeros((M, 5), int), "int64"),
        ({"mel": np.zeros((M, 5))}, "a dict with the keys 'mel'"),
        ([np.zeros((M, 5)), np.zeros((M, 5))], r"\[2, 10, 5\]"),
        ("mel.npy", "the mel is text"),
    ],
)
def test_a_mel_that_is_none_is_not_sent(own_client, mel, text):
    with pytest.raises(MelError, match=text):
        own_client.synthesize(mel)
    with pytest.raises(MelError, match=text):
        next(own_client.synthesize_streamed(mel))


@pytest.mark.torch
def test_tensors_are_told_of_as_by_a_vocoder(server, own_client, vocoder):
    torch = pytest.importorskip("torch")

    async def asked(mel):
        async with AsyncClient(server.url) as other:
            await other.synthesize(mel)

    for mel in (torch.zeros(M, 5).bfloat16(), torch.zeros(M, 5).to_sparse()):
        with pytest.raises(MelError) as told:
            vocoder(mel)
        with own_client.stream() as live, pytest.raises(MelError) as streamed:
            live.push(mel)
        for ask in (own_client.synthesize, lambda mel: asyncio.run(asked(mel))):
            with pytest.raises(MelError) as sent:
                ask(mel)
            assert str(sent.value) == str(streamed.value) == str(told.value)
            assert "pass mel.detach().float().cpu().numpy()" in str(told.value)


def test_refusals_tell_code_status_and_request(own_client):
    with pytest.raises(RequestFailed, match="the server answered 4") as caught:
        own_client.synthesize(np.zeros((M + 1, 5), np.float32))
    assert (caught.value.status, caught.value.code) == (400, "mel_invalid")
    assert caught.value.request_id
    with pytest.raises(RequestFailed) as caught:
        own_client.synthesize(tiny_mel(5), "nobody")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    with pytest.raises(RequestFailed):
        list(own_client.synthesize_streamed(tiny_mel(5), "nobody"))
    with pytest.raises(RequestFailed):
        own_client.copy_synthesis(b"no recording")


TOKEN = "open sesame, please, now"  # noqa: S105 - of a server that lives as long as the test


def test_tokens(sources):
    with running(sources, bearer_tokens=(TOKEN,)) as served:
        with Client(served.url) as client, pytest.raises(RequestFailed) as caught:
            client.synthesize(tiny_mel(5))
        assert (caught.value.status, caught.value.code) == (401, "unauthorized")
        with Client(served.url) as client, pytest.raises(RequestFailed) as caught, client.stream():
            pass
        assert caught.value.status in (401, 403)
        with Client(served.url, token=TOKEN) as client:
            assert client.synthesize(tiny_mel(5)).samples.size
            with client.stream() as live:
                live.finish()
                assert sum(map(len, live)) == 0


def test_a_token_as_its_file_has_it(sources):
    with running(sources, bearer_tokens=(TOKEN,)) as served, Client(served.url, token=f" {TOKEN}\n") as client:
        assert client.synthesize(tiny_mel(5)).samples.size
        with client.stream() as live:
            assert live.num_mels == M


@pytest.mark.parametrize("token", ["", "two\nlines", "schlüssel"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token):
    with pytest.raises(ServerUnreachable, match="no header can carry it") as caught:
        AsyncClient(token=token)
    assert not token or token[:3] not in str(caught.value)


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ServerUnreachable, match="does not answer"):
            client.synthesize(tiny_mel(5))
        with pytest.raises(ServerUnreachable), client.stream():
            pass


def test_a_server_that_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with Client(url, timeout_seconds=0.2) as client, pytest.raises(ServerUnreachable):
            client.models()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e20, 10**30, "5", [5], 1j])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_timeout_that_is_no_time(kind, seconds):
    with pytest.raises(ServerUnreachable, match=rf"^timeout_seconds={re.escape(repr(seconds))} must be a number"):
        kind(timeout_seconds=seconds)


@pytest.mark.parametrize("seconds", [None, 1e9, np.float32(60), 60])
def test_a_timeout_of_any_length(server, seconds):
    mel = tiny_mel(20)
    with Client(server.url, timeout_seconds=seconds) as client, client.stream() as live:
        live.push(mel)
        live.finish()
        assert sum(map(len, live)) == len(client.synthesize(mel).samples)


def test_an_address_in_other_letters_and_lines(server):
    with Client(f" {server.url.upper()}/\n") as client:
        assert client.models()
        with client.stream() as live:
            assert live.num_mels == M


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8004", "ftp://host", "http://", "", "http://host/?model=a", "http://host/#a", "http://a..b",
        "http://\N{FULLWIDTH LATIN SMALL LETTER A}", f"http://{'a' * 64}", None, 8004,
    ],
)  # fmt: skip
def test_an_address_that_is_none(url):
    with pytest.raises(ServerUnreachable, match="is no address"):
        Client(url)


def test_a_token_that_is_no_text_is_not_shown():
    with pytest.raises(ServerUnreachable, match=r"^the token is a bytes: pass a str$"):
        Client("http://127.0.0.1:8004", token=b"s3cret")


def test_a_recording_that_is_not_there(own_client):
    with pytest.raises(AudioError, match=r"none\.wav"):
        own_client.copy_synthesis("none.wav")
    with pytest.raises(AudioError, match=r"'a\\x00b' cannot be read"):
        own_client.copy_synthesis("a\0b")
    for wrong, kind in ((np.zeros(4000, np.float32), "ndarray"), (None, "NoneType"), ({}, "dict")):
        with pytest.raises(AudioError, match=f"the recording is a {kind}: pass the path"):
            own_client.copy_synthesis(wrong)
    assert own_client.copy_synthesis(bytearray(recording())).samples.size


def test_an_absent_package_names_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(protocol.importlib, "import_module", absent)
    with pytest.raises(ServerUnreachable, match=r"pip install 'hifigan-rt\[client\]'"):
        Client()


def test_an_answer_cut_short_is_told():
    with pytest.raises(RequestFailed, match="announced 10 samples and sent 12 bytes"):
        protocol.read_audio({"x-samples": "10", "x-sample-rate": "22050"}, bytes(12))


class OnceUponAProxy(BaseHTTPRequestHandler):
    """Server whose answers a proxy has packed or cut off."""

    packed = False
    size = 400

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = VALUES.tobytes()[: self.size]
        self.send_response(200)
        for name, value in {"X-Request-Id": "1", "X-Sample-Rate": "8000", "X-Samples": str(len(VALUES))}.items():
            self.send_header(name, value)
        if self.packed and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


VALUES = np.random.default_rng(0).normal(0, 0.1, 100).astype("<f4")


def streamed(url: str) -> np.ndarray:
    with Client(url) as client:
        return np.concatenate(list(client.synthesize_streamed(tiny_mel(5))))


def streamed_asynchronously(url: str) -> np.ndarray:
    async def run():
        async with AsyncClient(url) as client:
            return [piece async for piece in client.synthesize_streamed(tiny_mel(5))]

    return np.concatenate(asyncio.run(run()))


@pytest.mark.parametrize("ask", [streamed, streamed_asynchronously])
def test_what_a_proxy_makes_of_a_streamed_answer(ask, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), OnceUponAProxy) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        try:
            monkeypatch.setattr(OnceUponAProxy, "packed", True)
            np.testing.assert_array_equal(ask(url), VALUES)
            for size in (200, 201):
                monkeypatch.setattr(OnceUponAProxy, "size", size)
                with pytest.raises(RequestFailed, match=f"announced 100 samples and sent {size} bytes"):
                    ask(url)
        finally:
            proxy.shutdown()


def test_pieces_give_whole_samples():
    values = np.arange(5, dtype="<f4")
    pieces, content = protocol.Pieces({}), values.tobytes()
    np.testing.assert_array_equal(np.concatenate([pieces.add(content[i : i + 3]) for i in range(0, 20, 3)]), values)
    pieces.end()
    pieces.add(b"x")
    with pytest.raises(RequestFailed, match="sent 21 bytes, which are no whole samples"):
        pieces.end()


@pytest.mark.parametrize("name", ["stream_player.py", "feed_a_generator.py"])
def test_examples(server, tmp_path, name):
    """The examples run as they are, on a mel file, and write what the server gives."""
    np.save(tmp_path / "mel.npy", tiny_mel(120))
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, server.url, "mel.npy", "out.wav"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == 120 * TINY.mel.hop_length
