"""Every wrong request gets its exact status and code, in JSON, and nothing of it reaches an engine."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import json
import re
import struct
import tracemalloc
import zlib
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile

from golden.tiny import tiny_mel, write_tiny
from hifigan_rt import load
from hifigan_rt.errors import EngineError
from running_server import npy, running, wait_for

SYNTHESIZE = "/v1/synthesize"
JSON = {"Content-Type": "application/json"}
MEL = tiny_mel(20)
BARE = MEL.astype("<f4").tobytes()


def npy_header(shape: object, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def with_value(value: float) -> bytes:
    mel = MEL.copy()
    mel[3, 7] = value
    return npy(mel)


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    return buffer.getvalue()


def rows(value: object) -> bytes:
    return json.dumps({"mel": value}).encode()


BAD_MELS = {
    "nothing": (b"", {}, 400, "bad_request"),
    "noise": (b"\x00\xff" * 40, {}, 400, "bad_request"),
    "NaN": (with_value(np.nan), {}, 400, "mel_invalid"),
    "infinity": (with_value(-np.inf), {}, 400, "mel_invalid"),
    "beyond float32": (npy(np.full((10, 4), 1e300)), {}, 400, "mel_invalid"),
    "finite, and beyond any convention": (with_value(3e38), {}, 400, "mel_invalid"),
    "JSON beyond any convention": (rows([[-1e20] * 20] * 10), JSON, 400, "mel_invalid"),
    "time-major": (npy(MEL.T.copy()), {}, 400, "mel_invalid"),
    "other bands": (npy(MEL[:9]), {}, 400, "mel_invalid"),
    "one row": (npy(MEL[0]), {}, 400, "mel_invalid"),
    "a scalar": (npy(np.float32(1)), {}, 400, "mel_invalid"),
    "two mels": (npy(np.stack([MEL, MEL])), {}, 400, "mel_invalid"),
    "four axes": (npy(np.stack([MEL, MEL])[None]), {}, 400, "mel_invalid"),
    "no frames": (npy(MEL[:, :0]), {}, 400, "mel_invalid"),
    "integers": (npy(MEL.astype(np.int16)), {}, 400, "mel_invalid"),
    "complex": (npy(MEL.astype(np.complex64)), {}, 400, "mel_invalid"),
    "text": (npy(MEL.astype("U8")), {}, 400, "mel_invalid"),
    "objects": (pickled(), {}, 400, "mel_invalid"),
    "structured": (npy(np.zeros(3, "f4,f4")), {}, 400, "mel_invalid"),
    "npy cut short": (npy(MEL)[:-1], {}, 400, "mel_invalid"),
    "npy with more after it": (npy(MEL) + b"\0", {}, 400, "mel_invalid"),
    "npy of a header alone": (npy(MEL)[:40], {}, 400, "mel_invalid"),
    "npy of its magic alone": (b"\x93NUMPY", {}, 400, "mel_invalid"),
    "npy that claims terabytes": (npy_header("(10, 1000000000000)"), {}, 400, "mel_invalid"),
    "npy of a negative shape": (npy_header("(10, -20)") + bytes(800), {}, 400, "mel_invalid"),
    "npy with code for a shape": (npy_header("(10, __import__('os').getpid())"), {}, 400, "mel_invalid"),
    "npy of 9,000 minus signs": (npy_header("-" * 9000), {}, 400, "mel_invalid"),
    "npy of more digits than Python writes": (npy_header(f"(0x{'f' * 8000}, 20)"), {}, 400, "mel_invalid"),
    "npy with a huge header": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), {}, 400, "mel_invalid"),
    "npy of type, not npy": (b"RIFF" + bytes(40), {"Content-Type": "application/x-npy"}, 400, "mel_invalid"),
    "shape without numbers": (BARE, {"X-Mel-Shape": "ten,20"}, 400, "bad_request"),
    "shape of three": (BARE, {"X-Mel-Shape": "1,10,20"}, 400, "bad_request"),
    "shape of negatives": (BARE, {"X-Mel-Shape": "-10,-20"}, 400, "bad_request"),
    "shape of too many digits": (BARE, {"X-Mel-Shape": "9999999999,20"}, 400, "bad_request"),
    "shape beyond the body": (BARE, {"X-Mel-Shape": "10,21"}, 400, "mel_invalid"),
    "shape below the body": (BARE, {"X-Mel-Shape": "10,19"}, 400, "mel_invalid"),
    "shape of other bands": (BARE, {"X-Mel-Shape": "20,10"}, 400, "mel_invalid"),
    "shape of nothing": (b"", {"X-Mel-Shape": "10,0"}, 400, "mel_invalid"),
    "big-endian floats": (MEL.astype(">f4").tobytes(), {"X-Mel-Shape": "10,20"}, 400, "mel_invalid"),
    "JSON cut short": (rows(MEL.tolist())[:-2], JSON, 400, "bad_request"),
    "JSON not UTF-8": (b'{"mel": "\xff"}', JSON, 400, "bad_request"),
    "JSON of a list": (b"[[1.0]]", JSON, 400, "bad_request"),
    "JSON of something else": (b'{"audio": [[1.0]]}', JSON, 400, "bad_request"),
    "JSON with more": (b'{"mel": [[1.0]], "model": "tiny"}', JSON, 400, "bad_request"),
    "JSON with NaN": (b'{"mel": [[NaN]]}', JSON, 400, "bad_request"),
    "JSON of infinities": (rows([[1e400] * 3] * 10), JSON, 400, "bad_request"),
    "JSON of huge numbers": (b'{"mel": [[' + b"1" * 400 + b"]]}", JSON, 400, "mel_invalid"),
    "JSON of more digits than Python reads": (b'{"mel": [[' + b"1" * 5000 + b"]]}", JSON, 400, "bad_request"),
    "JSON with an overflow": (b'{"mel": ' + json.dumps([["e"]] * 10).replace('"e"', "1e999").encode() + b"}", JSON, 400,
                              "mel_invalid"),
    "JSON nested without end": (b"[" * 100_000, JSON, 400, "bad_request"),
    "JSON of uneven rows": (rows([[-5.0]] * 9 + [[-5.0, -5.0]]), JSON, 400, "mel_invalid"),
    "JSON of strings": (rows([["-5.0"]] * 10), JSON, 400, "mel_invalid"),
    "JSON of booleans": (rows([[True]] * 10), JSON, 400, "mel_invalid"),
    "JSON of nulls": (rows([[None]] * 10), JSON, 400, "mel_invalid"),
    "JSON of two mels": (rows([MEL.tolist()] * 2), JSON, 400, "mel_invalid"),
    "JSON of too many lists": (b'{"mel":' + b"[" * 40 + b"1" + b"]" * 40 + b"}", JSON, 400, "mel_invalid"),
    "JSON of numbers": (rows([1.0] * 10), JSON, 400, "mel_invalid"),
    "JSON of nothing": (rows([]), JSON, 400, "mel_invalid"),
    "JSON of empty rows": (rows([[]] * 10), JSON, 400, "mel_invalid"),
    "a form": (b"mel=1", {"Content-Type": "application/x-www-form-urlencoded"}, 400, "bad_request"),
    "a page": (b"<p>", {"Content-Type": "text/html"}, 415, "unsupported_media"),
    "a recording": (b"RIFF", {"Content-Type": "audio/wav"}, 415, "unsupported_media"),
    "brotli": (npy(MEL), {"Content-Encoding": "br"}, 415, "unsupported_media"),
    "two encodings": (npy(MEL), {"Content-Encoding": "gzip, gzip"}, 415, "unsupported_media"),
    "gzip that is none": (npy(MEL), {"Content-Encoding": "gzip"}, 400, "bad_request"),
    "gzip cut short": (gzip.compress(npy(MEL))[:-9], {"Content-Encoding": "gzip"}, 400, "bad_request"),
    "gzip with a wrong sum": (gzip.compress(npy(MEL))[:-8] + bytes(8), {"Content-Encoding": "gzip"}, 400,
                              "bad_request"),
    "gzip with more after it": (gzip.compress(npy(MEL)) + b"more", {"Content-Encoding": "gzip"}, 400, "bad_request"),
    "deflate that is none": (npy(MEL), {"Content-Encoding": "deflate"}, 400, "bad_request"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MELS)
def test_bad_mels(client, name):
    content, headers, status, code = BAD_MELS[name]
    answer = client.post(SYNTHESIZE, content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert len(error["message"]) > 15
    assert len(error["message"]) < 500
    assert "Traceback" not in error["message"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("model=nobody", 404, "model_not_found"),
        ("model=../../etc/passwd", 404, "model_not_found"),
        ("model=%2Fetc%2Fpasswd", 404, "model_not_found"),
        ("model=tiny%00", 404, "model_not_found"),
        ("model=" + "m" * 5000, 404, "model_not_found"),
        ("model=", 404, "model_not_found"),
        ("model=tiny&model=other", 400, "bad_request"),
        ("format=mp3", 400, "bad_request"),
        ("format=", 400, "bad_request"),
        ("format=" + "f" * 5000, 400, "bad_request"),
        ("stream=yes", 400, "bad_request"),
        ("speaker=1", 400, "bad_request"),
    ],
)
def test_bad_queries(client, query, status, code):
    answer = client.post(f"{SYNTHESIZE}?{query}", content=npy(MEL))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", SYNTHESIZE, 405, "method_not_allowed"),
        ("HEAD", SYNTHESIZE, 405, None),
        ("PUT", SYNTHESIZE, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/tiny", 405, "method_not_allowed"),
        ("OPTIONS", SYNTHESIZE, 405, "method_not_allowed"),
        ("BREW", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("GET", "/v1/models/..%2F..%2Fetc", 404, "not_found"),
        ("POST", "/v1/models/nobody/reload", 404, "model_not_found"),
        ("GET", "/healthz/", 404, "not_found"),
        ("GET", "//etc/passwd", 404, "not_found"),
    ],
)
def test_bad_paths_and_methods(client, method, path, status, code):
    answer = client.request(method, path)
    assert answer.status_code == status
    if code is not None:
        assert answer.json()["error"]["code"] == code
    assert ("allow" in answer.headers) == (status == 405)


def test_heads_of_what_can_be_got(client):
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/openapi.json"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_body_must_say_how_long_it_is(server):
    with server.connect() as connection:
        connection.sendall(b"POST /v1/synthesize HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, json.load(answer)["error"]["code"]) == (411, "length_required")


def test_bodies_beyond_the_limits(sources):
    with running(sources, max_body_bytes=4000, max_json_bytes=1000) as server, server.client() as client:
        json_body = rows(np.round(MEL, 2).tolist())
        pieces = (bytes(1000) for _ in range(6))
        bomb = gzip.compress(npy(np.zeros((10, 100_000), np.float32)))
        assert len(bomb) < 4000
        for content, headers in (
            (bytes(4001), {}),
            (pieces, {}),
            (json_body, JSON),
            (bomb, {"Content-Encoding": "gzip"}),
            (zlib.compress(bytes(1_000_000)), {"Content-Encoding": "deflate"}),
        ):
            answer = client.post(SYNTHESIZE, content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert client.post(SYNTHESIZE, content=npy(MEL)).status_code == 200


def test_a_bomb_takes_no_more_memory_than_its_limit(server):
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    bomb = b"".join([packer.compress(bytes(1 << 24)) for _ in range(16)] + [packer.flush()])
    with server.client() as client:
        tracemalloc.start()
        try:
            answer = client.post(SYNTHESIZE, content=bomb, headers={"Content-Encoding": "gzip"})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.status_code == 413
    assert peak < 3 * (64 << 20) < 1 << 28


def test_mels_and_recordings_beyond_the_longest(sources):
    with running(sources, max_mel_seconds=0.5) as server, server.client() as client:
        answer = client.post(SYNTHESIZE, content=npy(tiny_mel(501)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert client.post(SYNTHESIZE, content=npy(tiny_mel(500))).status_code == 200


def test_what_does_not_fit_into_the_budget_waits_and_is_refused(sources):
    with running(sources, memory_budget_bytes=64 << 20, max_queue_wait_seconds=0.1) as small, small.client() as client:
        small.context.memory.held_bytes += 64 << 20
        answer = client.post(SYNTHESIZE, content=npy(MEL))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
        assert answer.json()["error"]["message"].startswith("requests hold 67.1 MB of the server's 67.1 MB")
        assert answer.headers["retry-after"] == "1"
        small.context.memory.held_bytes -= 64 << 20
        assert client.post(SYNTHESIZE, content=npy(MEL)).status_code == 200
        wait_for(lambda: small.context.memory.held_bytes == 0)  # a little after the answer is here


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (SYNTHESIZE, {}),
        (SYNTHESIZE, {"X-Mel-Shape": "10,20"}),
        (SYNTHESIZE, JSON),
        ("/v1/copy-synthesis", {}),
        ("/v2/models/slow/infer", {}),
    ],
)
def test_a_full_server_refuses_without_reading_the_body(slow, path, headers):
    engine, sources = slow
    with running(sources, max_queued_requests=1) as server:
        with engine.held():
            thread, answers = server.begin(SYNTHESIZE, npy(MEL))
            wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
            with server.connect() as connection:
                lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000000"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                connection.sendall("\r\n".join([*lines, "", "only the beginning"]).encode())
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) >= 1
                assert b"queue_full" in answer.read()
            assert server.metric("hifigan_rejected_requests_total", reason="queue_full") == 1
        thread.join()
        assert answers[0].status_code == 200


def test_what_is_too_long_to_wait_for_is_refused_by_its_length(slow):
    engine, sources = slow
    with running(sources, max_queued_audio_seconds=6.0) as server, server.client() as client:
        with engine.held():
            asked = [server.begin(SYNTHESIZE, npy(tiny_mel(5000)))]  # 5 s
            wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
            body = npy(tiny_mel(4000).astype(np.float64))
            refused = client.post(SYNTHESIZE, content=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
            asked.append(server.begin(SYNTHESIZE, npy(tiny_mel(300))))
            wait_for(lambda: server.metric("hifigan_queued_requests") == 2)
        for thread, answers in asked:
            thread.join()
            assert answers[0].status_code == 200


def recording(rate: int = 8000, channels: int = 1, seconds: float = 0.5) -> bytes:
    shape = (int(rate * seconds), channels) if channels > 1 else int(rate * seconds)
    buffer = io.BytesIO()
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    soundfile.write(buffer, audio, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def test_a_file_in_a_field_of_a_form(client):
    for path, content in ((SYNTHESIZE, npy(MEL)), ("/v1/copy-synthesis", recording())):
        answer = client.post(path, content=urlencode({"x": content}), headers=CURL)
        assert answer.status_code == 400
        assert "--data-urlencode send a form" in answer.json()["error"]["message"]


def test_a_mel_and_a_recording_at_each_others_place(client):
    told = client.post(SYNTHESIZE, content=recording()).json()["error"]["message"]
    assert told == "the body is a WAV recording, not a mel: /v1/copy-synthesis takes recordings"
    told = client.post("/v1/copy-synthesis", content=npy(MEL)).json()["error"]["message"]
    assert told == "the body is a NumPy array, not a recording: /v1/synthesize takes mels"


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
        assert "curl -d strips line ends and zeros" in answer.json()["error"]["message"]
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


def test_a_full_queue_is_told_at_once(slow):
    engine, sources = slow
    with running(sources, max_queued_requests=1) as server, server.client() as client, engine.held():
        thread, _ = server.begin(SYNTHESIZE, npy(MEL))
        wait_for(lambda: server.metric("hifigan_queued_requests") == 1)
        for streamed in (0, 1):
            answer = client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(MEL))
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
        assert server.metric("hifigan_rejected_requests_total", reason="queue_full") == 2
        engine.release()
        thread.join()


def test_a_long_streamed_answer_shuts_nobody_out(slow):
    engine, sources = slow
    engine.seconds_per_block = 0.01
    with running(sources, max_queue_wait_seconds=1.0) as server, server.client() as client:
        thread, answers = server.begin(f"{SYNTHESIZE}?stream=1", npy(tiny_mel(4000)))
        wait_for(lambda: engine.frames >= 64)
        for streamed in (0, 1):
            assert client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(tiny_mel(344))).status_code == 200
            assert not answers
        thread.join()
        assert answers[0].status_code == 200


def test_more_requests_than_may_be_are_refused(slow):
    engine, sources = slow
    with running(sources, max_concurrent_requests=1) as server, server.client() as client, engine.held():
        thread, _ = server.begin(SYNTHESIZE, npy(MEL))
        wait_for(lambda: server.context.active == 1)
        answer = client.post(SYNTHESIZE, content=npy(MEL))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        engine.release()
        thread.join()


def test_a_lone_client_leaves_a_few_connections_to_others(sources):
    def status(address: str, forwarded: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, 60, source_address=(address, 0))
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models", headers={"X-Forwarded-For": forwarded})
            return connection.getresponse().status

    with running(sources, max_concurrent_requests=16, trusted_proxies=("127.0.0.3",)) as server:
        server.context.active_of["127.0.0.2"] = 15
        assert status("127.0.0.2", "198.51.100.7") == 429
        assert status("127.0.0.1", "127.0.0.2") == 200
        assert status("127.0.0.3", "198.51.100.7") == 200
        assert status("127.0.0.3", "127.0.0.2") == 429
        del server.context.active_of["127.0.0.2"]
        wait_for(lambda: server.context.active == 0)


def test_a_request_that_takes_too_long_is_given_up(slow):
    engine, sources = slow
    engine.seconds_per_block = 0.1
    with running(sources, request_timeout_seconds=0.3) as server, server.client() as client:
        answer = client.post(SYNTHESIZE, content=npy(tiny_mel(256 * 20)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_an_engine_that_fails_says_nothing_of_the_inside(slow):
    engine, sources = slow
    with running(sources) as server, server.client() as client:
        for failure, code in ((EngineError, "engine_failed"), (RuntimeError, "internal"), (MemoryError, "internal")):
            engine.failure = failure("secret of /home/me")
            for streamed in (0, 1):
                answer = client.post(f"{SYNTHESIZE}?stream={streamed}", content=npy(MEL))
                assert (answer.status_code, answer.json()["error"]["code"]) == (500, code)
                assert "secret" not in answer.text
        engine.failure = None
        assert client.post(SYNTHESIZE, content=npy(MEL)).status_code == 200
