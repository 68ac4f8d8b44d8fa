"""Keeps a server busy with everything at once, and fails if it leaks, stalls or gives one wrong sample.

    python benchmarks/soak.py --minutes 30 -o soak        # or: make soak
    SOAK_MINUTES=2 make soak

Clients ask for whole and streamed audio, feed live streams, vanish in the middle, and send nonsense; now and then there
are far too many. Memory, threads and open files of the server must not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import load_generator

from hifigan_rt.tools.serving.loading import load_to_serve
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import CACHE, ROOT
from measuring.load import Tally, Utterance, utterances
from measuring.loopback import Connection
from measuring.report import publish
from measuring.result_header import result_header
from measuring.server_process import Reading, ServerProcess, running_server

FRAMES = (1, 20, 86, 250, 257, 700)
LIVE_FRAMES = 430
TURN_SECONDS = 20.0
MEMORY_GROWTH_MIB = 16.0
"""From the median of the second tenth of the time to that of the last: allocators fill their arenas first."""
MEMORY_GROWTH_SHARE = 0.05
SHORT_MINUTES = 10.0
SHORT_MEMORY_GROWTH_MIB = 64.0
"""In a short soak arenas are still being filled at the end: 17 MiB were seen after two minutes.

With some 3,000 requests in that time, it still finds 22 KB that each of them leaves behind; a mel has 22 to 224 KB."""
SHORT_THREAD_GROWTH = min(32, (os.cpu_count() or 1) + 4) - 1
"""In a short soak asyncio's own pool, of one thread more than this, may get another at the end: whenever more pieces of
work meet than ever before. Seen by their names, no other threads came. On any machine these are 31 at most, of some
3,000 requests: what each eightieth leaves behind is more."""
SETTLING_SECONDS = 10.0
NONSENSE = (
    ("/v1/synthesize", b"not a mel", {"Content-Type": "application/octet-stream", "X-Mel-Shape": "80,10"}),
    ("/v1/synthesize", b"\x93NUMPY\x01\x00", {"Content-Type": "application/x-npy"}),
    ("/v1/synthesize?model=../../etc/passwd", b"", {}),
    ("/v1/synthesize?format=float32", b"\xff" * 3200, {"X-Mel-Shape": "80,10"}),
    ("/v2/models/model/infer", b"{", {"Content-Type": "application/json"}),
    ("/nowhere", b"", {}),
)


async def nonsense(url: str, seconds: float) -> Tally:
    """Requests that must be refused: with a 4xx, or with 503 while the queue is full."""
    tally = Tally()
    end = time.monotonic() + seconds
    async with Connection(url) as connection:
        while time.monotonic() < end:
            for target, body, headers in NONSENSE:
                answer = await connection.post(target, body, {"Content-Type": "application/octet-stream", **headers})
                tally.answers[f"nonsense {answer.status}"] += 1
                # A full server refuses before it reads what was sent.
                tally.wrong += not (400 <= answer.status < 500 or answer.status == 503)
            await asyncio.sleep(1.0)
    return tally


async def turn(url: str, work: Sequence[Utterance], live: Sequence[Utterance], seed: int) -> list[Tally]:
    """Everything at once for a while."""
    rng = random.Random(seed)
    seconds = TURN_SECONDS
    loads: list[Awaitable[Tally]] = [
        load_generator.whole(url, work, rng.randint(1, 4), seconds),
        load_generator.streamed(url, work, rng.randint(1, 3), seconds, pause=0.2),
        load_generator.live(url, live, rng.randint(1, 4), seconds),
        load_generator.vanishing(url, work, rng.randint(1, 6), seconds, seed),
        nonsense(url, seconds),
    ]
    if seed % 5 == 4:
        loads.append(load_generator.open_loop(url, work, 60.0, seconds / 4, seed=seed))
    return list(await asyncio.gather(*loads))


async def soak(model: str, minutes: float, wavs: Path) -> dict[str, Any]:
    vocoder = load_to_serve(model)
    work, live = utterances(vocoder, FRAMES, wavs), utterances(vocoder, [LIVE_FRAMES], wavs)
    vocoder.close()
    readings: list[Reading] = []
    tallies: list[Tally] = []
    async with running_server(model, CACHE / "soak.log") as server:
        await turn(server.url, work, live, 0)
        idle_before = await _settled(server)
        watching = asyncio.create_task(_watch(server, readings))
        end, seed = time.monotonic() + 60 * minutes, 1
        while time.monotonic() < end:
            tallies += await turn(server.url, work, live, seed)
            seed += 1
        watching.cancel()
        idle_after = await _settled(server)
    answers: Counter[str] = sum((tally.answers for tally in tallies), Counter())
    return {
        "minutes": minutes,
        "answers": dict(answers),
        "wrong": sum(tally.wrong for tally in tallies),
        "audio_seconds": sum(tally.audio_seconds for tally in tallies),
        "idle_before": asdict(idle_before),
        "idle_after": asdict(idle_after),
        "readings": [asdict(reading) for reading in readings],
        "memory_growth_mib": growth([reading.memory_mib for reading in readings]),
    }


async def _watch(server: ServerProcess, readings: list[Reading]) -> None:
    while True:
        readings.append(server.read())
        await asyncio.sleep(2.0)


async def _settled(server: ServerProcess) -> Reading:
    """When nobody asks for anything any more."""
    await asyncio.sleep(SETTLING_SECONDS)
    return server.read()


def growth(memory_mib: Sequence[float]) -> float:
    """From the second tenth of the readings to the last."""
    tenth = max(1, len(memory_mib) // 10)
    return statistics.median(memory_mib[-tenth:]) - statistics.median(memory_mib[tenth : 2 * tenth] or memory_mib)


def complaints(result: dict[str, Any]) -> list[str]:
    """Whatever must not be."""
    before, after = result["idle_before"], result["idle_after"]
    found = []
    if result["wrong"]:
        found.append(f"{result['wrong']} answers are wrong")
    # Pools of threads fill in the beginning.
    filled = [reading["threads"] for reading in result["readings"][: len(result["readings"]) // 2]]
    threads = max([before["threads"], *filled])
    room = SHORT_THREAD_GROWTH if result["minutes"] < SHORT_MINUTES else 0
    if after["threads"] > threads + room:
        found.append(f"threads grew from {threads} to {after['threads']}")
    if after["files"] > before["files"]:
        found.append(f"open files grew from {before['files']} to {after['files']}")
    least = SHORT_MEMORY_GROWTH_MIB if result["minutes"] < SHORT_MINUTES else MEMORY_GROWTH_MIB
    allowed = max(least, MEMORY_GROWTH_SHARE * before["memory_mib"])
    if result["memory_growth_mib"] > allowed:
        found.append(f"memory grew by {result['memory_growth_mib']:.0f} MiB, and {allowed:.0f} is allowed")
    odd = {answer: count for answer, count in result["answers"].items() if answer in ("500", "504", "connection lost")}
    if odd:
        found.append(f"the server failed: {odd}")
    if not result["answers"].get("200"):
        found.append("no request was answered")
    return found


def markdown(result: dict[str, Any]) -> str:
    before, after = result["idle_before"], result["idle_after"]
    rows = [
        ["minutes", f"{result['minutes']:g}"],
        ["audio computed", f"{result['audio_seconds'] / 3600:.1f} h"],
        ["answers", ", ".join(f"{name}: {count}" for name, count in sorted(result["answers"].items()))],
        ["wrong answers", str(result["wrong"])],
        ["memory under load, growth", f"{result['memory_growth_mib']:.0f} MiB"],
        ["memory idle, before and after", f"{before['memory_mib']:.0f} and {after['memory_mib']:.0f} MiB"],
        ["threads idle, before and after", f"{before['threads']} and {after['threads']}"],
        ["open files idle, before and after", f"{before['files']} and {after['files']}"],
    ]
    return f"# Soak\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}.\n\n" + markdown_table(
        ["figure", "value"], rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("soak.py", vars(arguments))
    result |= asyncio.run(soak(arguments.model, arguments.minutes, arguments.wavs))
    result["complaints"] = complaints(result)
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
