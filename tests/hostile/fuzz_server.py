"""Sends hostile requests and streams to a server of a tiny model for a given time: no client's value may give a 5xx.

    python tests/hostile/fuzz_server.py --seconds 60 [--seed 1]

503 with Retry-After, 501 and 505 are right answers; so is a connection that is closed without one. A WebSocket must end
with an error of the client's, never with the code 1011. No part of the server logs an error, a trace or a long line:
strangers must not wake who is on call. What failed is printed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import logging
import random
import re
import struct
import sys
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import soundfile

from hifigan_rt.tools.serving.logs import JsonFormatter, configure_logs
from running_server import Running, npy, running
from serving_models import MEL, tiny_vocoder

_BANDS, _FRAMES = MEL.num_mels, 12
_ANSWER_SECONDS = 2.0
_QUIET_SECONDS = 0.3
_TOGETHER = 16
_LONGEST_LINE = 2000
"""Characters of a line of the log, whatever the client."""

_PATHS = (
    "/v1/synthesize", "/v1/copy-synthesis", "/v1/models", "/v1/models/tiny", "/v1/models/tiny/reload", "/v1/stream",
    "/v2", "/v2/models/tiny", "/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer", "/v2/repository/index",
    "/metrics", "/healthz", "/openapi.json", "/",
)  # fmt: skip
_TAKING_MELS = (_PATHS[0], _PATHS[0], "/v2/models/tiny/infer")
_QUERIES = (
    "format=wav", "format=float32", "format=flac&stream=1", "model=tiny", "stream=1&format=pcm16", "model=%ED%A0%80",
    "model=%FF", "format=%00", "%=%&&=", "model=" + "9" * 5000, "stream=\u0661", "sample_rate=" + "9" * 5000,
    "a" * 9000,
)  # fmt: skip
_HEADERS = (
    "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Origin", "Host", "Referer", "Accept",
    "Authorization", "Forwarded", "X-Forwarded-For", "X-Mel-Shape", "Inference-Header-Content-Length", "If-None-Match",
    "Range", "Expect", "Upgrade", "Connection", "X-Request-Id", "Sec-WebSocket-Protocol", "Sec-WebSocket-Key",
    "Sec-WebSocket-Version", "Access-Control-Request-Method", "Cookie", "Accept-Encoding",
)  # fmt: skip
_VALUES = (
    "", " ", "http://[", "http://[v1.x]", "//[", "[", "]:1", "http://a:b:c", "http://a:99999", "null", "\xff\xfe",
    "\u2100", "9" * 30, "9" * 5000, "-1", "+5", "0x10", "1e9", "\u0661", "80,12", "80 , 12", "12,80", "0,0",
    "999999999,999999999",
    "gzip", "deflate", "br", "gzip, gzip", "chunked", "identity, chunked", "application/json", "application/x-npy",
    "application/octet-stream", "application/json; charset=\xff", "multipart/form-data; boundary=", "a/b;" * 2000,
    "for=[", 'for="[::1', "for=_x;proto=\xff", "1.2.3.4, [", "::1%\xff", "bearer \xff", "Bearer", "websocket", "close",
    "bytes=9-1", "100-continue", "bearer.\xff, x", "hifigan.v1", "\x01", "\x7f",
)  # fmt: skip
_COLONS, _ENDS = (": ",) * 40 + (":", " : ", "\t:", ""), ("\r\n",) * 40 + ("\n", "\r\n ", "\r", "\r\r\n", "")
_TOKENS = (
    b"\0", b"\xff", b"-" * 9000, b"(" * 3000, b"[" * 3000, b"9" * 5000, b"1e999", b"NaN", b"\\ud800",
    b"0x" + b"f" * 8000,
    b"\xed\xa0\x80", b"null", b"true", b'""', b"{}", b",", b"-1", b"\x00\x00\x80\x7f", b"\xff\xff\xff\x7f",
)  # fmt: skip


def bodies() -> dict[str, bytes]:
    """Valid bodies by the headers that they need."""
    mel = np.random.default_rng(0).uniform(-8, 1, (_BANDS, _FRAMES)).astype(np.float32)
    found = {"": npy(mel), f"X-Mel-Shape: {_BANDS},{_FRAMES}\r\n": mel.tobytes()}
    found["Content-Type: application/json\r\n"] = json.dumps({"mel": mel[:, :2].tolist()}).encode()
    tensor = {"name": "mel_spec", "datatype": "FP32", "shape": [1, _BANDS, 2], "data": mel[:, :2].ravel().tolist()}
    found["Content-Type: application/json \r\n"] = json.dumps({"id": "a", "inputs": [tensor]}).encode()
    found["Content-Encoding: gzip\r\n"] = gzip.compress(npy(mel))
    found["Content-Encoding: deflate\r\n"] = zlib.compress(npy(mel))
    for kind in ("WAV", "FLAC", "OGG"):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(2000), MEL.sample_rate, format=kind)
        found[f"Content-Type: audio/{kind.lower()}\r\n"] = file.getvalue()
    for value in (3e38, -1e30, 1e20, np.nan):
        found[f"X-Mel-Shape: {_BANDS},{_FRAMES} \r\nX-Value: {value}\r\n"] = np.full_like(mel, value).tobytes()
    return found


def mutated(rng: random.Random, content: bytes) -> bytes:
    """The content, or something close to it."""
    found = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        # Headers come first and decide most.
        place = rng.randrange(min(len(found), rng.choice((64, 256, 1 << 20))) + 1)
        change = rng.randrange(4)
        if change == 0:
            found[place : place + rng.choice((0, 1, 4))] = rng.choice(_TOKENS)
        elif change == 1:
            del found[place : place + rng.choice((1, 4, 100))]
        elif change == 2:
            found[place : place + 4] = rng.randbytes(4)
        else:
            found[place:] = b"" if rng.random() < 0.5 else found[place:] * 2
    return bytes(found)


def posted(rng: random.Random, valid: dict[str, bytes]) -> tuple[bytes, bytes]:
    """A request with a head in order, so that its body is read, and nothing to follow its answer."""
    own, content = rng.choice(list(valid.items()))
    content = mutated(rng, content)
    path = "/v1/copy-synthesis" if "audio/" in own else rng.choice(_TAKING_MELS)
    path += rng.choice(("", "", f"?{rng.choice(_QUERIES[:4])}"))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(content)}\r\n{own}\r\n"
    )
    return head.encode() + content, b""


def request(rng: random.Random, valid: dict[str, bytes]) -> tuple[bytes, bytes]:
    """A request with a hostile head, and nothing to follow its answer."""
    own, content = rng.choice(list(valid.items()))
    content = mutated(rng, content)
    path = rng.choice(_PATHS[:2] if rng.random() < 0.5 else _PATHS)
    target = rng.choice(
        (path, path, path, f"http://[{path}", f"http://x{path}", f"{path}%FF", f"{path}/%ED%A0%80", "*")
    )
    if rng.random() < 0.5:
        target += f"?{rng.choice(_QUERIES)}"
    method = rng.choice(("POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "CONNECT", "\xff"))
    lines = f"{method} {target} HTTP/{rng.choice(('1.1',) * 8 + ('1.0', '2.0', '9'))}\r\n"
    lines += rng.choice(("Host: 127.0.0.1\r\n", "Host: 127.0.0.1\r\n", ""))
    lines += f"Connection: close\r\nContent-Length: {len(content)}\r\n" + rng.choice((own, own, ""))
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        lines += f"{rng.choice(_HEADERS)}{rng.choice(_COLONS)}{rng.choice(_VALUES)}{rng.choice(_ENDS)}"
    if rng.random() < 0.02:
        lines += "A: b\r\n" * rng.choice((99, 2000)) + "B: " + "y" * rng.choice((0, 40_000)) + "\r\n"
    return lines.encode("utf-8", "replace") + b"\r\n" + content, b""


def stream(rng: random.Random) -> tuple[bytes, bytes]:
    """A WebSocket's handshake, and its frames, some of them sent with it."""
    path = "/v1/stream" if rng.random() < 0.9 else rng.choice(_PATHS)
    lines = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    if rng.random() < 0.3:
        lines += f"{rng.choice(_HEADERS)}: {rng.choice(_VALUES)}\r\n"
    header = rng.choice(
        (b"{}", b'{"model": "tiny"}', b'{"segment_frames": 4}', b'{"output": "float32"}', b'{"model": 1}')
    )
    sent = [(1, mutated(rng, header) if rng.random() < 0.3 else header)]
    for _ in range(rng.randrange(4)):
        if rng.random() < 0.1:
            sent.append((1, rng.choice((b"\xff", b"\xed\xa0\x80", b"{}\xc3"))))
        values = np.full((rng.randrange(9), _BANDS), rng.choice((0.0, -5.0, 1e9, 1e20, 3e38, -3e38, np.nan)), "<f4")
        sent.append((rng.choice((2, 2, 2, 1, 9, 10, 11)), mutated(rng, values.tobytes())))
    sent += [(1, b'{"type": "finish"}'), (8, rng.choice((b"", b"\x03\xe8", b"\x03", b"\xff\xff\xff")))]
    head, frames = lines.encode("utf-8", "replace") + b"\r\n", b"".join(_frame(rng, *item) for item in sent)
    early = 0 if rng.random() < 0.7 else rng.randrange(len(frames))
    return head + frames[:early], frames[early:]


def _frame(rng: random.Random, opcode: int, content: bytes) -> bytes:
    first = opcode | (0x80 if rng.random() < 0.95 else rng.randrange(256))
    length = (
        struct.pack("!BH", 0xFE, len(content)) if 125 < len(content) < 1 << 16 else bytes([0x80 | len(content) % 126])
    )
    return bytes([first]) + length + bytes(4) + content


def made(rng: random.Random, valid: dict[str, bytes]) -> tuple[bytes, bytes]:
    """One connection's bytes: at first, and after the answer's beginning."""
    kind = rng.random()
    return stream(rng) if kind < 0.25 else posted(rng, valid) if kind < 0.6 else request(rng, valid)


def answered(server: Running, content: tuple[bytes, bytes]) -> bytes:
    """All that the server sends until it closes, or has nothing more to say."""
    with server.connect() as connection:
        connection.settimeout(_ANSWER_SECONDS)
        found = bytearray()
        try:
            connection.sendall(content[0])
            if len(content[0]) % 16 == 0:  # some go before the answer
                return b""
            while (piece := connection.recv(1 << 16)) and not _is_whole(found := found + piece):
                if len(found) == len(piece):
                    connection.settimeout(_QUIET_SECONDS)
                    connection.sendall(content[1])
        except (TimeoutError, OSError):
            pass
        return bytes(found)


def _is_whole(answer: bytes) -> bool:
    head, _, content = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\ncontent-length: (\d+)", head.lower())
    return length is not None and len(content) >= int(length[1])


def fault_of(answer: bytes) -> str | None:
    """Why an answer is wrong; None if it is not."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    status = head[9:12].decode("latin-1")
    if status.startswith("5") and status not in ("501", "505") and not (status == "503" and b"\nretry-after:" in head):
        return f"status {status}"
    if status == "101" and (b'"code": "internal"' in answer or b'"code": "engine_failed"' in answer):
        return "a stream ended with 1011"
    return None


def attack(server: Running, valid: dict[str, bytes], seed: int, end: float) -> Counter[str]:
    """Send one thing after the other until the end, and count the statuses."""
    rng, counts = random.Random(seed), Counter[str]()
    while time.monotonic() < end:
        content = made(rng, valid)
        answer = answered(server, content)
        fault = fault_of(answer)
        assert fault is None, f"{fault}: {content!r:.9000} was answered with {answer[-2000:]!r}"
        counts[answer[9:12].decode("latin-1") or "closed"] += 1
    return counts


class _ClientsLog(logging.Handler):
    """The log of a server that has strangers alone for clients: nothing in it may be an error."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if record.levelno >= logging.ERROR or record.exc_info or len(line) > _LONGEST_LINE:
            self.failures.append(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seeds, valid, counts = random.Random(arguments.seed), bodies(), Counter[str]()
    log = _ClientsLog()
    configure_logs()
    logging.getLogger().handlers = [log]
    limits = dict.fromkeys(("body_timeout_seconds", "header_timeout_seconds", "idle_timeout_seconds"), 0.2)
    with running({"tiny": tiny_vocoder}, **limits) as server, ThreadPoolExecutor(_TOGETHER) as clients:
        end = time.monotonic() + arguments.seconds
        attacks = [clients.submit(attack, server, valid, seeds.getrandbits(48), end) for _ in range(_TOGETHER)]
        for counted in attacks:
            counts += counted.result()
    if log.failures:
        print(
            f"FAILED: {len(log.failures)} lines of the log are errors, or long; the first is\n{log.failures[0]:.9000}"
        )
        return 1
    for outcome, count in sorted(counts.items()):
        print(f"{count:9} {outcome}")
    print(f"{counts.total()} requests and streams in {arguments.seconds:.0f} s, none of which was the server's fault")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
