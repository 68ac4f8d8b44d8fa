"""Sends a server bodies that are meant to hurt, and measures for how long it answers nobody and what memory it takes.

    make hostile
    python benchmarks/hostile_bodies.py --only "json lists" --rounds 1

The longest stop is the longest answer of /healthz while a body is read and answered, less that of the same server
without it, the worst of five rounds. The growth is the peak of resident memory over the loaded server's. The model has
V1's mel settings and a small network with random weights, since what is measured is all that is around the network.
Fails if a stop is longer than 0.1 s, the growth beyond the budget and 100 MB, or more than 100 MB are left at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from hifigan_rt.config import PRESETS
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import CACHE, ROOT
from measuring.report import publish
from measuring.result_header import result_header
from measuring.server_process import ServerProcess, running_server

MAX_STOP_SECONDS = 0.1
MAX_LEFT_MB = 100.0
BUDGET_MB = 1000.0
SETTLING_SECONDS = 5.0
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


@dataclass(frozen=True)
class HostileBody:
    """A request that is meant to hurt."""

    target: str
    make: Callable[[], bytes]
    headers: dict[str, str]
    at_once: int = 1
    chunk_bytes: int | None = None
    """Size of the chunks that it is sent in; None states its length."""
    frames: bool = False
    """Whether it is frames of a WebSocket, sent behind the handshake."""


def npy(mel: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, mel)
    return buffer.getvalue()


def silence(seconds: int, rate: int, channels: int, container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, channels, subtype, format=container) as file:
        for _ in range(seconds // 10):
            file.write(np.zeros((10 * rate, channels), np.int16))
    return buffer.getvalue()


def wav_of(rate: int) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", 7036) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack(
        "<I", 7000) + bytes(7000)  # fmt: skip


def mel_json(frames: int, number: str) -> bytes:
    row = "[" + ",".join([number] * frames) + "]"
    return ('{"mel":[' + ",".join([row] * 80) + "]}").encode()


def tensor_json(frames: int) -> bytes:
    data = ",".join(["-5.25"] * (80 * frames))
    tensor = f'{{"name":"mel_spec","datatype":"FP32","shape":[1,80,{frames}],"data":[{data}]}}'
    return f'{{"inputs":[{tensor}]}}'.encode()


def filled(text: str, megabytes: int, beginning: str = "", end: str = "") -> bytes:
    return (beginning + text * (megabytes * MIB // len(text) - 10) + end).encode()


def frame(first: int, content: bytes = b"") -> bytes:
    """Frame of a WebSocket as clients send it, masked with zeros: `first` is its kind and whether it is the last."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + length + bytes(4) + content


SYNTHESIZE = "/v1/synthesize"
COPY = "/v1/copy-synthesis?resample=1&mono=1"
INFER = "/v2/models/model/infer"
STREAM = "/v1/stream"
GZIP = {"Content-Encoding": "gzip"}
BODIES = {
    "json lists": HostileBody(SYNTHESIZE, lambda: filled("[],", 16, '{"mel":['), JSON),
    "json lists, eight at once": HostileBody(SYNTHESIZE, lambda: filled("[],", 16, '{"mel":['), JSON, at_once=8),
    "json of 80 rows of zeros": HostileBody(SYNTHESIZE, lambda: mel_json(100_000, "0"), JSON),
    "json mel": HostileBody(SYNTHESIZE, lambda: mel_json(18_000, "-11.512925"), JSON, at_once=2),
    "json texts": HostileBody(SYNTHESIZE, lambda: filled('"\\u0041",', 16, "["), JSON),
    "json spaces": HostileBody(SYNTHESIZE, lambda: filled(" ", 16), JSON),
    "json depth": HostileBody(SYNTHESIZE, lambda: filled("[", 16), JSON),
    "json number": HostileBody(SYNTHESIZE, lambda: filled("1", 16, '{"mel":[['), JSON),
    "tensors as json": HostileBody(INFER, lambda: tensor_json(2500), JSON),
    "packed mel of 2,400 s": HostileBody(SYNTHESIZE, lambda: gzip.compress(npy(np.zeros((80, 200_000), "f4"))), GZIP),
    "mel of NaN": HostileBody(SYNTHESIZE, lambda: npy(np.full((80, 200_000), np.nan, "f4")), {}),
    "mel of float16": HostileBody(SYNTHESIZE, lambda: npy(np.zeros((80, 300_000), "f2")), {}),
    "mel of wrong byte order": HostileBody(
        SYNTHESIZE, lambda: np.full((80, 200_000), -5.0, ">f4").tobytes(), {"X-Mel-Shape": "80,200000"}
    ),
    "text of 64 MB": HostileBody(COPY, lambda: b"a" + "\u4e2d".encode() * (20 * MIB), {}),
    "flac, an hour of silence": HostileBody(COPY, lambda: silence(3600, 48000, 2, "FLAC", "PCM_16"), {}),
    "flac, two at once": HostileBody(COPY, lambda: silence(3600, 48000, 2, "FLAC", "PCM_16"), {}, at_once=2),
    "opus, an hour of silence": HostileBody(COPY, lambda: silence(3600, 48000, 1, "OGG", "OPUS"), {}),
    "mp3, 20 minutes of silence": HostileBody(COPY, lambda: silence(1200, 16000, 1, "MP3", "MPEG_LAYER_III"), {}),
    "wav that states 1 Hz": HostileBody(COPY, lambda: wav_of(1), {}),
    "wav that states 1000 Hz": HostileBody(COPY, lambda: wav_of(1000), {}),
    "chunks of one byte": HostileBody(COPY, lambda: bytes(MIB // 2), {}, chunk_bytes=1),
    "pings without end": HostileBody(STREAM, lambda: frame(0x89) * 200_000, {}, frames=True),
    "messages of nothing": HostileBody(STREAM, lambda: frame(0x82) * 200_000, {}, frames=True),
    "fragments of one byte": HostileBody(
        STREAM, lambda: frame(0x01, b"{") + frame(0x00, b" ") * 200_000, {}, frames=True
    ),
    "message of 16 MB": HostileBody(STREAM, lambda: frame(0x81, filled("[", 16)), {}, frames=True),
}


class Client:
    """Blocking client on plain sockets, whose cost is little and the same for every body."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.address = (host, int(port))

    def probe(self, stop: threading.Event, seconds: list[float]) -> None:
        """Ask /healthz on one connection again and again."""
        with socket.create_connection(self.address) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not stop.is_set():
                began = time.perf_counter()
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if not connection.recv(1 << 16):
                    raise RuntimeError("the server closed the connection of /healthz")
                seconds.append(time.perf_counter() - began)
                time.sleep(0.002)

    def post(self, parts: list[bytes]) -> str:
        """Send a request; the status of the answer, which is read to its end."""
        with socket.create_connection(self.address) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except OSError:
                return "closed"
            status = connection.recv(1 << 16)
            while connection.recv(1 << 20):
                pass
            return status[9:12].decode() or "closed"


def request_of(hostile: HostileBody) -> list[bytes]:
    """Head and body, so that nothing is copied while the server is watched."""
    body = hostile.make()
    if hostile.frames:
        head = (
            f"GET {hostile.target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        return [head.encode(), body + frame(0x88)]
    length = f"Content-Length: {len(body)}" if hostile.chunk_bytes is None else "Transfer-Encoding: chunked"
    fields = "".join(f"{name}: {value}\r\n" for name, value in hostile.headers.items())
    head = f"POST {hostile.target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{length}\r\n\r\n"
    if hostile.chunk_bytes is not None:
        size = hostile.chunk_bytes
        chunks = [b"%x\r\n%b\r\n" % (size, body[at : at + size]) for at in range(0, len(body), size)]
        body = b"".join([*chunks, b"0\r\n\r\n"])
    return [head.encode(), body]


def resident_mb(server: ServerProcess, name: str) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) * 1024 / 1e6


def forget_peak(server: ServerProcess) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def round_of(client: Client, hostile: HostileBody | None, parts: list[bytes]) -> tuple[float, str]:
    """Longest answer of /healthz in s while a body is sent and answered, and the statuses."""
    stop, seconds = threading.Event(), list[float]()
    probing = threading.Thread(target=client.probe, args=(stop, seconds))
    probing.start()
    time.sleep(0.2)
    statuses: list[str] = []
    if hostile is None:
        time.sleep(2.0)
    else:
        posting = [threading.Thread(target=lambda: statuses.append(client.post(parts))) for _ in range(hostile.at_once)]
        for thread in posting:
            thread.start()
        for thread in posting:
            thread.join()
    stop.set()
    probing.join()
    return max(seconds), " ".join(sorted(statuses))


def measure(server: ServerProcess, rounds: int, only: str | None) -> dict[str, Any]:
    client = Client(server.url)
    quiet = max(round_of(client, None, [])[0] for _ in range(rounds))
    at_start = resident_mb(server, "VmRSS")
    rows: list[dict[str, Any]] = []
    for name, hostile in BODIES.items():
        if only is not None and only != name:
            continue
        parts = request_of(hostile)
        forget_peak(server)
        worst, statuses = 0.0, ""
        for _ in range(rounds):
            longest, statuses = round_of(client, hostile, parts)
            worst = max(worst, longest)
        peak = resident_mb(server, "VmHWM") - at_start
        time.sleep(SETTLING_SECONDS)
        left = resident_mb(server, "VmRSS") - at_start
        rows.append(
            {"body": name, "bytes": len(parts[1]), "at_once": hostile.at_once, "answers": statuses,
             "stop_seconds": worst - quiet, "growth_mb": peak, "left_mb": left}
        )  # fmt: skip
        print(f"{name}: {statuses}, stop {worst - quiet:.3f} s, growth {peak:.0f} MB, left {left:.0f} MB", flush=True)
    return {"quiet_seconds": quiet, "loaded_mb": at_start, "rows": rows}


def complaints(result: dict[str, Any]) -> list[str]:
    """Whatever must not be."""
    found = []
    for row in result["rows"]:
        if row["stop_seconds"] > MAX_STOP_SECONDS:
            found.append(f"{row['body']}: nobody is answered for {row['stop_seconds']:.3f} s")
        if row["growth_mb"] > BUDGET_MB + MAX_LEFT_MB or row["left_mb"] > MAX_LEFT_MB:
            found.append(f"{row['body']}: takes {row['growth_mb']:.0f} MB and leaves {row['left_mb']:.0f} MB")
    return found


def markdown(result: dict[str, Any]) -> str:
    rows = [
        [row["body"], f"{row['bytes'] / 1e6:.3f}", row["answers"], f"{row['stop_seconds']:.3f}",
         f"{row['growth_mb']:.0f}", f"{row['left_mb']:.0f}"]
        for row in result["rows"]
    ]  # fmt: skip
    head = f"# Hostile bodies\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}.\n"
    quiet = f"Without them the longest answer of /healthz takes {result['quiet_seconds']:.3f} s.\n\n"
    return (
        head
        + quiet
        + markdown_table(["body", "MB sent", "answers", "longest stop, s", "growth, MB", "left at rest, MB"], rows)
    )


def small_model(path: Path) -> Path:
    """A network of a few channels with V1's mel settings."""
    sys.path.insert(0, str(ROOT / "tests"))
    from golden.seeded import seeded_weights

    preset = PRESETS["v3"]
    assert preset.mel is not None
    graph = build_graph(replace(preset.generator, upsample_initial_channel=16))
    weights = {key: array.astype(np.float32) for key, array in seeded_weights(graph.weight_shapes(), 1).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(bind(graph, weights), preset.mel, path, "random, seed 1")
    return path


async def run(model: str, rounds: int, only: str | None) -> dict[str, Any]:
    # Longer than an hour of audio takes, so that every answer is computed to its end.
    options = ("--request-timeout", "900", "--max-queue-wait", "30")
    async with running_server(model, CACHE / "hostile-bodies.log", options) as server:
        return await asyncio.to_thread(measure, server, rounds, only)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a small network with random weights by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one of the bodies, by name")
    add_output(parser)
    arguments = parser.parse_args()
    model = arguments.model or str(small_model(CACHE / "hostile-bodies.safetensors"))
    result = result_header("hostile_bodies.py", vars(arguments))
    result |= asyncio.run(run(model, arguments.rounds, arguments.only))
    result["complaints"] = complaints(result)
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
