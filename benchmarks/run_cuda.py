"""What engine `cuda` does on an NVIDIA card, beside PyTorch at its best: one process, in turns, by the card's clock.

    python benchmarks/run_cuda.py -o benchmarks/results/nvidia-h100/cuda.json
    python benchmarks/run_cuda.py --parts whole,steps -o out/cuda.json

Times are medians by CUDA events, mels and audio on the card, the engine's small copies included. Without PyTorch the
engine is measured alone. A minute of streams comes in real time: each segment of all of them must be done in 186 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np

import hifigan_rt
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import PRESETS
from hifigan_rt.engines import create_engine, cuda_kernels
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.cuda import CudaEngine
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError
from hifigan_rt.model.kinds import Weights
from hifigan_rt.vocoder import Vocoder
from measuring.cases import ROOT, seeded_generator
from measuring.gpu import Failed, Report, Speech, best_of_torch, each, in_a_line, used_mib
from measuring.server_process import running_server

SEGMENT_FRAMES = 16
SHAPES = ((16, 250), (1, 250))
STREAMS = {"float16": (5000, 7000), "float32": (2000, 2800)}
CLIENT_PROCESSES = 8


def in_turns(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, computed in turns after three that do not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 3):
        for name, call in calls.items():
            spent = call()
            if turn >= 3:
                times[name].append(spent)
    return {name: round(float(np.median(spent)), 4) for name, spent in times.items()}


def on_card(vocoder: Vocoder, mel: np.ndarray) -> Callable[[], float]:
    """Compute a batch that lies on the card, where PyTorch can hold it, and tell the card's milliseconds."""
    given: Any = mel
    if has_torch():
        import torch

        given = torch.from_numpy(mel).cuda()

    def run() -> float:
        vocoder(given)
        return 1e3 * card_seconds(vocoder)

    return run


def card_seconds(vocoder: Vocoder) -> float:
    assert isinstance(vocoder._engine, CudaEngine)
    return vocoder._engine.card_seconds


@cache
def has_torch() -> bool:
    """Whether PyTorch is there, and finds the card."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def compare(report: Report, name: str, vocoder: Vocoder, precision: str, speech: Speech) -> None:
    """One network in one precision, whole mels, beside PyTorch."""
    for items, frames in SHAPES:
        mel = speech.batch(items, frames)
        calls = {"cuda": on_card(vocoder, mel)}
        peer = torch_peer(vocoder, precision, mel)
        if isinstance(peer, TorchPeer):
            calls["torch"] = peer.run
        times: dict[str, Any] = dict(in_turns(calls, 30))
        if isinstance(peer, TorchPeer):
            times["ratio"] = round(times["torch"] / times["cuda"], 3)
            times |= {"torch_is_not_compiled": peer.why_not_compiled} if peer.why_not_compiled else {}
        elif peer:
            times["torch"] = peer
        report.note(f"{name} {precision}: {items} x {frames} frames, ms", times)
        host = in_turns({"wall": lambda mel=mel: wall_ms(lambda: vocoder(mel))}, 10)  # type: ignore[misc]
        report.note(f"{name} {precision}: {items} x {frames} frames from and to the host, ms", host["wall"])


@dataclass(frozen=True)
class TorchPeer:
    """A network in PyTorch, for one shape."""

    run: Callable[[], float]
    """Computes the mel once, and tells the card's milliseconds."""
    audio: Callable[[], np.ndarray]
    why_not_compiled: str


def torch_peer(vocoder: Vocoder, precision: str, mel: np.ndarray) -> TorchPeer | str | None:
    """`best_of_torch`, not compiled where that fails; what is wrong if both do, as a figure; None without PyTorch."""
    if not has_torch():
        return None
    failure = ""
    for compiled in (True, False):
        try:
            return TorchPeer(*best_of_torch(vocoder.model.generator, precision, mel, compiled=compiled), failure)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 - a compiler raises anything, and the other figures are wanted
            failure = failure or in_a_line(error)
    return failure


def wall_ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def whole(report: Report, model: str, speech: Speech) -> None:
    for precision in ("float16", "float32"):
        vocoder = hifigan_rt.load(model, engine="cuda", precision=precision)
        report.note(f"V1 {precision}: engine", str(vocoder.engine_info))
        compare(report, "V1", vocoder, precision, speech)
        ours: dict[str, Any] = {"cuda": round(snr_db(speech.truth, vocoder(speech.clip)), 1)}
        peer = torch_peer(vocoder, precision, speech.clip[None])
        if isinstance(peer, TorchPeer):
            peer.run()
            ours["torch"] = round(snr_db(speech.truth, peer.audio()[0]), 1)
        elif peer:
            ours["torch"] = peer
        report.note(f"V1 {precision}: SNR of 250 frames, dB", ours)
        alone = [vocoder(mel) for mel in speech.list]
        same = all(np.array_equal(one, other) for one, other in zip(alone, vocoder(speech.list), strict=True))
        report.note(f"V1 {precision}: items of a list have the bits that they have alone", same)
        vocoder.close()


def sets(report: Report, model: str, speech: Speech) -> None:
    """The two sets of kernels in turns, on a card that has both."""
    for precision in ("float16", "float32"):
        vocoders = {}
        for name in ("general", "hopper"):
            os.environ[cuda_kernels.KERNELS_VARIABLE] = name
            try:
                vocoders[name] = hifigan_rt.load(model, engine="cuda", precision=precision)
            except EngineError as error:
                report.note(f"V1 {precision}: {name} kernels", in_a_line(error))
            finally:
                del os.environ[cuda_kernels.KERNELS_VARIABLE]
        for items, frames in SHAPES:
            calls = {name: on_card(vocoder, speech.batch(items, frames)) for name, vocoder in vocoders.items()}
            report.note(f"V1 {precision}: {items} x {frames} frames by each set of kernels, ms", in_turns(calls, 30))
        found = {name: round(snr_db(speech.truth, vocoder(speech.clip)), 1) for name, vocoder in vocoders.items()}
        report.note(f"V1 {precision}: SNR of 250 frames by each set of kernels, dB", found)
        for vocoder in vocoders.values():
            vocoder.close()


def clips(report: Report, model: str, speech: Speech) -> None:
    """Accuracy on the first 250 frames of each sample, beside PyTorch's float32."""
    engines = {"cuda float32": ("cuda", "float32"), "cuda float16": ("cuda", "float16")}
    if has_torch():
        engines["torch float32"] = ("torch", "float32")
    vocoders = {
        name: hifigan_rt.load(model, engine=engine, precision=precision, device="cuda:0")
        for name, (engine, precision) in engines.items()
    }
    for clip, mel in speech.clips.items():
        truth = generate(next(iter(vocoders.values())).model.generator, mel)  # type: ignore[union-attr]
        found = {name: round(snr_db(truth, vocoder(mel)), 1) for name, vocoder in vocoders.items()}
        report.note(f"{model}: SNR of {clip}, dB", found)


def others(report: Report, model: str, speech: Speech) -> None:  # noqa: ARG001
    """V2 and V3 with random weights."""
    for name in ("V2", "V3"):
        weights = Weights(name, Path(name), "seeded", seeded_generator(PRESETS[name.lower()].generator))
        for precision in ("float16", "float32"):
            engine = create_engine("cuda", weights, EngineOptions(precision=precision))
            vocoder = Vocoder(weights, engine)
            compare(report, name, vocoder, precision, speech)
            vocoder.close()


def steps(report: Report, model: str, speech: Speech) -> None:  # noqa: ARG001
    """What each kernel takes: `hifigan info --measure --engine cuda`."""
    for precision in ("float16", "float32"):
        command = [sys.executable, "-m", "hifigan_rt", "info", model, "--measure", "--engine", "cuda"]
        command += ["--precision", precision, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        facts = json.loads(done.stdout)
        report.note(
            f"V1 {precision}: steps", [{k: v for k, v in row.items() if k != "layers"} for row in facts["plan"]]
        )
        report.note(f"V1 {precision}: all steps, us", {key: facts[key] for key in facts if key.startswith("us_")})


def streams(report: Report, model: str, speech: Speech) -> None:
    """A minute of many streams in real time, and the bits of 20 of them."""

    def minute(name: str, precision: str, count: int) -> None:
        # Anew, since a model keeps the rooms of streams that were closed.
        with hifigan_rt.load(model, engine="cuda", precision=precision) as vocoder:
            report.note(name, minute_of_streams(vocoder, speech, count))

    works = {}
    for precision, counts in STREAMS.items():
        for count in counts:
            name = f"V1 {precision}: {count} streams for a minute"
            works[name] = partial(minute, name, precision, count)
    each(report, works)


def minute_of_streams(vocoder: Vocoder, speech: Speech, count: int) -> dict[str, Any]:
    assert vocoder.hop_length is not None
    assert vocoder.sample_rate is not None
    period = SEGMENT_FRAMES * vocoder.hop_length / vocoder.sample_rate
    rounds = round(60 / period)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, speech.long.shape[1] - SEGMENT_FRAMES, (count, rounds))
    before = used_mib()
    open_streams = [vocoder.stream(SEGMENT_FRAMES) for _ in range(count)]
    watched = rng.choice(count, 20, replace=False)
    audios: dict[int, list[np.ndarray]] = {int(index): [] for index in watched}
    computed, gpu = [], []
    late = 0
    began = time.perf_counter()
    for turn in range(rounds):
        mels = [speech.long[:, start : start + SEGMENT_FRAMES] for start in starts[:, turn]]
        ready = began + turn * period
        time.sleep(max(0.0, ready - time.perf_counter()))
        started = time.perf_counter()
        given = hifigan_rt.advance(open_streams, mels)
        computed.append(time.perf_counter() - started)
        gpu.append(card_seconds(vocoder))
        late += time.perf_counter() > ready + period
        for index, parts in audios.items():
            parts.append(given[index])
    seconds = time.perf_counter() - began
    after = used_mib()
    wrong = 0
    for index, parts in audios.items():
        mel = np.concatenate([speech.long[:, at : at + SEGMENT_FRAMES] for at in starts[index]], axis=1)
        audio = np.concatenate([*parts, open_streams[index].finish()])
        wrong += not np.array_equal(audio, vocoder(mel))
    for stream in open_streams:
        stream.close()
    spent = np.array(computed[4:]) * 1e3
    quantiles = {
        name: round(float(np.quantile(spent, at)), 1)
        for name, at in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1))
    }
    return {
        "late_rounds": late,
        "rounds": rounds,
        "seconds": round(seconds, 2),
        "round_ms": quantiles,
        "of_which_card_ms": round(1e3 * float(np.median(gpu[4:])), 1),
        "real_time_streams": int(count * period / np.median(computed[4:])),
        "card_mib_of_streams_and_passes": None if before is None or after is None else after - before,
        "of_20_with_other_bits_than_offline": wrong,
    }


def start(report: Report, model: str, speech: Speech) -> None:
    """From the start of a fresh process to the first audio, and what is installed for it."""
    kernels = cuda_kernels.archive()
    files = [Path(str(file.locate())) for file in distribution("hifigan-rt").files or ()]
    sizes = {"package": sum(file.stat().st_size for file in files if file.is_file())}
    sizes |= {"kernels in it": kernels.stat().st_size} if kernels else {}
    report.note("installed, MB", {name: round(size / 1e6, 1) for name, size in sizes.items()})
    path = ROOT / "out/first-audio.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, speech.clip)
    code = (
        f"import time; t = time.perf_counter()\nimport numpy as np, hifigan_rt\nmel = np.load({str(path)!r})\n"
        f"vocoder = hifigan_rt.load({model!r}, engine='cuda', precision='float16')\nvocoder(mel)\n"
        "print(time.perf_counter() - t)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout)
        for _ in range(5)
    ]
    report.note("V1 float16: import to first audio, s", [round(seconds, 3) for seconds in times])


def server(report: Report, model: str, speech: Speech) -> None:  # noqa: ARG001
    """Live streams through `hifigan serve`, its clients in processes of their own."""

    def live(name: str, count: int) -> None:
        asyncio.run(served(report, name, model, count))

    names = {count: f"V1 float16: {count} live streams through the server" for count in (500, 1000, 1500)}
    each(report, {name: partial(live, name, count) for count, name in names.items()})


async def served(report: Report, name: str, model: str, count: int) -> None:
    options = ["--engine", "cuda", "--precision", "float16", "--device", "cuda:0", "--max-streams", "100000"]
    options += ["--memory-budget", str(16 * count)]
    async with running_server(model, report.path.with_name("served.log"), options) as process:
        before = process.read()
        command = [
            sys.executable,
            str(ROOT / "benchmarks/load_generator.py"),
            "live",
            "--url",
            process.url,
            "--model",
            model,
        ]
        command += ["--clients", str(count // CLIENT_PROCESSES), "--seconds", "60", "--frames", "2600"]
        command += ["--segment-frames", str(SEGMENT_FRAMES), "--unchecked"]
        clients = [
            await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(CLIENT_PROCESSES)
        ]
        told = [json.loads((await client.communicate())[0]) for client in clients]
        after = process.read()
        # Before the server ends, which may be an error of its own.
        first = [one["first_audio_ms"]["p95"] for one in told if one["first_audio_ms"]]
        latencies = [one["latency_ms"]["p99"] for one in told if one["latency_ms"]]
        figures = {
            "answers": [one["answers"] for one in told],
            "first_audio_p95_ms": max(first, default=None),
            "latency_p99_ms": max(latencies, default=None),
            "underruns": sum(one["underruns"] for one in told),
            "server_processor_seconds": round(after.processor_seconds - before.processor_seconds, 1),
            "server_memory_mib": round(after.memory_mib),
        }
        report.note(name, figures)


PARTS = {
    "whole": whole,
    "steps": steps,
    "start": start,
    "streams": streams,
    "server": server,
    "others": others,
    "clips": clips,
    # The last: a kernel that fails costs the process its card, and no card has run the second set.
    "sets": sets,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1", help="a V1")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    names = arguments.parts.replace(",", " ").split()
    if unknown := set(names) - PARTS.keys():
        parser.error(
            f"--parts {arguments.parts}: no such part as {', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}"
        )
    report = Report(arguments.output)
    report.note_driver()
    speech = Speech(hifigan_rt.load(arguments.model, engine="cuda"))
    try:
        each(report, {name: partial(PARTS[name], report, arguments.model, speech) for name in names})
    except Failed as error:
        sys.exit(f"run_cuda.py: {error}")


if __name__ == "__main__":
    main()
