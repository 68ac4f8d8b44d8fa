"""Measures what a Ray cluster is sized by: audio per core-hour of V1, V2, V3, and the cost of live streams.

    python benchmarks/run_ray_serving.py -o ray-serving     # about two minutes; needs '.[ray-serve,serve]'

All of it is processor time, one thread per engine. Streams come at the pace at which they are played, in segments of 32
frames, from this process to `hifigan serve` and to one replica behind Ray's proxy, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import load_generator

from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.tools.tables import markdown as markdown_table
from hifigan_rt.vocoder import load
from measuring.arguments import add_output
from measuring.cases import CACHE, MODELS, ROOT, CachedModel
from measuring.load import utterances
from measuring.report import publish
from measuring.result_header import result_header
from measuring.server_process import running_server

PROXY_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "hifigan_rt.tools.serving.ray_proxy:middlewares",
}
TITLES = {"ray::ProxyActor": "proxy", "ray::ServeReplica": "replica", "ray::ServeController": "rest of Ray"}
PROGRAMS = {"raylet": "rest of Ray", "gcs_server": "rest of Ray"}
SEGMENTS = {"folder": 256, "server": 64, "stream": 32}
"""Frames computed together in each kind of work."""


def audio_per_core(frames: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of audio per second of processor time, by model and kind of work; the median of interleaved rounds."""
    loaded = {name: load(CachedModel(name).safetensors(), config=name, engine="native", threads=1) for name in MODELS}
    mel = random_mel((80, frames))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, vocoder in loaded.items():
            for kind, segment_frames in SEGMENTS.items():
                began = time.process_time()
                audio = vocoder(mel, segment_frames=segment_frames)
                times[name, kind].append(time.process_time() - began)
    seconds = len(audio) / 22050
    return {name: {kind: seconds / statistics.median(times[name, kind]) for kind in SEGMENTS} for name in MODELS}


def processor_seconds() -> dict[str, float]:
    """Processor time of Ray's processes so far, by what they are."""
    used: dict[str, float] = defaultdict(float)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
            times = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        kind = next((kind for start, kind in TITLES.items() if title.startswith(start)), PROGRAMS.get(Path(title).name))
        if kind is not None:
            used[kind] += (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    return used


async def streams(url: str, model: str, clients: int, seconds: float) -> dict[str, Any]:
    with load(model, engine="native", threads=1) as vocoder:
        work = utterances(vocoder, [800], ROOT / "samples")
    return (await load_generator.live(url, work, clients, seconds)).summary()


async def alone(model: str, clients: int, seconds: float) -> dict[str, Any]:
    """The same streams on `hifigan serve`."""
    async with running_server(model, CACHE / "run_ray_serving.log", ["--threads", "1"]) as server:
        before = server.read().processor_seconds
        told = await streams(server.url, model, clients, seconds)
        return told | {"processor_seconds": {"server": server.read().processor_seconds - before}}


def on_ray(model: str, clients: int, seconds: float) -> dict[str, Any]:
    os.environ.update(PROXY_VARIABLES)
    import ray
    from ray import serve

    from hifigan_rt.tools.serving.replicas import app

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app({"models": f"model={model}", "insecure_no_token": True}), route_prefix="/")
        before = processor_seconds()
        told = asyncio.run(streams(f"http://127.0.0.1:{port}", model, clients, seconds))
        after = processor_seconds()
    finally:
        serve.shutdown()
        ray.shutdown()
    return told | {"processor_seconds": {kind: after[kind] - before[kind] for kind in after}}


def markdown(result: Mapping[str, Any]) -> str:
    rows = [
        [name.upper(), *(f"{figures[kind]:.1f}" for kind in SEGMENTS)]
        for name, figures in result["audio_per_core"].items()
    ]
    header = ["hours of audio per core-hour", *(f"{kind}, segments of {SEGMENTS[kind]}" for kind in SEGMENTS)]
    parts = [
        "# Sizing a cluster",
        f"{result['machine']['cpu']}, commit {result['commit']}.",
        markdown_table(header, rows),
    ]
    for name in ("alone", "on_ray"):
        facts = result[name]
        costs = [
            [kind, f"{1000 * used / facts['audio_seconds']:.1f}"] for kind, used in facts["processor_seconds"].items()
        ]
        first, later = facts["first_audio_ms"], facts["latency_ms"]
        place = "behind Ray" if name == "on_ray" else "on `hifigan serve`"
        parts.append(
            f"{result['settings']['clients']} live streams {place}: "
            f"with underruns {facts['streams_with_underruns']}, wrong samples {facts['wrong']}, first audio "
            f"{first['median']:.0f} ms after its frames (95 %: {first['p95']:.0f}), a push {later['median']:.0f} "
            f"({later['p95']:.0f})."
        )
        parts.append(markdown_table(["process", "processor ms per second of audio"], costs))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=1000)
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("run_ray_serving.py", vars(arguments))
    result["audio_per_core"] = audio_per_core(arguments.frames, arguments.rounds)
    result["alone"] = asyncio.run(alone(arguments.model, arguments.clients, arguments.seconds))
    result["on_ray"] = on_ray(arguments.model, arguments.clients, arguments.seconds)
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
