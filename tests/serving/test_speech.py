"""`POST /v1/audio/speech`: text in, the voice's own samples out, also for OpenAI's client."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hifigan_rt
from fake_tools import put_on_path
from golden.tiny import tiny_mel
from hifigan_rt.audio import read_audio, to_pcm16
from hifigan_rt.audio.conversion import resample
from hifigan_rt.errors import PhonemizerError, RequestFailed, SpeechError
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.loading import VoiceSource
from hifigan_rt.tools.voices.speaking import Utterance
from running_server import npy, running
from voice_files import TEXT, tiny_voice
from waiting import wait_for


@pytest.fixture(scope="module")
def voice(still_voice):
    with hifigan_rt.load_voice(still_voice) as loaded:
        yield lambda text, **how: loaded(text, segment_frames=32, **how)


@pytest.fixture(scope="module")
def server(voice_server):
    return voice_server


def ask(client, **changes):
    return client.post("/v1/audio/speech", json={"model": "tts-1", "input": TEXT, "voice": "ann"} | changes)


def test_a_wav_holds_the_voices_samples(client, voice):
    answer = ask(client, response_format="wav")
    assert answer.status_code == 200
    assert answer.headers["transfer-encoding"] == "chunked"
    assert (answer.headers["content-type"], answer.headers["x-sample-rate"]) == ("audio/wav", "16000")
    np.testing.assert_array_equal(np.frombuffer(answer.content[44:], "<i2"), to_pcm16(voice(TEXT))[0])
    assert answer.content[:4] + answer.content[40:44] == b"RIFF\xff\xff\xff\xff"


def test_float32_is_the_voices_samples(client, voice):
    answer = ask(client, response_format="float32")
    assert answer.headers["content-type"] == "application/vnd.hifigan.float32;rate=16000;channels=1"
    assert answer.headers["x-sample-rate"] == "16000"
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), voice(TEXT))


def test_our_client(server, voice):
    with hifigan_rt.Client(server.url) as ours:
        whole = ours.speak(TEXT, "ann")
        assert (whole.sample_rate, whole.model, whole.samples.dtype) == (16000, "ann", np.float32)
        np.testing.assert_array_equal(whole.samples, voice(TEXT))
        pieces = list(ours.speak_streamed(TEXT, "ann", speaker="cy", speed=np.float32(2)))
        assert len(pieces) > 1
        np.testing.assert_array_equal(np.concatenate(pieces), voice(TEXT, length_scale=0.75, speaker="cy"))
        np.testing.assert_array_equal(ours.speak(TEXT, "ann", speaker=2).samples, voice(TEXT, speaker=2))
        next(ours.speak_streamed(TEXT * 200, "ann"))  # and leave
        np.testing.assert_array_equal(ours.speak(TEXT, "ann").samples, voice(TEXT))


def test_our_client_asynchronously(server, voice):
    async def run():
        async with hifigan_rt.AsyncClient(server.url) as ours:
            whole = await ours.speak(TEXT, "ann", speaker=1)
            return whole, [piece async for piece in ours.speak_streamed(TEXT, "ann", speaker=1)]

    whole, pieces = asyncio.run(run())
    np.testing.assert_array_equal(whole.samples, voice(TEXT, speaker=1))
    np.testing.assert_array_equal(np.concatenate(pieces), whole.samples)


@pytest.mark.parametrize(
    ("asked", "status", "code", "told"),
    [
        (("a" * 60_000, "ann"), 413, "payload_too_large", "send it in parts"),
        ((TEXT, "alloy"), 404, "model_not_found", "'alloy' is not known"),
        ((TEXT, "tiny"), 400, "bad_request", "takes no text"),
        (("", "ann"), 400, "bad_request", "input must be the text to speak"),
    ],
)
def test_our_client_tells_refusals(server, asked, status, code, told):
    with hifigan_rt.Client(server.url) as ours:
        for call in (ours.speak, lambda *given: list(ours.speak_streamed(*given))):
            with pytest.raises(RequestFailed, match=told) as caught:
                call(*asked)
            assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"text": b"aaa"}, r"^the text is a bytes: pass a str$"),
        ({"text": Path("a.txt")}, r"^the text is a \w+Path: pass a str$"),
        ({"voice": None}, r"^the voice is a NoneType: pass a str$"),
        ({"speed": np.ones(2)}, r"^speed=array\(\[1\., 1\.\]\) must be a number"),
        ({"speed": float("nan")}, r"^speed=nan must be a number"),
        ({"speed": "2"}, r"^speed='2' must be a number"),
    ],
)
def test_our_client_takes_no_other_types(asked, told):
    with hifigan_rt.Client("http://127.0.0.1:1") as ours:  # where nothing answers
        for call in (ours.speak, lambda **given: list(ours.speak_streamed(**given))):
            with pytest.raises(SpeechError, match=told):
                call(**{"text": TEXT, "voice": "ann"} | asked)


def test_speed_and_speaker(client, voice):
    answer = ask(client, response_format="wav", speed=2, voice="ann/cy")
    expected = voice(TEXT, length_scale=0.75, speaker="cy")
    np.testing.assert_array_equal(np.frombuffer(answer.content[44:], "<i2"), to_pcm16(expected)[0])
    other = ask(client, response_format="wav", voice={"id": "ann/2"}, speed=None)
    np.testing.assert_array_equal(np.frombuffer(other.content[44:], "<i2"), to_pcm16(voice(TEXT, speaker=2))[0])


def test_pcm_has_the_rate_that_clients_take_for_granted(client, voice):
    answer = ask(client, response_format="pcm")
    assert answer.headers["x-sample-rate"] == "24000"
    pcm = np.frombuffer(answer.content, "<i2")
    np.testing.assert_array_equal(pcm, to_pcm16(resample(voice(TEXT), 16000, 24000))[0])


@pytest.mark.parametrize(("name", "rate"), [(None, 16000), ("mp3", 16000), ("opus", 16000), ("flac", 16000)])
def test_formats_with_a_header_of_their_own(client, voice, name, rate):
    answer = ask(client) if name is None else ask(client, response_format=name)
    assert answer.status_code == 200
    found = read_audio(io.BytesIO(answer.content))
    audio, expected = found.samples, voice(TEXT)
    assert found.sample_rate == rate
    assert len(expected) <= len(audio) <= len(expected) + 5000  # an mp3 begins and ends with padding
    if name == "flac":
        np.testing.assert_array_equal((audio * 32768).astype(np.int16), to_pcm16(expected)[0])


@pytest.mark.parametrize(("name", "more"), [("mp3", 3 * 1152), ("opus", 0), ("flac", 0), ("wav", 0)])
def test_saved_answers_open_with_their_length(client, voice, tmp_path, name, more):
    answer, samples = ask(client, response_format=name, input=TEXT * 3), len(voice(TEXT * 3))
    path = tmp_path / f"answer.{name}"
    path.write_bytes(answer.content)
    assert samples <= soundfile.info(path).frames <= samples + more
    assert samples <= len(soundfile.read(path)[0]) <= samples + more
    # The header of a flac states the length: the answer is sent when it is whole.
    assert ("content-length" in answer.headers) == (name == "flac")


def test_a_flac_whose_end_fails_is_told_in_a_status(server, client, monkeypatch):
    prepare, begun = Utterance.next_latents, []

    def next_latents(utterance):
        begun.append(utterance)
        if len(begun) > 1:
            raise PhonemizerError("a test")
        return prepare(utterance)

    monkeypatch.setattr(Utterance, "next_latents", next_latents)
    answer = ask(client, response_format="flac")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    wait_for(lambda: server.metric("hifigan_memory_held_bytes") == 0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input": ""}, "input must be the text to speak"),
        ({"input": 5}, "input must be the text to speak, and is 5"),
        ({"input": "..."}, "nothing of the text can be spoken"),
        ({"input": "xyz"}, "has none of its symbols"),
        ({"voice": 7}, "voice must be the name of a voice of this server, and is 7"),
        ({"voice": "tiny"}, "model 'tiny' is a vocoder, which takes no text"),
        ({"voice": "ann/dee"}, "speaker='dee' is not known"),
        ({"voice": "ann/"}, "speaker='' is not known"),
        ({"response_format": "aac"}, "response_format='aac' is not offered: mp3, opus, flac, wav, pcm, float32 are"),
        ({"response_format": ["mp3"]}, "is not offered: mp3"),
        ({"stream_format": "sse"}, "stream_format='sse' is not offered"),
        ({"instructions": "whisper"}, "instructions are not followed"),
        ({"speed": 5}, "speed=5 must be a number from 0.25 to 4"),
        ({"speed": "fast"}, "speed='fast' must be"),
        ({"tempo": 1}, "'tempo' is not known here: input, voice, model"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(client, quiet, changes, told):
    answer = ask(client, **changes)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert ".onnx" not in answer.text  # where its files lie is no client's business


@pytest.mark.parametrize("changes", [{"speed": "\ud800"}, {"model": ["\ud800"]}, {"voice": "\ud800"}])
def test_half_a_surrogate_pair_is_told_in_json(client, quiet, changes):
    content = json.dumps({"input": TEXT, "voice": "ann"} | changes)  # httpx's own JSON cannot have it
    answer = client.post("/v1/audio/speech", content=content)
    assert answer.status_code in (400, 404)
    assert "\\ud800" in answer.json()["error"]["message"]


def test_no_text_of_a_client_is_beyond_utf8():
    failure = BadRequest("speed=\ud800 must be a number")
    assert failure.message == str(failure) == "speed=\\ud800 must be a number"


def test_the_log_tells_what_was_left_out(client, caplog):
    caplog.set_level("INFO", "hifigan_rt")
    assert ask(client, input="a? a").status_code == 200
    wait_for(lambda: any("left_out" in getattr(record, "facts", {}) for record in caplog.records))
    (facts,) = [record.facts for record in caplog.records if "left_out" in getattr(record, "facts", {})]
    assert facts["left_out"] == "'?' (U+003F)"


def test_a_text_is_limited_as_mels_are(client, quiet):
    answer = ask(client, input="a" * 60_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
    assert "60000 characters, about 4286 s of audio: at most 3600 s" in answer.json()["error"]["message"]
    assert ask(client, input="a" * 60_000, speed=0.5).status_code == 413


def test_a_full_queue_refuses_a_text_before_its_latents_are_computed(still_voice, slow, monkeypatch):
    engine, sources = slow
    with (
        hifigan_rt.load_voice(still_voice) as voice,
        running({**sources, "ann": lambda: voice}, max_queued_requests=1) as server,
        engine.held(),
    ):
        monkeypatch.setattr(voice, "utterance", None)
        thread, _ = server.begin("/v1/synthesize", npy(tiny_mel(20)))
        wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
        with server.client() as client:
            answer = ask(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
        engine.release()
        thread.join()


def test_a_text_that_waits_too_long_for_its_text_part_is_no_error_of_the_server(still_voice, monkeypatch, quiet):
    held, begun, prepare = threading.Event(), threading.Semaphore(0), Utterance.next_latents

    def next_latents(utterance):
        begun.release()
        held.wait()
        return prepare(utterance)

    monkeypatch.setattr(Utterance, "next_latents", next_latents)
    with (
        running({"ann": VoiceSource(still_voice)}, max_queue_wait_seconds=0.2) as server,
        server.client() as client,
        ThreadPoolExecutor(2) as threads,
    ):
        answers = [threads.submit(ask, client) for _ in range(2)]
        try:
            for _ in answers:
                assert begun.acquire(timeout=20)
            refused = ask(client)
        finally:
            held.set()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
        assert [answer.result().status_code for answer in answers] == [200, 200]


def test_unknown_voices_and_bodies(client, quiet):
    answer = ask(client, voice="alloy")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert answer.json()["error"]["message"] == "voice 'alloy' is not known here: choose ann"
    for name, value in (
        ("response_format", False), ("stream_format", []), ("instructions", 0), ("model", 5)
    ):  # fmt: skip
        answer = ask(client, **{name: value})
        assert (answer.status_code, answer.json()["error"]["message"].split("=")[0].split(" ")[0]) == (400, name)
    assert client.post("/v1/audio/speech?speed=2", json={"input": TEXT, "voice": "ann"}).status_code == 400
    twice = client.post("/v1/audio/speech", content=b'{"input": "a", "voice": "ann", "input": "b"}')
    assert (twice.status_code, "'input' twice" in twice.json()["error"]["message"]) == (400, True)
    for body, told in ((b"", "no JSON"), (b"[]", "must be an object"), (b"\xff", "no JSON"), (b"{" * 99, "no JSON")):
        answer = client.post("/v1/audio/speech", content=body)
        assert answer.status_code == 400
        assert told in answer.json()["error"]["message"]


def test_a_server_without_voices_says_so(sources):
    with running(sources) as server, server.client() as client:
        answer = ask(client, voice="alloy")
        assert answer.json()["error"]["message"] == "voice 'alloy' is not known here: this server has no voices"


def test_voices_are_models_whose_latents_can_be_sent(client):
    models = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert (models["ann"]["input_kind"], models["ann"]["speakers"]) == ("latent", {"ada": 0, "bo": 1, "cy": 2})
    latents = tiny_mel(20)[:6]
    assert client.post("/v1/synthesize?model=ann&speaker=1", content=npy(latents)).status_code == 200


def test_many_clients_at_once_and_some_leave(server, client, voice):
    expected = to_pcm16(voice(TEXT * 5))[0].tobytes()
    answers = [None] * 6

    def speak(index):
        with server.client() as own:
            if index % 3 == 2:
                body = {"input": TEXT * 200, "voice": "ann", "response_format": "wav"}
                with own.stream("POST", "/v1/audio/speech", json=body) as answer:
                    next(answer.iter_raw())
                return
            answers[index] = ask(own, input=TEXT * 5, response_format="wav").content[44:]

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(len(answers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == expected for index, answer in enumerate(answers) if index % 3 != 2)
    assert ask(client).status_code == 200


def test_espeak_ng_is_absent(tmp_path, monkeypatch):
    put_on_path(tmp_path / "bin", {}, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    path = tiny_voice(tmp_path / "voice", phoneme_type="espeak", espeak={"voice": "en-us"})
    with pytest.raises(PhonemizerError, match="espeak-ng, which is not on the PATH"):
        VoiceSource(path)()
    # It went while the server was running.
    with running({"ann": lambda: hifigan_rt.load_voice(path)}) as served, served.client() as client:
        answer = ask(client, input="Hello")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert "cannot make phonemes: the server's log tells why" in answer.json()["error"]["message"]


@pytest.mark.openai
def test_openais_client(server, voice, tmp_path):
    import openai

    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    whole = client.audio.speech.create(model="tts-1", voice="ann", input=TEXT, response_format="wav")
    expected = to_pcm16(voice(TEXT))[0]
    np.testing.assert_array_equal(np.frombuffer(whole.content[44:], "<i2"), expected)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="ann", input=TEXT, response_format="pcm", speed=1.0
    ) as answer:
        pieces = list(answer.iter_bytes(4096))
    assert len(b"".join(pieces)) == 2 * len(resample(voice(TEXT), 16000, 24000))
    client.audio.speech.create(model="tts-1", voice="ann", input=TEXT).write_to_file(tmp_path / "out.mp3")
    assert soundfile.info(tmp_path / "out.mp3").samplerate == 16000
    assert [model.id for model in client.models.list()] == ["tiny", "other", "ann"]
    with pytest.raises(openai.BadRequestError, match="instructions are not followed"):
        client.audio.speech.create(model="tts-1", voice="ann", input=TEXT, instructions="Whisper.")
    with pytest.raises(openai.NotFoundError, match="'alloy' is not known"):
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
