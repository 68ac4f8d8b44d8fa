"""Models with several speakers over HTTP, WebSocket, the Open Inference Protocol and the clients: each item its own."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import pytest

from golden.tiny import tiny_mel
from golden.tiny_speakers import ENGINE, LATENT, SPEAKERS, VECTORS_ALONE, write_speaking
from hifigan_rt import AsyncClient, Client, load
from hifigan_rt.errors import ConditioningError, RequestFailed
from running_server import npy, recording, running
from websocket_client import open_stream, ready, rest, send


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speakers")
    return {
        "voice": write_speaking(folder / "voice"),
        "vectors": write_speaking(folder / "vectors", VECTORS_ALONE),
        "latent": write_speaking(folder / "latent", LATENT),
    }


@pytest.fixture(scope="module")
def server(files):
    with running({name: lambda path=path: load(path, engine=ENGINE) for name, path in files.items()}) as served:
        yield served


@pytest.fixture(scope="module")
def voice(files):
    with load(files["voice"], engine=ENGINE) as loaded:
        yield loaded


def post(client, query: str, *, mel=None, **headers: str):
    mel = tiny_mel(20) if mel is None else mel
    return client.post(f"/v1/synthesize?format=float32&{query}", content=npy(mel), headers=headers)


def floats(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4")


def header_of(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize("stream", [0, 1])
def test_a_speaker_by_name_and_number(client, server, voice, stream):
    segment_frames = server.context.settings.streamed_segment_frames if stream else None
    for speaker, number in [*SPEAKERS.items(), (1, 1)]:
        wanted = voice(tiny_mel(20), speaker=number, segment_frames=segment_frames)
        np.testing.assert_array_equal(floats(post(client, f"speaker={speaker}&stream={stream}")), wanted)


def test_a_vector_in_a_header(client, voice, files):
    vector = np.linspace(-1, 1, 6).astype(np.float32)
    given = post(client, "", **{"X-Conditioning": header_of(vector)})
    np.testing.assert_array_equal(floats(given), voice(tiny_mel(20), conditioning=vector))
    given = post(client, "model=vectors", **{"X-Conditioning": header_of(vector)})
    np.testing.assert_array_equal(
        floats(given), load(files["vectors"], engine=ENGINE)(tiny_mel(20), conditioning=vector)
    )


@pytest.mark.parametrize(
    ("query", "header", "told"),
    [
        ("", "", "no speaker is named, and model 'voice' needs one: give speaker=NUMBER from 0 to 3 or NAME, one of "),
        ("speaker=ana", "", "did you mean 'anna'?"),
        ("speaker=4", "", "speaker='4' is not known to model 'voice'"),
        ("speaker=-1", "", "speaker='-1' is not known"),
        ("speaker=", "", "speaker='' is not known"),
        ("speaker=1", header_of(np.zeros(6)), "are both given"),
        ("", header_of(np.zeros(5)), "conditioning has shape [5], and model 'voice' takes a vector [6]"),
        ("", header_of(np.full(6, np.nan)), "NaN"),
        (
            "model=vectors",
            "",
            "no speaker is named, and model 'vectors' needs one: give conditioning=VECTOR of 6 values",
        ),
        ("model=vectors&speaker=0", "", "model 'vectors' has no table of speakers"),
    ],
)
def test_what_is_wrong_is_told(client, query, header, told):
    answer = post(client, query, **({"X-Conditioning": header} if header else {}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "conditioning_invalid")
    assert told in answer.json()["error"]["message"]


@pytest.mark.parametrize("header", ["no base64!", "AAAA", "AAAAA"])
def test_a_header_that_holds_no_vector(client, header):
    answer = post(client, "", **{"X-Conditioning": header})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert "base64 of little-endian float32" in answer.json()["error"]["message"]


def test_recordings_and_latents(client, voice):
    answer = client.post("/v1/copy-synthesis?format=float32&speaker=bob", content=recording())
    mel = voice.mel(floats(client.post("/v1/copy-synthesis?format=float32&speaker=bob", content=recording())))
    assert mel.shape[0] == 10
    assert len(floats(answer)) == 4000
    answer = client.post("/v1/copy-synthesis?model=latent&speaker=bob", content=recording())
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "analysis_unavailable")
    assert "takes latents" in answer.json()["error"]["message"]
    latent = np.random.default_rng(0).standard_normal((10, 7)).astype(np.float32)
    assert len(floats(post(client, "model=latent&speaker=bob", mel=latent))) == 7 * 8


def test_models_tell_their_speakers(client):
    told = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert told["voice"]["speakers"] == SPEAKERS
    assert [told[name]["num_speakers"] for name in ("voice", "vectors", "latent")] == [4, 0, 4]
    assert [told[name]["conditioning_channels"] for name in ("voice", "vectors", "latent")] == [6, 6, 6]
    assert [told[name]["input_kind"] for name in ("voice", "vectors", "latent")] == ["mel", "mel", "latent"]


def test_a_live_stream(server, voice):
    vector = np.linspace(-1, 1, 6).astype(np.float32)
    for header in ({"speaker": "bob"}, {"speaker": 2}, {"conditioning": vector.tolist()}):
        with open_stream(server, output="float32", **header) as opened:
            ready(opened)
            send(opened, tiny_mel(40), [7])
            pcm, _ = rest(opened)
        np.testing.assert_array_equal(np.frombuffer(pcm, "<f4"), voice(tiny_mel(40), **header, segment_frames=16))


@pytest.mark.parametrize("header", [{"speaker": "nobody"}, {}, {"conditioning": [0.5]}, {"speaker": 1.5}])
def test_a_live_stream_of_nobody(server, header):
    with open_stream(server, **header) as opened:
        _, texts = rest(opened)
    wanted = "bad_request" if header.get("speaker") == 1.5 else "conditioning_invalid"
    assert [(text["type"], text["code"]) for text in texts] == [("error", wanted)]
    assert opened.protocol.close_code == 1007


def infer(client, model: str = "voice", **tensors: np.ndarray):
    kinds = {"f": "FP32", "i": "INT64"}
    inputs = [
        {"name": name, "datatype": kinds[array.dtype.kind], "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in tensors.items()
    ]
    return client.post(f"/v2/models/{model}/infer", json={"inputs": inputs})


def test_a_batch_of_different_speakers(client, voice):
    mels = np.stack([tiny_mel(12, seed) for seed in range(3)])
    rows, vectors = np.array([3, 0, 2]), np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    for given, wanted in (
        (infer(client, mel_spec=mels, speaker=rows), voice(mels, speaker=rows)),
        (infer(client, mel_spec=mels, conditioning=vectors), voice(mels, conditioning=vectors)),
    ):
        assert given.status_code == 200, given.text
        (output,) = given.json()["outputs"]
        np.testing.assert_array_equal(np.array(output["data"], np.float32).reshape(output["shape"]), wanted)
    latents = np.random.default_rng(0).standard_normal((2, 10, 9)).astype(np.float32)
    answer = infer(client, "latent", latent=latents, latent_lengths=np.array([9, 4]), speaker=rows[:2])
    assert answer.json()["outputs"][0]["shape"] == [2, 72]
    assert infer(client, "latent", mel_spec=latents, speaker=rows[:2]).status_code == 400
    for tensors in ({}, {"speaker": rows[:2]}, {"speaker": rows + 1}, {"conditioning": vectors[:, :5]}):
        answer = infer(client, mel_spec=mels, **tensors)
        assert answer.status_code == 400, answer.text
    for model, told in (("voice", "speaker=4 is not known"), ("vectors", "speaker=[4, 1, 3] is given")):
        answer = infer(client, model, mel_spec=mels, speaker=rows + 1)
        assert answer.json()["error"].startswith(f"conditioning_invalid: {told}")


def test_tensors_that_a_model_takes(client):
    def inputs(model):
        return [
            (tensor["name"], tensor["datatype"], tensor["shape"], tensor.get("optional", False))
            for tensor in client.get(f"/v2/models/{model}").json()["inputs"][2:]
        ]

    latent = client.get("/v2/models/latent").json()["inputs"]
    assert [(tensor["name"], tensor["shape"]) for tensor in latent[:2]] == [
        ("latent", [-1, 10, -1]), ("latent_lengths", [-1]),
    ]  # fmt: skip
    assert inputs("voice") == [("speaker", "INT64", [-1], True), ("conditioning", "FP32", [-1, 6], True)]
    assert inputs("vectors") == [("conditioning", "FP32", [-1, 6], False)]


def test_the_clients(server, voice):
    mel, vector = tiny_mel(20), np.linspace(-1, 1, 6)
    wanted, of_vector = voice(mel, speaker="bob"), voice(mel, conditioning=vector)
    with Client(server.url) as opened:
        np.testing.assert_array_equal(opened.synthesize(mel, speaker="bob").samples, wanted)
        np.testing.assert_array_equal(opened.synthesize(mel, conditioning=vector).samples, of_vector)
        pieces = list(opened.synthesize_streamed(mel, speaker=2))
        assert abs(np.concatenate(pieces) - wanted).max() < 1e-6
        assert len(opened.copy_synthesis(recording(), speaker=2).samples) == 4000
        with pytest.raises(RequestFailed, match="did you mean 'bob'") as caught:
            opened.synthesize(mel, speaker="bobby")
        assert caught.value.code == "conditioning_invalid"
        with pytest.raises(ConditioningError):
            opened.synthesize(mel, conditioning="bob")
        with opened.stream(conditioning=vector) as live:
            live.push(mel)
            live.finish()
            assert abs(np.concatenate(list(live)) - of_vector).max() < 1e-6

    async def asked():
        async with AsyncClient(server.url) as connection:
            answer = await connection.synthesize(mel, speaker="bob")
            async with connection.stream(speaker="bob") as live:
                await live.push(mel)
                await live.finish()
                return answer.samples, np.concatenate([piece async for piece in live])

    whole, streamed = asyncio.run(asked())
    np.testing.assert_array_equal(whole, wanted)
    assert abs(streamed - wanted).max() < 1e-6


def test_many_at_once_are_not_mixed(server, voice):
    """Whole answers and streams of all speakers side by side."""
    mels = [tiny_mel(30 + 5 * index, index) for index in range(8)]

    async def all_of_them():
        async with AsyncClient(server.url) as connection:
            calls = [connection.synthesize(mel, speaker=index % 4) for index, mel in enumerate(mels)]
            return [answer.samples for answer in await asyncio.gather(*calls)]

    for index, samples in enumerate(asyncio.run(all_of_them())):
        np.testing.assert_array_equal(samples, voice(mels[index], speaker=index % 4))


def test_a_name_that_json_cannot_hold_is_refused(client):
    answer = client.post("/v1/synthesize?speaker=%00", content=npy(tiny_mel(3)))
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"]["code"] == "conditioning_invalid"
