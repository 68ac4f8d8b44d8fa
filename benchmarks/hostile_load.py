"""Measures what an honest client gets beside 16 hostile connections, from one address and from 16.

    python benchmarks/hostile_load.py --minutes 5 -o hostile-load        # or: make hostile-load
    HOSTILE_MINUTES=1 make hostile-load

First, one hostile request at a time: what does a mel of one block wait behind a streamed answer of 46 s, and behind
62 KB that unpack to 64 MB? Then an honest client asks for a whole mel of 4 s each second and feeds a live stream at
its pace; all samples are compared. The hostile ones, a process of the lowest priority that comes from 127.0.0.2 to
127.0.0.17, ask for streamed answers of 46 s and send bodies and headers that have taken servers down.

It fails if a mel waits longer than a block behind one request; if, beside one hostile address, less than 99 % of the
honest requests are answered right, 95 % of them take more than three times as long as on the quiet server, or the
stream runs dry; and if less than 99 % are answered right beside 16.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import load_generator
import numpy as np
import soundfile

from hifigan_rt.tools.serving.loading import load_to_serve
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import CACHE, ROOT
from measuring.load import Tally, Utterance, percentiles, utterances
from measuring.loopback import Connection, loopback_address
from measuring.report import publish
from measuring.result_header import result_header
from measuring.server_process import running_server

CONNECTIONS = 16
BLOCK_FRAMES = 64
"""What the server computes of a whole mel at a time."""
BEHIND_REQUESTS = 20
WHOLE_FRAMES = 344
"""4 s of audio."""
LIVE_FRAMES = 1720
STREAMED_FRAMES = 4000
"""46 s of audio."""
QUIET_SECONDS = 60.0
REQUEST_SECONDS = 60.0
"""Time after which a hostile client gives a request up."""
BEHIND = ("46 s, streamed", "packed")
NICENESS = 19
LEAST_RIGHT = 0.99
MOST_SLOWER = 3.0

_BARE = {"Content-Type": "application/octet-stream"}
_JSON = {"Content-Type": "application/json"}


def hostile_requests() -> list[tuple[str, str, bytes, dict[str, str]]]:
    """Make the requests: a name, the target, the body and headers."""
    shape = {"X-Mel-Shape": f"80,{STREAMED_FRAMES}"}
    streamed = np.full((80, STREAMED_FRAMES), -5, "<f4").tobytes()
    packed = gzip.compress(np.full((80, 200_000), -5, "<f4").tobytes(), 9)
    long = {"Content-Encoding": "gzip", "X-Mel-Shape": "80,200000"}
    low_rate, silence = io.BytesIO(), io.BytesIO()
    soundfile.write(low_rate, np.zeros(3600, np.int16), 1, format="WAV")
    with soundfile.SoundFile(silence, "w", 48000, 2, format="FLAC") as hour:
        for _ in range(360):
            hour.write(np.zeros((480_000, 2), np.int16))
    minus = b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"-" * 9000
    huge = np.full((80, 300), 3e38, "<f4").tobytes()
    copy = "/v1/copy-synthesis?resample=1&mono=1"
    return [
        ("packed", "/v1/synthesize", packed, _BARE | long),
        ("packed, streamed", "/v1/synthesize?stream=1", packed, _BARE | long),
        ("1 Hz", copy, low_rate.getvalue(), {}),
        ("an hour of silence", copy, silence.getvalue(), {}),
        ("an hour of silence, streamed", f"{copy}&stream=1", silence.getvalue(), {}),
        ("empty lists", "/v1/synthesize", b'{"mel":[' + b"[]," * 5_000_000 + b"[]]}", _JSON),
        ("minus", "/v1/synthesize", minus, _BARE),
        ("3e38", "/v1/synthesize", huge, _BARE | {"X-Mel-Shape": "80,300"}),
        ("origin", "/v1/synthesize", b"", {"Origin": "http://["}),
        ("many headers", "/v1/synthesize", b"x", _BARE | {f"X-{number}": "x" for number in range(2000)}),
        ("two lengths", "/v1/synthesize", b"0\r\n\r\n", _BARE | {"Transfer-Encoding": "chunked"}),
        ("a path", "/v1/models/" + "../" * 1000, b"", {}),
        *[("46 s, streamed", "/v1/synthesize?stream=1&format=float32", streamed, _BARE | shape)] * 12,
    ]  # fmt: skip


async def attack(url: str, addresses: int, seconds: float) -> Counter[str]:
    """Send hostile requests without a pause; count the answers."""
    requests, counts = hostile_requests(), Counter[str]()
    end = time.monotonic() + seconds

    async def dripping(address: str) -> None:
        """A body of which a byte comes each second."""
        host, port = loopback_address(url)
        reader, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
        writer.write(f"POST /v1/synthesize HTTP/1.1\r\nHost: {host}\r\nContent-Length: 110080\r\n\r\n".encode())
        with contextlib.closing(writer):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)

    async def client(index: int) -> None:
        rng, address = random.Random(index), f"127.0.0.{2 + index % addresses}"
        connection = Connection(url, address)
        while (left := end - time.monotonic()) > 0:
            name, target, body, headers = rng.choice(requests)
            try:
                async with asyncio.timeout(min(left, REQUEST_SECONDS)):
                    if rng.random() < 0.05:
                        name = "a body that drips"
                        await asyncio.wait_for(dripping(address), 10)
                    answer = await connection.post(target, body, headers)
                counts[f"{name}: {answer.status}"] += 1
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError) as error:
                counts[f"{name}: {type(error).__name__}"] += 1
                connection.vanish()
        connection.vanish()

    await asyncio.gather(*(client(index) for index in range(CONNECTIONS)))
    return counts


async def whole_each_second(url: str, utterance: Utterance, seconds: float) -> Tally:
    """Ask for a mel each second, whatever became of the former."""
    tally = Tally()

    async def ask() -> None:
        try:
            async with Connection(url) as connection, asyncio.timeout(REQUEST_SECONDS):
                answer = await connection.post(
                    "/v1/synthesize?format=float32", utterance.mel.tobytes(), utterance.headers
                )
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            tally.answers[type(error).__name__] += 1
        else:
            tally.count(answer, utterance, utterance.whole)

    began = time.monotonic()
    async with asyncio.TaskGroup() as asked:
        for number in range(int(seconds)):
            await asyncio.sleep(max(0.0, began + number - time.monotonic()))
            asked.create_task(ask())
    tally.seconds = time.monotonic() - began
    return tally


async def honest(url: str, whole: Utterance, live: Utterance, seconds: float) -> dict[str, Any]:
    """What the honest client gets."""
    asked, heard = await asyncio.gather(
        whole_each_second(url, whole, seconds), load_generator.live(url, [live], 1, seconds)
    )
    return {
        "asked": int(seconds),
        "right": asked.answers["200"] - asked.wrong,
        "answers": dict(asked.answers),
        "latency_ms": percentiles(asked.latencies),
        "live_answers": dict(heard.answers),
        "live_wrong": heard.wrong,
        "live_latency_ms": percentiles(heard.latencies),
        "underruns": heard.underruns,
    }


async def behind_one(url: str, block: Utterance) -> dict[str, Any]:
    """What mels of one block wait behind one hostile request, asked for one after the other."""

    async def ask(connection: Connection, others: asyncio.Task[Any] | None) -> Tally:
        tally = Tally()
        while sum(tally.answers.values()) < BEHIND_REQUESTS and not (others and others.done()):
            answer = await connection.post("/v1/synthesize?format=float32", block.mel.tobytes(), block.headers)
            tally.count(answer, block, block.whole)
        return tally

    requests = {name: rest for name, *rest in hostile_requests()}
    result: dict[str, Any] = {}
    async with Connection(url) as connection:
        await ask(connection, None)  # the first are slower
        alone = percentiles((await ask(connection, None)).latencies)
        assert alone is not None
        result["alone_ms"] = alone
        for name in BEHIND:
            target, body, headers = requests[name]
            hostile = Connection(url, "127.0.0.2")
            answering = asyncio.ensure_future(hostile.post(target, body, headers))
            await asyncio.sleep(0.2)  # it is read, and has begun
            tally = await ask(connection, answering)
            status = (await answering).status
            await hostile.close()
            times = percentiles(tally.latencies)
            result[name] = {
                "its_status": status,
                "answers": dict(tally.answers),
                "wrong": tally.wrong,
                "latency_ms": times,
                "longest_wait_ms": times["max"] - alone["median"] if times else None,
            }
    return result


async def beside(url: str, addresses: int, whole: Utterance, live: Utterance, seconds: float) -> dict[str, Any]:
    """What the honest client gets beside hostile ones, and what they get."""
    command = [sys.executable, __file__, "--attack", url, "--addresses", str(addresses), "--minutes"]
    attackers = await asyncio.create_subprocess_exec(*command, str((seconds + 10) / 60), stdout=asyncio.subprocess.PIPE)
    assert attackers.stdout is not None
    await attackers.stdout.readline()  # they have begun
    result = await honest(url, whole, live, seconds)
    counts, _ = await attackers.communicate()
    return result | {"hostile": json.loads(counts)}


async def measure(model: str, minutes: float, wavs: Path) -> dict[str, Any]:
    vocoder = load_to_serve(model)
    [block, whole, live] = utterances(vocoder, [BLOCK_FRAMES, WHOLE_FRAMES, LIVE_FRAMES], wavs)
    vocoder.close()
    seconds = 60 * minutes
    async with running_server(model, CACHE / "hostile_load.log") as server:
        quiet = await honest(server.url, whole, live, min(QUIET_SECONDS, seconds))
        behind = await behind_one(server.url, block)
        one = await beside(server.url, 1, whole, live, seconds)
        sixteen = await beside(server.url, CONNECTIONS, whole, live, seconds)
        return {
            "quiet": quiet,
            "behind_one": behind,
            "one_address": one,
            "sixteen_addresses": sixteen,
            "memory_mib": server.read().memory_mib,
            "load_average": os.getloadavg(),
        }


def complaints(result: dict[str, Any]) -> list[str]:
    """Whatever must not be."""
    found = []
    for name in BEHIND:
        part = result["behind_one"][name]
        if set(part["answers"]) - {"200"} or part["wrong"]:
            found.append(f"behind {name!r}, answers were {part['answers']}, {part['wrong']} of them wrong")
        if part["longest_wait_ms"] is not None and part["longest_wait_ms"] > result["behind_one"]["alone_ms"]["median"]:
            found.append(f"behind {name!r}, a mel waited {part['longest_wait_ms']:.0f} ms: longer than a block")
    for name in ("one_address", "sixteen_addresses"):
        share = result[name]["right"] / result[name]["asked"]
        if share < LEAST_RIGHT:
            found.append(f"{name}: {share:.1%} of the honest requests were answered right, {LEAST_RIGHT:.0%} are asked")
    slower = slower_by(result, "one_address")
    if slower > MOST_SLOWER:
        found.append(f"one address makes honest requests {slower:.1f} times as slow, {MOST_SLOWER:g} are allowed")
    if result["one_address"]["underruns"] or result["one_address"]["live_wrong"]:
        found.append("the live stream ran dry or was wrong beside one address")
    if set(result["one_address"]["live_answers"]) - {"whole", "cut"}:
        found.append(f"live streams ended early beside one address: {result['one_address']['live_answers']}")
    return found


def slower_by(result: dict[str, Any], name: str) -> float:
    """The 95th percentile of honest requests over that on the quiet server."""
    times, quiet = result[name]["latency_ms"], result["quiet"]["latency_ms"]
    return float(times["p95"] / quiet["p95"]) if times and quiet else float("inf")


def markdown(result: dict[str, Any]) -> str:
    rows = []
    for name in ("quiet", "one_address", "sixteen_addresses"):
        part = result[name]
        times = part["latency_ms"] or {"median": float("nan"), "p95": float("nan")}
        rows.append([
            name.replace("_", " "), f"{part['right']} of {part['asked']}", f"{times['median']:.0f} ms",
            f"{times['p95']:.0f} ms", f"{slower_by(result, name):.2f}", str(part["underruns"]),
        ])  # fmt: skip
    behind = result["behind_one"]
    waits = ", ".join(
        f"{behind[name]['longest_wait_ms'] or 0:.0f} ms behind one of {name!r} ({behind[name]['its_status']})"
        for name in BEHIND
    )
    head = ["hostile", "answered right", "median", "95 %", "over quiet", "underruns"]
    return (
        f"# Hostile load\n\n{result['machine']['cpu']}, {result['machine']['usable_cores']} cores; {result['date']}, "
        f"commit {result['commit']}.\n\n{markdown_table(head, rows)}\n\n"
        f"A mel of one block takes {behind['alone_ms']['median']:.0f} ms alone, and waits at most {waits}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    parser.add_argument("--attack", metavar="URL", help="be the hostile clients of this server, and nothing else")
    parser.add_argument("--addresses", type=int, default=1)
    add_output(parser)
    arguments = parser.parse_args()
    if arguments.attack:
        os.nice(NICENESS)
        print("begun", flush=True)
        print(json.dumps(asyncio.run(attack(arguments.attack, arguments.addresses, 60 * arguments.minutes))))
        return
    result = result_header("hostile_load.py", vars(arguments))
    result |= asyncio.run(measure(arguments.model, arguments.minutes, arguments.wavs))
    result["complaints"] = complaints(result)
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
