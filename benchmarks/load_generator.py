"""Loads a server on this machine, in one of five ways, and checks every sample that comes back.

    hifigan serve --model ljspeech-v1 &
    python benchmarks/load_generator.py whole --model ljspeech-v1 --clients 8 --seconds 20
    python benchmarks/load_generator.py open --model ljspeech-v1 --rate 50    # arrivals per second, whatever comes back
    python benchmarks/load_generator.py streamed --model ljspeech-v1 --clients 1
    python benchmarks/load_generator.py live --model ljspeech-v1 --clients 12    # WebSocket streams at real-time pace
    python benchmarks/load_generator.py vanishing --model ljspeech-v1 --clients 4

Only loopback addresses are loaded. What comes back is compared, bit for bit, with what the vocoder gives in this
process, so the model named here must be the server's; with --unchecked nothing is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from hifigan_rt.vocoder import load
from measuring.arguments import integers
from measuring.cases import ROOT
from measuring.load import STREAMED_SEGMENT_FRAMES, Tally, Utterance, utterances
from measuring.loopback import Answer, Connection

MAX_CLIENTS = 1000
MAX_SECONDS = 7200.0


async def whole(url: str, work: Sequence[Utterance], clients: int, seconds: float) -> Tally:
    """Each client sends its next request when it has the answer to the last one; refused ones wait as they are told."""

    async def client(tally: Tally, index: int, end: float) -> None:
        async with Connection(url) as connection:
            turn = index
            while time.monotonic() < end:
                utterance = work[turn % len(work)]
                answer = await _post(connection, utterance, "float32")
                tally.count(answer, utterance, utterance.whole)
                turn += 1
                if answer.status in (429, 503):
                    await asyncio.sleep(
                        min(float(answer.headers.get("retry-after", 1)), max(0, end - time.monotonic()))
                    )

    return await _all(clients, seconds, client)


async def open_loop(
    url: str,
    work: Sequence[Utterance],
    rate: float,
    seconds: float,
    clients: int = MAX_CLIENTS,
    seed: int = 0,
    settling_seconds: float = 10.0,
) -> Tally:
    """Requests come at random moments, so many a second, whatever becomes of those before.

    A latency counts from the moment at which a request should have been sent; those of requests that came after
    `settling_seconds` are kept apart too. When `clients` requests are on their way, the next is not sent and counted as
    "not sent".
    """
    rng = random.Random(seed)
    tally = Tally()
    idle: list[Connection] = []
    running: set[asyncio.Task[None]] = set()

    async def one(utterance: Utterance, due: float) -> None:
        connection = idle.pop() if idle else Connection(url)
        try:
            answer = await _post(connection, utterance, "float32")
        except (OSError, asyncio.IncompleteReadError):
            tally.answers["connection lost"] += 1
            connection.vanish()
            return
        late = time.perf_counter() - due
        tally.count(
            Answer(answer.status, answer.headers, answer.body, answer.first_byte_seconds, late),
            utterance, utterance.whole,
        )  # fmt: skip
        if answer.status == 200 and due > began + settling_seconds:
            tally.settled_latencies.append(late)
        idle.append(connection)

    began = due = time.perf_counter()
    while (due := due + rng.expovariate(rate)) < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(running) >= clients:
            tally.answers["not sent"] += 1
            continue
        task = asyncio.create_task(one(rng.choice(work), due))
        running.add(task)
        task.add_done_callback(running.discard)
    tally.seconds = time.perf_counter() - began
    if running:
        await asyncio.wait(running)
    for connection in idle:
        await connection.close()
    return tally


async def streamed(url: str, work: Sequence[Utterance], clients: int, seconds: float, pause: float = 0.0) -> Tally:
    """Like `whole`, with audio that comes while it is computed: the first byte is what counts."""

    async def client(tally: Tally, index: int, end: float) -> None:
        async with Connection(url) as connection:
            turn = index
            while time.monotonic() < end:
                utterance = work[turn % len(work)]
                answer = await _post(connection, utterance, "float32", stream=True)
                tally.count(answer, utterance, utterance.streamed, streamed=True)
                turn += 1
                await asyncio.sleep(pause)

    return await _all(clients, seconds, client)


async def live(
    url: str, work: Sequence[Utterance], clients: int, seconds: float, segment_frames: int = STREAMED_SEGMENT_FRAMES
) -> Tally:
    """WebSocket streams whose frames come at the pace at which they are played, one segment per push.

    A player begins one segment after its first audio. Whenever it has played all it has, that is an underrun, and it
    waits for more. `first_audio` is the time from the first push to the first samples, `latencies` that from every push
    to the samples that it brings.
    """

    async def client(tally: Tally, index: int, end: float) -> None:
        utterance = work[index % len(work)]
        frames = utterance.mel.shape[1]
        period = utterance.seconds / frames * segment_frames
        # Clients do not begin in step.
        await asyncio.sleep(period * index / clients)
        again = True
        while again:
            try:
                await _live_once(url, utterance, segment_frames, period, tally, end)
            except (OSError, TimeoutError, WebSocketException) as error:
                tally.answers[type(error).__name__] += 1
                await asyncio.sleep(period)
            # One that would be cut soon would only be a beginning more.
            again = time.monotonic() < end - utterance.seconds / 2

    return await _all(clients, seconds, client)


async def first_samples(url: str, utterance: Utterance, segment_frames: int) -> float:
    """Seconds from sending the frames that complete a stream's first segment to its first samples, the server idle."""
    frames = np.ascontiguousarray(utterance.mel.T)
    async with connect(_websocket_url(url), compression=None, max_size=None, proxy=None) as connection:
        await connection.send(json.dumps({"segment_frames": segment_frames, "output": "float32"}))
        await connection.recv()
        await connection.send(frames[: segment_frames - 1].tobytes())
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await connection.send(frames[segment_frames - 1 : segment_frames].tobytes())
        await connection.recv()
        seconds = time.perf_counter() - began
    await asyncio.sleep(0.05)
    return seconds


async def vanishing(url: str, work: Sequence[Utterance], clients: int, seconds: float, seed: int = 0) -> Tally:
    """Clients that go at any moment: while they send, wait, or are sent audio, over HTTP and WebSocket."""

    async def client(tally: Tally, index: int, end: float) -> None:
        rng = random.Random(f"{seed}/{index}")
        while time.monotonic() < end:
            utterance = rng.choice(work)
            patience = rng.expovariate(1 / 0.2)
            kind = rng.choice(["whole", "streamed", "half", "live"])
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ConnectionClosed):
                async with asyncio.timeout(patience):
                    await _to_be_left(url, utterance, kind)
            tally.answers[f"left {kind}"] += 1

    return await _all(clients, seconds, client)


async def _to_be_left(url: str, utterance: Utterance, kind: str) -> None:
    if kind == "live":
        connection = await connect(_websocket_url(url), compression=None, max_size=None, proxy=None)
        try:
            await connection.send(json.dumps({"output": "float32"}))
            while True:
                await connection.send(np.ascontiguousarray(utterance.mel.T).tobytes())
                await asyncio.sleep(0.05)
        finally:
            connection.transport.abort()
    http = Connection(url)
    try:
        body = utterance.mel.tobytes()
        sent = body[: len(body) // 2] if kind == "half" else body
        target = _target("float32", stream=kind == "streamed")
        reader = await http.begin(target, sent, utterance.headers, length=len(body))
        await reader.read()
    finally:
        http.vanish()


async def _live_once(
    url: str, utterance: Utterance, segment_frames: int, period: float, tally: Tally, end: float
) -> None:
    header = {"segment_frames": segment_frames, "output": "float32"}
    async with connect(_websocket_url(url), compression=None, max_size=None, proxy=None) as connection:
        await connection.send(json.dumps(header))
        ready = json.loads(await connection.recv())
        if ready["type"] != "ready":
            tally.answers[ready.get("code", ready["type"])] += 1
            await asyncio.sleep(period)
            return
        rate = ready["sample_rate"]
        pushed: list[float] = []
        listener = asyncio.create_task(_listen(connection, pushed, rate, period, tally))
        began = time.perf_counter()
        frames = np.ascontiguousarray(utterance.mel.T)
        cut = False
        for turn, start in enumerate(range(0, len(frames), segment_frames)):
            await asyncio.sleep(max(0.0, began + turn * period - time.perf_counter()))
            if time.monotonic() > end:
                cut = True
                break
            pushed.append(time.perf_counter())
            await connection.send(frames[start : start + segment_frames].tobytes())
        await connection.send('{"type": "finish"}')
        audio = await listener
    tally.answers["cut" if cut else "whole"] += 1
    tally.audio_seconds += len(audio) / 4 / rate
    if utterance.streamed is not None and segment_frames == STREAMED_SEGMENT_FRAMES and not cut:
        tally.wrong += audio != utterance.streamed


async def _listen(connection: ClientConnection, pushed: list[float], rate: float, period: float, tally: Tally) -> bytes:
    parts: list[bytes] = []
    plays_until: float | None = None
    underruns = 0
    async for message in connection:
        now = time.perf_counter()
        if isinstance(message, str):
            news = json.loads(message)
            if news["type"] == "error":
                tally.answers[news["code"]] += 1
            if news["type"] in ("end", "error"):
                break
            continue
        if plays_until is None:
            tally.first_audio.append(now - pushed[0])
            plays_until = now + period
        elif now > plays_until:
            underruns += 1
            plays_until = now
        tally.latencies.append(now - pushed[min(len(parts), len(pushed) - 1)])
        plays_until += len(message) / 4 / rate
        parts.append(message)
    tally.underruns += underruns
    tally.streams_with_underruns += underruns > 0
    return b"".join(parts)


async def _all(clients: int, seconds: float, client: Callable[[Tally, int, float], Awaitable[None]]) -> Tally:
    if not (1 <= clients <= MAX_CLIENTS and 0 < seconds <= MAX_SECONDS):
        raise ValueError(f"clients={clients}, seconds={seconds}: at most {MAX_CLIENTS} and {MAX_SECONDS:.0f}")
    tally = Tally()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for index in range(clients):
            group.create_task(client(tally, index, began + seconds))  # type: ignore[arg-type]
    tally.seconds = time.monotonic() - began
    return tally


async def _post(connection: Connection, utterance: Utterance, audio_format: str, *, stream: bool = False) -> Answer:
    return await connection.post(_target(audio_format, stream=stream), utterance.mel.tobytes(), utterance.headers)


def _target(audio_format: str, *, stream: bool = False) -> str:
    return f"/v1/synthesize?format={audio_format}&stream={int(stream)}"


def _websocket_url(url: str) -> str:
    return f"ws{url.removeprefix('http')}/v1/stream"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["whole", "open", "streamed", "live", "vanishing"])
    parser.add_argument("--url", default="http://127.0.0.1:8004")
    parser.add_argument("--model", required=True, help="what the server serves")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=10.0, help="arrivals per second, for `open`")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--frames", type=integers, default=[250])
    parser.add_argument("--segment-frames", type=int, default=STREAMED_SEGMENT_FRAMES, help="of a push, for `live`")
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    parser.add_argument("--unchecked", action="store_true", help="do not compare samples")
    arguments = parser.parse_args()
    vocoder = load(arguments.model)
    work = utterances(vocoder, arguments.frames, arguments.wavs, checked=not arguments.unchecked)
    url, clients, seconds = arguments.url, arguments.clients, arguments.seconds
    modes: dict[str, Callable[[], Awaitable[Tally]]] = {
        "whole": lambda: whole(url, work, clients, seconds),
        "open": lambda: open_loop(url, work, arguments.rate, seconds),
        "streamed": lambda: streamed(url, work, clients, seconds),
        "live": lambda: live(url, work, clients, seconds, arguments.segment_frames),
        "vanishing": lambda: vanishing(url, work, clients, seconds),
    }

    async def run() -> Tally:
        return await modes[arguments.mode]()

    print(json.dumps(asyncio.run(run()).summary(), indent=1))


if __name__ == "__main__":
    main()
