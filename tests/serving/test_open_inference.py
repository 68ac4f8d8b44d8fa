"""The Open Inference Protocol, spoken by Triton's own client and by hand."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest

from golden.tiny import tiny_mel
from running_server import running

BANDS, HOP = 10, 8


def batch_of(*lengths: int) -> np.ndarray:
    """Random mels of these lengths, and random frames after each end, which nobody may hear."""
    return np.stack([tiny_mel(max(lengths), seed) for seed in range(len(lengths))])


def check(wavs: np.ndarray, vocoder, mels: np.ndarray, lengths: list[int]) -> None:
    """Each item is the vocoder's, bit for bit, and zeros follow it."""
    assert wavs.dtype == np.float32
    assert wavs.shape == (len(mels), mels.shape[2] * HOP)
    for wav, mel, frames in zip(wavs, mels, lengths, strict=True):
        np.testing.assert_array_equal(wav[: frames * HOP], vocoder(mel[:, :frames]))
        assert not wav[frames * HOP :].any()


def request_of(mels: np.ndarray, **more: object) -> dict[str, object]:
    tensor = {"name": "mel_spec", "datatype": "FP32", "shape": list(mels.shape), "data": mels.astype(float).tolist()}
    return {"inputs": [tensor], **more}


def raw_request(mels: np.ndarray, **changes: object) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "mel_spec", "datatype": "FP32", "shape": list(mels.shape)}
    text = json.dumps(
        {
            "inputs": [tensor | {"parameters": {"binary_data_size": mels.nbytes}} | changes],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    return text + mels.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


def wavs_of(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    size = answer.headers.get("inference-header-content-length")
    header = json.loads(answer.content[: int(size)] if size else answer.content)
    (output,) = header["outputs"]
    if not size:
        return np.array(output["data"], np.float32).reshape(output["shape"])
    raw = answer.content[int(size) :]
    assert output["parameters"]["binary_data_size"] == len(raw)
    return np.frombuffer(raw, "<f4").reshape(output["shape"])


class TestTritonClient:
    pytestmark = pytest.mark.triton

    @pytest.fixture
    def triton(self, server):
        from tritonclient.http import InferenceServerClient

        with InferenceServerClient(server.url.removeprefix("http://")) as opened:
            yield opened

    def infer(self, triton, mels, lengths=None, *, binary=True, outputs=None, model="tiny", **options):
        from tritonclient.http import InferInput

        arrays = {"mel_spec": mels} | ({} if lengths is None else {"mel_lengths": np.array(lengths, np.int64)})
        inputs = []
        for name, array in arrays.items():
            inputs.append(InferInput(name, array.shape, "FP32" if name == "mel_spec" else "INT64"))
            inputs[-1].set_data_from_numpy(array, binary_data=binary)
        return triton.infer(model, inputs, outputs=outputs, **options)

    def test_health_and_metadata(self, triton):
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("tiny")
        assert triton.is_model_ready("tiny", "1")
        assert not triton.is_model_ready("tiny", "2")
        assert not triton.is_model_ready("absent")
        assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = triton.get_model_metadata("other", "1")
        assert metadata["versions"] == ["1"]
        assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"]] == [
            ("mel_spec", "FP32", [-1, BANDS, -1]),
            ("mel_lengths", "INT64", [-1]),
        ]
        assert metadata["outputs"] == [{"name": "wavs", "datatype": "FP32", "shape": [-1, -1]}]
        index = triton.get_model_repository_index()
        assert [(model["name"], model["version"], model["state"]) for model in index] == [
            ("tiny", "1", "READY"),
            ("other", "1", "READY"),
        ]

    @pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("asked", ["all", "raw", "json"])
    def test_every_way_gives_the_same_bits(self, triton, vocoder, packed, binary, asked):
        from tritonclient.http import InferRequestedOutput

        mels, lengths = batch_of(40, 17, 1), [40, 17, 1]
        outputs = None if asked == "all" else [InferRequestedOutput("wavs", binary_data=asked == "raw")]
        result = self.infer(
            triton,
            mels,
            lengths,
            binary=binary,
            outputs=outputs,
            request_id="a request",
            request_compression_algorithm=packed,
            response_compression_algorithm=packed,
        )
        check(result.as_numpy("wavs"), vocoder, mels, lengths)
        response = result.get_response()
        assert (response["model_name"], response["model_version"], response["id"]) == ("tiny", "1", "a request")

    def test_without_lengths_all_frames_count(self, triton, vocoder):
        mels = batch_of(300, 300)
        check(self.infer(triton, mels).as_numpy("wavs"), vocoder, mels, [300, 300])

    def test_requests_one_after_the_other_and_in_between(self, triton, vocoder):
        from tritonclient.http import InferInput

        pending = []
        for frames in (30, 3, 70):
            mels = batch_of(frames)
            tensor = InferInput("mel_spec", mels.shape, "FP32")
            tensor.set_data_from_numpy(mels)
            pending.append((mels, triton.async_infer("tiny", [tensor])))
        for mels, answer in pending:
            check(answer.get_result().as_numpy("wavs"), vocoder, mels, [mels.shape[2]])

    @pytest.mark.parametrize(
        ("mels", "lengths", "model", "status", "reason"),
        [
            (batch_of(9), [10], "tiny", "400", "bad_request: mel_lengths holds 10 for item 0"),
            (batch_of(9), [0], "tiny", "400", "bad_request: mel_lengths holds 0"),
            (batch_of(9), [-(1 << 63)], "tiny", "400", "bad_request: mel_lengths holds -9223372036854775808"),
            (batch_of(9), [9, 9], "tiny", "400", "bad_request: mel_lengths has 2 values"),
            (np.full((1, BANDS, 4), np.nan, np.float32), None, "tiny", "400", "mel_invalid: mel_spec, item 0"),
            (np.zeros((1, 80, 4), np.float32), None, "tiny", "400", "mel_invalid: mel_spec, item 0"),
            (np.zeros((BANDS, 4), np.float32), None, "tiny", "400", r"bad_request: .*\[B, M, T\]"),
            (batch_of(9).byteswap(), None, "tiny", "400", "mel_invalid: .*little-endian"),
            (np.zeros((65, BANDS, 1), np.float32), None, "tiny", "400", "bad_request: .*at most 64"),
            (batch_of(9), None, "absent", "404", "model_not_found: "),
            (batch_of(9), None, "../../etc/passwd", "404", "not_found: "),
        ],
    )
    def test_errors_are_visible(self, triton, mels, lengths, model, status, reason):
        from tritonclient.utils import InferenceServerException

        with pytest.raises(InferenceServerException, match=reason) as caught:
            self.infer(triton, mels, lengths, model=model)
        assert caught.value.status() == status

    def test_what_is_not_offered_says_so(self, triton):
        from tritonclient.utils import InferenceServerException

        with pytest.raises(InferenceServerException, match="not_found"):
            triton.get_model_config("tiny")
        with pytest.raises(InferenceServerException, match="not_found"):
            triton.load_model("tiny")


def test_frames_after_an_end_may_be_anything(client, vocoder):
    mels = batch_of(20, 5)
    mels[1, :, 5:] = np.nan
    text = json.dumps(
        {
            "inputs": [
                {"name": "mel_lengths", "datatype": "INT64", "shape": [2], "data": [20, 5]},
                {
                    "name": "mel_spec",
                    "datatype": "FP32",
                    "shape": list(mels.shape),
                    "parameters": {"binary_data_size": mels.nbytes},
                },
            ],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = client.post("/v2/models/tiny/infer", content=text + mels.tobytes(), headers=headers)
    check(wavs_of(answer), vocoder, mels, [20, 5])


def test_json_by_hand(client, vocoder):
    mels = batch_of(12)
    answer = client.post("/v2/models/tiny/versions/1/infer", json=request_of(mels, id="7"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["id"] == "7"
    check(wavs_of(answer), vocoder, mels, [12])


def test_batches_beyond_the_items_limit_are_refused(sources):
    with running(sources, max_batch_items=2) as server, server.client() as client:
        assert client.post("/v2/models/tiny/infer", json=request_of(batch_of(3, 3))).status_code == 200
        refused = client.post("/v2/models/tiny/infer", json=request_of(batch_of(3, 3, 3)))
    assert refused.status_code == 400
    assert "at most 2" in refused.json()["error"]


def test_limits_of_length_and_of_json(sources, vocoder):
    with running(sources, max_mel_seconds=1.0, max_json_bytes=100_000) as server, server.client() as client:
        url = "/v2/models/tiny/infer"
        longest = batch_of(1000)
        body, headers = raw_request(longest)
        check(wavs_of(client.post(url, content=body, headers=headers)), vocoder, longest, [1000])
        for content, more in (raw_request(batch_of(1001)), (json.dumps(request_of(batch_of(900))).encode(), {})):
            refused = client.post(url, content=content, headers=more)
            assert refused.status_code == 413, refused.text
            assert refused.json()["error"].startswith("payload_too_large: ")


def test_json_answers_are_bounded(sources):
    with running(sources, max_json_bytes=50_000) as server, server.client() as client:
        mels = batch_of(300)
        body, headers = raw_request(mels)
        assert client.post("/v2/models/tiny/infer", content=body, headers=headers).status_code == 200
        text = body[: int(headers["Inference-Header-Content-Length"])].replace(b"true", b"false")
        headers = {"Inference-Header-Content-Length": str(len(text))}
        refused = client.post("/v2/models/tiny/infer", content=text + mels.tobytes(), headers=headers)
    assert refused.status_code == 413
    assert "2400 samples" in refused.json()["error"]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_bombs_are_refused(sources, pack):
    encoding = "gzip" if pack is gzip.compress else "deflate"
    with running(sources, max_body_bytes=1 << 20) as server, server.client() as client:
        bomb = pack(bytes(200 << 20))
        refused = client.post("/v2/models/tiny/infer", content=bomb, headers={"Content-Encoding": encoding})
        assert refused.status_code == 413
        assert refused.json()["error"].startswith("payload_too_large: ")
        mels = batch_of(5)
        body, headers = raw_request(mels)
        answer = client.post(
            "/v2/models/tiny/infer", content=pack(body), headers=headers | {"Content-Encoding": encoding}
        )
        assert answer.status_code == 200


def test_a_model_is_loaded_by_the_first_request(tiny_file):
    from hifigan_rt import load
    from hifigan_rt.errors import ModelNotFound

    calls = []

    def broken():
        raise ModelNotFound("/a/secret/path is not there")

    def late():
        calls.append(1)
        return load(tiny_file)

    with running({"late": late, "broken": broken}, preload=()) as server, server.client() as client:
        # Who waits for the server to be ready would otherwise never send the request that loads the model.
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/readyz").json() == {"status": "ready", "models": {"late": "unloaded", "broken": "unloaded"}}
        assert client.get("/v2/models/late/ready").status_code == 503
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []
        assert client.post("/v2/models/late/infer", json=request_of(batch_of(2))).status_code == 200
        assert client.get("/v2/models/late/ready").json() == {"name": "late", "ready": True}
        assert [model["name"] for model in client.post("/v2/repository/index", json={"ready": True}).json()] == ["late"]
        for answer in (client.get("/v2/models/broken"), client.post("/v2/models/broken/infer", json={})):
            assert answer.status_code == 503
            assert answer.json()["error"].startswith("model_unavailable: ")
            assert "secret" not in answer.text
        assert client.get("/v2/models/broken/ready").status_code == 503
        assert client.get("/v2/health/ready").json() == {"ready": False}
    assert calls == [1]


@pytest.mark.parametrize("body", [b"[", b"7", b'{"ready": 1}', b"[" * 4000, b" " * 5000])
def test_an_index_request_that_is_none(client, body):
    refused = client.post("/v2/repository/index", content=body)
    assert refused.status_code == (413 if len(body) > 4096 else 400)
    assert set(refused.json()) == {"error"}
