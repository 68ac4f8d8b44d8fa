"""The Wyoming protocol, spoken to by Wyoming's own client and by strangers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import tiny_mel
from hifigan_rt.audio import to_pcm16
from hifigan_rt.tools.serving import wyoming
from hifigan_rt.tools.serving.listening import address_of
from hifigan_rt.tools.serving.loading import VoiceSource
from hifigan_rt.tools.serving.wyoming_events import encode_event
from running_server import npy, running
from voice_files import STILL, TEXT, tiny_voice
from waiting import wait_for


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_voice(tmp_path_factory.mktemp("voice"), **STILL, language={"code": "en_US"})


@pytest.fixture(scope="module")
def voice(path):
    with hifigan_rt.load_voice(path) as loaded:
        yield lambda text, **how: to_pcm16(loaded(text, segment_frames=32, **how))[0]


@pytest.fixture(scope="module")
def server(path, sources):
    with running({**sources, "ann": VoiceSource(path)}, wyoming_port=0) as served:
        yield served


@pytest.fixture
def port(server):
    return server.server.wyoming.port


def exchange(port: int, sent: bytes) -> list[tuple[str, dict, bytes]]:
    """Send bytes, close this side, and give the events that come."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        stream = connection.makefile("rb")
        return list(iter(lambda: next_event(stream), None))


def next_event(stream: BinaryIO) -> tuple[str, dict, bytes] | None:
    if not (line := stream.readline()):
        return None
    header = json.loads(line)
    data = json.loads(stream.read(header.get("data_length", 0)) or b"{}")
    return header["type"], data, stream.read(header.get("payload_length", 0))


def connect_with_small_buffers(served, connection: socket.socket) -> None:
    """Connect to a server that keeps in its process most of what it is about to send."""
    served.server.wyoming._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", served.server.wyoming.port))


def audio_of(events) -> np.ndarray:
    return np.frombuffer(b"".join(payload for kind, _, payload in events if kind == "audio-chunk"), "<i2")


def kinds_of(events) -> list[str]:
    return [kind for kind, _, _ in events if kind != "audio-chunk"]


def test_a_text_is_spoken(port, voice):
    said = {"text": TEXT, "voice": {"name": "ann", "speaker": "cy"}}
    events = exchange(port, encode_event("synthesize", said))
    assert kinds_of(events) == ["audio-start", "audio-stop"]
    assert events[0][1] == {"rate": 16000, "width": 2, "channels": 1}
    np.testing.assert_array_equal(audio_of(events), voice(TEXT, speaker="cy"))


def test_a_text_that_comes_piece_by_piece(port, voice):
    chunks = [encode_event("synthesize-chunk", {"text": TEXT[start : start + 3]}) for start in range(0, len(TEXT), 3)]
    sent = [encode_event("synthesize-start", {"voice": {"language": "en_US"}}), *chunks]
    # Home Assistant sends the whole text too.
    sent += [encode_event("synthesize", {"text": TEXT}), encode_event("synthesize-stop", {})]
    events = exchange(port, b"".join(sent))
    assert kinds_of(events) == ["audio-start", "audio-stop", "synthesize-stopped"]
    np.testing.assert_array_equal(audio_of(events), voice(TEXT))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (encode_event("synthesize", {"text": ""}), "the text is empty"),
        (encode_event("synthesize", {"text": "xyz"}), "nothing of the text can be spoken"),
        (encode_event("synthesize", {}), "the event has no text"),
        (encode_event("synthesize", {"text": "a", "text_format": "ssml"}), "text_format='ssml' is not taken"),
        (
            encode_event("synthesize", {"text": "a", "voice": {"name": "bob"}}),
            "voice 'bob' is not known here: choose ann",
        ),
        (
            encode_event("synthesize", {"text": "a", "voice": {"name": "tiny"}}),
            "voice 'tiny' is not known here: choose ann",
        ),
        (encode_event("synthesize", {"text": "a", "voice": {"name": "ann", "speaker": "dee"}}), "is not known"),
        (encode_event("synthesize", {"text": "a", "voice": {"language": "fr"}}), "speaks language 'fr': choose en_US"),
        (encode_event("synthesize", {"text": "a", "voice": 5}), "voice must be an object"),
        (b"GET / HTTP/1.1\r\n\r\n", "no event of the Wyoming protocol"),
        (b"{}\n", "the event has no type"),
        (b"[" * 1000 + b"\n", "no event"),
        (b"x" * 100_000, "no event"),
        (b'{"type": "ping", "data_length": 99999999999}\n', "data_length=99999999999 must be"),
        (b'{"type": "ping", "data_length": -1}\n', "data_length=-1 must be"),
        (b'{"type": "ping", "data_length": 9}\n{}', "the event is cut short"),
    ],
)
def test_what_cannot_be_spoken_is_told(port, quiet, sent, told):
    (event,) = exchange(port, sent)
    assert event[0] == "error"
    assert told in event[1]["text"]


def test_a_sentence_without_known_symbols_is_passed_over(port, voice, quiet):
    chunks = [encode_event("synthesize-chunk", {"text": text}) for text in ("xyz\n\naa", "\n\nxyz\n\n", "a")]
    events = exchange(
        port, b"".join([encode_event("synthesize-start", {}), *chunks, encode_event("synthesize-stop", {})])
    )
    assert kinds_of(events) == ["audio-start", "audio-stop", "synthesize-stopped"]
    np.testing.assert_array_equal(audio_of(events), voice("aa\n\na"))


def test_the_log_tells_what_was_left_out(port, caplog):
    events = exchange(port, encode_event("synthesize", {"text": "axa"}))
    assert kinds_of(events) == ["audio-start", "audio-stop"]
    assert "voice 'ann' does not have, and left out: 'x' (U+0078)" in caplog.messages


def test_after_an_error_the_connection_ends(port, caplog):
    """Home Assistant reads until audio stops or the connection ends, and passes over errors."""
    caplog.set_level(logging.INFO, "hifigan_rt")
    with socket.create_connection(("127.0.0.1", port), 20) as connection:  # sooner than one that is idle ends
        connection.sendall(encode_event("unknown", {}) + encode_event("synthesize", {"text": "xyz"}))
        told = b"".join(iter(lambda: connection.recv(1000), b""))
    assert b'"code": "bad_request"' in told
    (logged,) = [record.facts for record in caplog.records if "code" in getattr(record, "facts", ())]
    assert (logged["client"], logged["code"]) == ("127.0.0.1", "bad_request")
    assert "nothing of the text can be spoken" in logged["told"]


def test_a_client_of_ipv6_is_its_first_64_bits_as_over_http(server):
    # Not every machine has IPv6.
    writer = SimpleNamespace(get_extra_info=lambda _: ("2001:db8:1:2:3:4:5:6", 10200, 0, 0))
    assert wyoming._Connection(server.context, None, None, writer)._client == "2001:db8:1:2::/64"


def test_a_text_that_stops_coming_is_told(path):
    with (
        running({"ann": VoiceSource(path)}, wyoming_port=0, idle_timeout_seconds=0.2) as served,
        socket.create_connection(("127.0.0.1", served.server.wyoming.port), 20) as connection,
    ):
        connection.sendall(BEGUN)
        told = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert b'"code": "request_timeout"' in told


def test_halves_of_surrogate_pairs_are_spaces(port, voice, quiet):
    texts = ("aa \ud83d a\n\na", "a\n\n\ude00a")
    chunks = [encode_event("synthesize-chunk", {"text": text}) for text in texts]
    events = exchange(port, b"".join([START, *chunks, STOP]))
    assert kinds_of(events) == ["audio-start", "audio-stop", "synthesize-stopped"]
    np.testing.assert_array_equal(audio_of(events), voice("aa   a\n\naa\n\n a"))


START, STOP = encode_event("synthesize-start", {}), encode_event("synthesize-stop", {})
BEGUN = START + encode_event("synthesize-chunk", {"text": "aa\n\na"})


@pytest.mark.parametrize(
    ("begin", "before"),
    [
        (encode_event("synthesize-start", {"voice": {"name": "bob"}}), []),
        (encode_event("synthesize-start", {"voice": 5}), []),
        (BEGUN + encode_event("synthesize-chunk", {}), ["audio-start"]),
    ],
    ids=["unknown voice", "no voice", "no text"],
)
def test_a_streamed_text_that_fails_is_passed_over_up_to_its_end(port, voice, quiet, begin, before):
    chunk, whole = (encode_event(kind, {"text": "aa\n\naa"}) for kind in ("synthesize-chunk", "synthesize"))
    events = exchange(port, begin + chunk + chunk + whole + STOP + whole)
    stream = [*before, "error", "synthesize-stopped"]
    assert kinds_of(events) == [*stream, "audio-start", "audio-stop"]
    following = [kind for kind, _, _ in events].index("synthesize-stopped")
    np.testing.assert_array_equal(audio_of(events[following:]), voice("aa\n\naa"))


def test_a_streamed_text_whose_end_fails_is_ended(port, voice, quiet):
    events = exchange(port, START + encode_event("synthesize-chunk", {"text": "xyz"}) + STOP)
    assert kinds_of(events) == ["error", "synthesize-stopped"]


def test_a_text_of_which_something_was_heard_waits_for_a_full_queue(path, voice, slow):
    engine, sources = slow
    chunk, rest = (encode_event("synthesize-chunk", {"text": text}) for text in ("aa\n\na", " a\n\na"))
    with (
        running({**sources, "ann": VoiceSource(path)}, wyoming_port=0, max_queued_requests=1) as served,
        socket.create_connection(("127.0.0.1", served.server.wyoming.port), 60) as connection,
        engine.held(),
    ):
        connection.sendall(START + chunk)
        stream = connection.makefile("rb")
        events = [next_event(stream), next_event(stream)]
        wait_for(lambda: served.metric("hifigan_queued_requests") == 0)
        thread, _ = served.begin("/v1/synthesize", npy(tiny_mel(20)))
        wait_for(lambda: served.metric("hifigan_queued_requests") == 1)
        connection.sendall(rest + STOP)
        time.sleep(0.3)
        engine.release()
        while events[-1][0] not in ("synthesize-stopped", "error"):
            events.append(next_event(stream))
        thread.join()
        assert served.metric("hifigan_rejected_requests_total", reason="queue_full") == 0
    assert kinds_of(events) == ["audio-start", "audio-stop", "synthesize-stopped"]
    np.testing.assert_array_equal(audio_of(events), np.concatenate([voice("aa"), voice("a a"), voice("a")]))


def test_a_description_loads_nothing_and_the_first_text_one_voice(path, sources):
    absent = VoiceSource(path.parent / "absent.onnx")
    configured = {**sources, "ann": VoiceSource(path), "bob": VoiceSource(path), "eve": absent}
    with running(configured, preload=(), wyoming_port=0) as served:
        models, port = served.context.models, served.server.wyoming.port
        ((_, info, _),) = exchange(port, encode_event("describe", {}))
        assert [voice["name"] for voice in info["tts"][0]["voices"]] == ["ann", "bob"]
        assert {status.state for status in models.statuses()} == {"unloaded"}
        assert kinds_of(exchange(port, encode_event("synthesize", {"text": "aa"}))) == ["audio-start", "audio-stop"]
        assert [status.name for status in models.statuses() if status.state != "unloaded"] == ["ann"]


def test_it_tells_where_it_listens_as_urls_have_it(path, caplog):
    caplog.set_level(logging.INFO, "hifigan_rt")
    with running({"ann": VoiceSource(path)}, preload=(), wyoming_port=0) as served:
        assert f"speaking Wyoming on tcp://127.0.0.1:{served.server.wyoming.port}" in caplog.messages
    # Not every machine has IPv6.
    assert address_of(SimpleNamespace(getsockname=lambda: ("::1", 9141, 0, 0))) == "[::1]:9141"


def test_who_leaves_in_the_middle_keeps_nothing(server, port):
    gone = server.metric("hifigan_cancelled_requests_total")
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(encode_event("synthesize", {"text": TEXT * 200}))
        assert connection.recv(10)
    kinds = kinds_of(exchange(port, encode_event("synthesize", {"text": "aa"})))
    assert kinds == ["audio-start", "audio-stop"]
    wait_for(lambda: server.metric("hifigan_cancelled_requests_total") == gone + 1)


def test_a_text_that_has_begun_is_spoken_to_its_end_when_the_server_is_stopped(path, voice):
    chunk, rest = (encode_event("synthesize-chunk", {"text": text}) for text in ("aa\n\na", " a\n\na"))
    with (
        running({"ann": VoiceSource(path)}, wyoming_port=0) as served,
        socket.create_connection(("127.0.0.1", served.server.wyoming.port), 60) as connection,
        socket.create_connection(("127.0.0.1", served.server.wyoming.port), 60) as other,
    ):
        connection.sendall(START + chunk)
        stream = connection.makefile("rb")
        events = [next_event(stream), next_event(stream)]
        served.server.begin_shutdown()
        served.thread.join(0.5)
        other.sendall(START + chunk + STOP)
        assert [next_event(other_stream := other.makefile("rb"))[1]["code"]] == ["shutting_down"]
        assert next_event(other_stream)[0] == "synthesize-stopped"
        connection.sendall(rest + STOP)
        events += iter(lambda: next_event(stream), None)
        served.thread.join(20)
        assert not served.thread.is_alive()
    assert kinds_of(events) == ["audio-start", "audio-stop", "synthesize-stopped"]
    np.testing.assert_array_equal(audio_of(events), np.concatenate([voice("aa"), voice("a a"), voice("a")]))


def test_a_slow_client_gets_all_of_a_text_that_was_spoken(path, voice):
    text = "a" * 40
    expected = np.concatenate([voice(text)] * 20)
    with running({"ann": VoiceSource(path)}, wyoming_port=0) as served, socket.socket() as connection:
        connect_with_small_buffers(served, connection)
        connection.sendall(encode_event("synthesize", {"text": "\n\n".join([text] * 20)}))
        wait_for(lambda: served.metric("hifigan_audio_seconds_total", model="ann") >= len(expected) / 16000 - 0.001)
        wait_for(lambda: served.context.active == 0)
        served.server.begin_shutdown()
        served.thread.join(1.5)  # longer than an end with nothing to wait for takes
        stream = connection.makefile("rb")
        events = list(iter(lambda: next_event(stream), None))
        served.thread.join(60)
    assert kinds_of(events) == ["audio-start", "audio-stop"]
    np.testing.assert_array_equal(audio_of(events), expected)


@pytest.mark.parametrize("seconds", [1.5, 10])  # what waits for the client lets the last write end, or does not
def test_a_client_that_takes_nothing_in_is_left(path, voice, seconds):
    text = "a" * 40
    count = int(seconds * 16000 / len(voice(text)))
    limits = {"write_timeout_seconds": 1.0, "max_mel_seconds": 1000.0}
    with running({"ann": VoiceSource(path)}, wyoming_port=0, **limits) as served, socket.socket() as connection:
        connect_with_small_buffers(served, connection)
        wait_for(lambda: served.server.wyoming._connections)
        [writer] = served.server.wyoming._connections.values()
        connection.sendall(encode_event("synthesize", {"text": "\n\n".join([text] * count)}))
        connection.shutdown(socket.SHUT_WR)
        wait_for(lambda: not served.server.wyoming._connections)
        assert not writer.transport.get_write_buffer_size()
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                received += len(piece)
        assert received < seconds * 16000


@pytest.mark.wyoming
@pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")
def test_wyomings_own_client(port, voice):
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong
    from wyoming.tts import Synthesize, SynthesizeVoice

    async def talk() -> bytes:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Describe().event())
            (program,) = Info.from_event(await client.read_event()).tts
            assert program.supports_synthesize_streaming
            (found,) = program.voices
            assert (found.name, found.languages) == ("ann", ["en_US"])
            assert [speaker.name for speaker in found.speakers] == ["ada", "bo", "cy"]
            await client.write_event(Ping("x").event())
            assert Pong.from_event(await client.read_event()).text == "x"
            await client.write_event(Synthesize(TEXT, SynthesizeVoice("ann", speaker="bo")).event())
            assert AudioStart.from_event(await client.read_event()).rate == 16000
            audio = b""
            while not AudioStop.is_type((event := await client.read_event()).type):
                audio += AudioChunk.from_event(event).audio
            return audio

    np.testing.assert_array_equal(np.frombuffer(asyncio.run(talk()), "<i2"), voice(TEXT, speaker="bo"))
