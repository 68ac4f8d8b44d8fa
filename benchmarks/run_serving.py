"""Measures `hifigan serve` on this machine: overhead, first audio, sustained streams, overload and recovery.

    python benchmarks/run_serving.py -o serving         # about eight minutes
    python benchmarks/run_serving.py --quick                                    # does everything run?

Server and clients share the machine, over loopback. Every sample that comes back is compared with the vocoder's own.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import load_generator

from hifigan_rt.tools.benchmark.cpu_usage import machine_cpu, used_by_others
from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.serving.loading import load_to_serve
from hifigan_rt.tools.tables import markdown as markdown_table
from hifigan_rt.vocoder import Vocoder
from measuring.arguments import add_output
from measuring.cases import CACHE, ROOT
from measuring.load import STREAMED_SEGMENT_FRAMES, Tally, Utterance, percentiles, utterances
from measuring.loopback import Connection
from measuring.report import publish
from measuring.result_header import result_header
from measuring.server_process import Reading, ServerProcess, running_server

FIRST_AUDIO_SEGMENT_FRAMES = 16
OVERLOAD_FRAMES = 86
"""A second of audio."""
OVERLOAD_FACTOR = 10

PARTS = ("overhead", "first_audio", "sustained", "overload")


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int = 9
    round_seconds: float = 8.0
    clients: int = 8
    frames: int = 250
    first_audio_times: int = 60
    stream_seconds: float = 20.0
    overload_seconds: float = 60.0


QUICK = Plan(rounds=2, round_seconds=2, first_audio_times=5, stream_seconds=4, overload_seconds=5)


class Measurement:
    """A server, the same model in this process, and how disturbed each part was."""

    def __init__(self, server: ServerProcess, vocoder: Vocoder, plan: Plan, wavs: Path) -> None:
        self.server, self.vocoder, self.plan = server, vocoder, plan
        self._wavs = wavs
        self.others: dict[str, float | None] = {}

    def work(self, *frames: int) -> list[Utterance]:
        return utterances(self.vocoder, frames, self._wavs)

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Note what share of the processors neither the server nor this process used."""
        before, own = machine_cpu(), self._own_seconds()
        yield
        self.others[name] = used_by_others(before, machine_cpu(), self._own_seconds() - own)

    def _own_seconds(self) -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime + self.server.read().processor_seconds


async def overhead(measurement: Measurement) -> dict[str, Any]:
    """Whole utterances of several clients against the bare engine, in turns."""
    plan = measurement.plan
    work = measurement.work(plan.frames)
    bare, served, wrong = [], [], 0
    for _ in range(plan.rounds):
        bare.append(await asyncio.to_thread(_bare_x_real_time, measurement.vocoder, work[0], plan.round_seconds))
        tally = await load_generator.whole(measurement.server.url, work, plan.clients, plan.round_seconds)
        served.append(tally.audio_seconds / tally.seconds)
        wrong += tally.wrong
    ratio = paired_ratio(served, bare)
    return {
        "bare_x_real_time": bare,
        "served_x_real_time": served,
        "served_over_bare": asdict(ratio) | {"text": str(ratio)},
        "wrong": wrong,
    }


def _bare_x_real_time(vocoder: Vocoder, utterance: Utterance, seconds: float) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        vocoder(utterance.mel)
        count += 1
    return count * utterance.seconds / (time.perf_counter() - began)


async def first_audio(measurement: Measurement) -> dict[str, Any]:
    """One client on an idle server: from the frames that determine the first sample to the first samples."""
    plan = measurement.plan
    work = measurement.work(plan.frames)
    websocket = [
        await load_generator.first_samples(measurement.server.url, work[0], FIRST_AUDIO_SEGMENT_FRAMES)
        for _ in range(plan.first_audio_times)
    ]
    seconds = 0.2 * plan.first_audio_times
    http = await load_generator.streamed(measurement.server.url, work, 1, seconds, pause=0.1)
    return {"websocket_ms": percentiles(websocket), "http_ms": percentiles(http.first_audio), "wrong": http.wrong}


async def sustained(measurement: Measurement, offline_x_real_time: float) -> dict[str, Any]:
    """The largest number of real-time streams without an underrun, found by halving.

    A number that fails is tried twice more, since one moment in which the machine stands still makes all streams
    stutter at once.
    """
    frames = int(measurement.plan.stream_seconds / 256 * 22050)
    work = measurement.work(frames)
    trials: list[dict[str, Any]] = []

    async def holds(clients: int) -> bool:
        for _ in range(3):
            tally = await load_generator.live(
                measurement.server.url, work, clients, measurement.plan.stream_seconds, STREAMED_SEGMENT_FRAMES
            )
            trials.append({"streams": clients} | tally.summary())
            if tally.underruns == 0 and set(tally.answers) <= {"whole", "cut"}:
                return True
        return False

    low, high = 0, int(offline_x_real_time) + 1
    guess = max(1, math.ceil(0.7 * offline_x_real_time))
    while high - low > 1:
        low, high = (guess, high) if await holds(guess) else (low, guess)
        guess = (low + high) // 2
    return {
        "streams": low,
        "share_of_offline": low / offline_x_real_time,
        "offline_x_real_time": offline_x_real_time,
        "wrong": sum(trial["wrong"] for trial in trials),
        "trials": trials,
    }


async def overload(measurement: Measurement, offline_x_real_time: float) -> dict[str, Any]:
    """Ten times as many requests as can be computed, then quiet."""
    server, plan = measurement.server, measurement.plan
    work = measurement.work(OVERLOAD_FRAMES)
    rate = OVERLOAD_FACTOR * offline_x_real_time / work[0].seconds
    idle = await load_generator.whole(server.url, work, 1, 3.0)
    readings: list[Reading] = []

    async def watch() -> None:
        while True:
            readings.append(server.read())
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    tally = await load_generator.open_loop(
        server.url, work, rate, plan.overload_seconds, settling_seconds=plan.overload_seconds / 6
    )
    recovered = await _recovery_seconds(server.url, work[0], idle)
    watching.cancel()
    later = readings[len(readings) // 4 :] or readings
    return {
        "arrivals_per_second": rate,
        "idle_latency_ms": percentiles(idle.latencies),
        "recovery_seconds": recovered,
        "memory_mib": {
            "first": readings[0].memory_mib,
            "after_a_quarter": later[0].memory_mib,
            "last": readings[-1].memory_mib,
            "most": max(reading.memory_mib for reading in readings),
        },
        **tally.summary(),
    }


async def _recovery_seconds(url: str, utterance: Utterance, idle: Tally) -> float:
    """From the last answer of the load to the first request that is as quick as on an idle server."""
    usual = 1.5 * max(idle.latencies)
    began = time.perf_counter()
    async with Connection(url) as connection:
        while time.perf_counter() < began + 60:
            answer = await connection.post("/v1/synthesize?format=float32", utterance.mel.tobytes(), utterance.headers)
            if answer.status == 200 and answer.seconds <= usual:
                return time.perf_counter() - answer.seconds - began
    return 60.0


async def measure(arguments: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    log = CACHE / "server.log"
    options = ["--threads", str(arguments.threads)]
    vocoder = load_to_serve(arguments.model, threads=arguments.threads)
    async with running_server(arguments.model, log, options) as server:
        measurement = Measurement(server, vocoder, plan, arguments.wavs)
        with measurement.watched("overhead"):
            parts["overhead"] = await overhead(measurement)
        offline = sorted(parts["overhead"]["bare_x_real_time"])[plan.rounds // 2]
        rest: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "first_audio": lambda: first_audio(measurement),
            "sustained": lambda: sustained(measurement, offline),
            "overload": lambda: overload(measurement, offline),
        }
        for name, part in rest.items():
            with measurement.watched(name):
                parts[name] = await part()
            print(f"{name}: done", flush=True)
    parts["others"] = measurement.others
    return parts


def markdown(result: dict[str, Any]) -> str:
    over, first, held, load_ = (result[name] for name in PARTS)
    accepted, refused = load_["answers"].get("200", 0), load_["answers"].get("503", 0)
    settled = load_["settled_latency_ms"]  # None where the load ended before
    rows = [
        ["throughput of whole utterances, served over bare", over["served_over_bare"]["text"]],
        ["first audio over WebSocket, segments of 16, median", f"{first['websocket_ms']['median']:.0f} ms"],
        ["first audio of a streamed response, segments of 32, median", f"{first['http_ms']['median']:.0f} ms"],
        ["real-time streams without an underrun, segments of 32", f"{held['streams']}"],
        ["their share of the offline x real time", f"{held['share_of_offline']:.0%}"],
        ["overload: requests per second", f"{load_['arrivals_per_second']:.0f}"],
        ["overload: accepted and refused", f"{accepted} and {refused}"],
        ["overload: latency of the accepted, median and 95 %",
         f"{load_['latency_ms']['median']:.0f} and {load_['latency_ms']['p95']:.0f} ms"],
        ["the same of those that came after the first ten seconds",
         f"{settled['median']:.0f} and {settled['p95']:.0f} ms" if settled else "none came"],
        ["latency of the same request on the idle server", f"{load_['idle_latency_ms']['median']:.0f} ms"],
        ["overload: refusal, median", f"{(load_['refusal_ms'] or {}).get('median', float('nan')):.0f} ms"],
        ["overload: memory after a quarter and at the end",
         f"{load_['memory_mib']['after_a_quarter']:.0f} and {load_['memory_mib']['last']:.0f} MiB"],
        ["overload: until requests are as quick as before", f"{load_['recovery_seconds']:.1f} s"],
        ["wrong answers", str(sum(part["wrong"] for part in (over, first, held, load_)))],
    ]  # fmt: skip
    machine = result["machine"]
    others = ", ".join(f"{name} {share:.0%}" for name, share in result["others"].items() if share is not None)
    return (
        f"# Serving\n\n{machine['cpu']}, {machine['usable_cores']} cores; {result['date']}, commit {result['commit']}. "
        f"Used by others meanwhile: {others or 'not known'}.\n\n{markdown_table(['figure', 'value'], rows)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="everything for a moment: its figures mean nothing")
    for field in fields(Plan):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, help=f"default: {field.default}")
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    add_output(parser)
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    asked = {name: value for name, value in vars(arguments).items() if name in asdict(plan) and value is not None}
    plan = replace(plan, **asked)
    result = result_header("run_serving.py", vars(arguments)) | {"plan": asdict(plan)}
    result |= asyncio.run(measure(arguments, plan))
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
