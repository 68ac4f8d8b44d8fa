"""Every wrong request for synthesis gets its exact status and code, in JSON, and nothing of it reaches an engine."""

import gzip
import http.client
import io
import json
import struct
import zlib

import numpy as np
import pytest

from golden.tiny import tiny_mel
from memory_limits import peak_within
from running_server import npy, running

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
    "deflate with more after it": (zlib.compress(npy(MEL)) + b"more", {"Content-Encoding": "deflate"}, 400,
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
        ("speaker=1", 400, "conditioning_invalid"),
        ("who=1", 400, "bad_request"),
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


@pytest.mark.parametrize(
    ("content", "told"), [(b'{"mel": [[1.0]], "speaker": 1}', "'mel', 'speaker'"), (b"[7]", "[7]")]
)
def test_json_with_more_or_less_is_told_what_it_has(client, content, told):
    message = client.post(SYNTHESIZE, content=content, headers=JSON).json()["error"]["message"]
    assert message.endswith(f"options stand in the query: {told} came")


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
    with server.client() as client, peak_within(3 * (64 << 20)):
        answer = client.post(SYNTHESIZE, content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_mels_and_recordings_beyond_the_longest(sources):
    with running(sources, max_mel_seconds=0.5) as server, server.client() as client:
        answer = client.post(SYNTHESIZE, content=npy(tiny_mel(501)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert "0.501 s of audio: at most 0.5 s" in answer.json()["error"]["message"]
        assert client.post(SYNTHESIZE, content=npy(tiny_mel(500))).status_code == 200
