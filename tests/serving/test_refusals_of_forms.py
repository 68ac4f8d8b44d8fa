"""What browsers' forms and curl's options make of a mel or a recording is refused with the way out."""

import gzip
import io
import json
import re
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile

from golden.tiny import tiny_mel
from running_server import npy, recording

SYNTHESIZE = "/v1/synthesize"
JSON = {"Content-Type": "application/json"}
MEL = tiny_mel(20)


def test_a_file_in_a_field_of_a_form(client):
    for path, content in ((SYNTHESIZE, npy(MEL)), ("/v1/copy-synthesis", recording())):
        answer = client.post(path, content=urlencode({"x": content}), headers=CURL)
        assert answer.status_code == 400
        assert "--data-urlencode send a form" in answer.json()["error"]["message"]


def by_curl_d(content: bytes) -> bytes:
    """What is left of a file that `curl -d @FILE` sends: each line up to its first zero."""
    return b"".join(line.partition(b"\0")[0] for line in re.split(rb"[\r\n]", content))


def in_a_form(content: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="file"; filename="a.npy"\r\nContent-Type: application/octet-stream'
    return (
        b"--------------------------41\r\n" + head + b"\r\n\r\n" + content + b"\r\n--------------------------41--\r\n"
    )


def tensors(content: bytes) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "mel_spec", "datatype": "FP32", "shape": [1, 10, 20], "parameters": {"binary_data_size": 800}}
    text = json.dumps({"inputs": [tensor]}).encode()
    return text + content, {"Inference-Header-Content-Length": str(len(text))}


FORM = {"Content-Type": "multipart/form-data; boundary=------------------------41"}
CURL = {"Content-Type": "application/x-www-form-urlencoded"}
ENDPOINTS = [SYNTHESIZE, "/v1/copy-synthesis", "/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_is_taken_nowhere(client, path, chunked):
    content = in_a_form(npy(MEL))
    answer = client.post(path, content=iter([content]) if chunked else content, headers=FORM)
    told = answer.json()["error"]
    assert answer.status_code == 415
    text = told.removeprefix("unsupported_media: ") if isinstance(told, str) else told["message"]
    assert text.startswith("Content-Type 'multipart/form-data' is n")
    assert text.endswith("curl -F and --data-urlencode send a form: send the file itself, with --data-binary @FILE")


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "application/x-npy; charset=utf-8"])
def test_a_form_of_another_type(client, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    for path in (SYNTHESIZE, "/v1/copy-synthesis"):
        answer = client.post(path, content=in_a_form(npy(MEL)), headers=headers)
        assert answer.status_code == 400
        assert "curl -F and --data-urlencode send a form" in answer.json()["error"]["message"]


KINDS = [
    CURL,
    {"Content-Type": CURL["Content-Type"] + "; charset=utf-8"},
    {},
    {"Content-Type": "application/octet-stream"},
]
STRIPPED = {
    "npy": (SYNTHESIZE, npy(MEL), {}),
    "bare": (
        SYNTHESIZE,
        np.random.default_rng(0).uniform(-9, 0, (10, 20)).astype("<f4").tobytes(),
        {"X-Mel-Shape": "10,20"},
    ),
    "packed": (SYNTHESIZE, gzip.compress(npy(MEL)), {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", STRIPPED)
@pytest.mark.parametrize("kind", KINDS)
def test_what_curl_d_makes_of_a_mel(client, name, kind):
    path, content, headers = STRIPPED[name]
    answer = client.post(path, content=by_curl_d(content), headers=kind | headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(
        "; curl -d strips line ends and zeros: send the file with --data-binary @FILE"
    )
    assert client.post(path, content=content, headers=kind | headers).status_code == 200


@pytest.mark.parametrize(
    "container", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
@pytest.mark.parametrize("kind", [CURL, {"Content-Type": "audio/wav"}, {"Content-Type": "text/plain"}])
def test_what_curl_d_makes_of_a_recording(client, container, kind):
    """An MP3 could still be decoded, to something else."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000, container[1], format=container[0])
    for content in (by_curl_d(buffer.getvalue()), re.sub(rb"[\0\r\n]", b"", buffer.getvalue())):
        answer = client.post("/v1/copy-synthesis", content=content, headers=kind)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].count("curl -d strips line ends and zeros") == 1
    assert client.post("/v1/copy-synthesis", content=buffer.getvalue(), headers=kind).status_code == 200


def test_what_curl_d_makes_of_tensors(client):
    values = np.random.default_rng(0).uniform(-9, 0, (10, 20)).astype("<f4").tobytes()
    content, headers = tensors(by_curl_d(values))
    answer = client.post("/v2/models/tiny/infer", content=content, headers=CURL | headers)
    assert answer.status_code == 400
    assert "curl -d strips" in answer.json()["error"]
    content, headers = tensors(values)
    assert client.post("/v2/models/tiny/infer", content=content, headers=CURL | headers).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind"), [('{"mel": "caf\xe9"}'.encode("latin-1"), JSON), (b"mel=1", CURL), (b"hello", {})]
)
def test_of_texts_curl_is_not_blamed(client, content, kind):
    for path in (SYNTHESIZE, "/v2/models/tiny/infer"):
        assert "curl" not in client.post(path, content=content, headers=kind).text
