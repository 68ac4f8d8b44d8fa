"""Measures what the native engine promises beside its speed: accuracy, memory, loading, interruption, denormals.

    python benchmarks/native_figures.py -o native [--wavs FOLDER]

Accuracy is the SNR against the float64 reference, for every instruction set of this machine, model and algorithm, on
real mels and at the ends of their range. Memory and loading are taken in fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt._native import supported_isas
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import ISA_VARIABLE, create
from hifigan_rt.engines.reference import generate
from hifigan_rt.graph import Generator
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import CACHE, MODELS, ROOT, CachedModel, recordings_mel
from measuring.report import write_result
from measuring.result_header import result_header

FRAMES = 60
ALGORITHMS = ("auto", "direct", "fft8", "fft16", "fft32", "fft64")
SILENCE, LOUD = -11.5, 2.5

LOADING = """
import json, sys, time
import numpy as np
import hifigan_rt
from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib
start = time.perf_counter()
vocoder = hifigan_rt.load(sys.argv[1], config="v1", engine="native")
loaded = time.perf_counter() - start
peaks, io = [], []
for frames in map(int, sys.argv[2].split(",")):
    mel = np.full((80, frames), -6, np.float32)
    audio = vocoder(mel)
    peaks.append(peak_memory_mib())
    io.append((mel.nbytes + audio.nbytes) / 2**20)
print(json.dumps({"load_seconds": loaded, "peak_mib": peaks, "input_and_output_mib": io}))
"""

INTERRUPTION = """
import os, signal, sys, threading, time
import numpy as np
import hifigan_rt
# A shell that started this in the background made it ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
vocoder = hifigan_rt.load(sys.argv[1], config="v1", engine="native")
mel = np.full((80, 100000), -6, np.float32)
def interrupt():
    time.sleep(1.0)
    global sent
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    vocoder(mel)
except KeyboardInterrupt:
    print(time.perf_counter() - sent)
"""


def in_process(code: str, *arguments: str) -> str:
    """Standard output of a fresh process that runs the code."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def load_on(isa: str, generator: Generator, algorithm: str) -> Any:
    os.environ[ISA_VARIABLE] = isa
    try:
        plan = {} if algorithm == "auto" else {"*": algorithm}
        return create(Weights("benchmark", Path(), "", generator), EngineOptions(settings={"plan": plan}))
    finally:
        del os.environ[ISA_VARIABLE]


def accuracy(mels: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    for name in MODELS:
        model = CachedModel(name)
        references = {kind: generate(model.generator, mel) for kind, mel in mels.items()}
        for isa in supported_isas():
            for algorithm in ALGORITHMS:
                engine = load_on(isa, model.generator, algorithm)
                used = {layer.algorithm for layer in engine.plan() if layer.kind == "conv"}
                row: dict[str, Any] = {"model": name, "isa": engine.isa, "algorithm": algorithm, "used": sorted(used)}
                row |= {kind: snr_db(references[kind], engine.run(mel[None])[0]) for kind, mel in mels.items()}
                engine.close()
                print(row, flush=True)
                yield row


def denormals(generator: Generator) -> dict[str, float]:
    """Seconds for a mel whose activations run into denormals, against an ordinary one: the ratio of medians."""
    quiet = Generator(
        generator.graph,
        # Weights so small that every activation behind the first layer is a denormal number, without biases to lift it.
        {key: array * (1e-38 if key == "conv_pre.weight" else float(key.endswith(".weight")))
         for key, array in generator.weights.items()},
    )  # fmt: skip
    mel = random_mel((1, 80, 250))
    engines = [create(Weights("m", Path(), "", weights), EngineOptions()) for weights in (quiet, generator)]
    seconds: list[list[float]] = [[], []]
    for _ in range(11):
        for engine, taken in zip(engines, seconds, strict=True):
            start = time.perf_counter()
            engine.run(np.ascontiguousarray(mel, np.float32))
            taken.append(time.perf_counter() - start)
    return {"denormal_over_ordinary": statistics.median(seconds[0]) / statistics.median(seconds[1])}


def batch_gain(generator: Generator, frames: int) -> float:
    """Throughput per item of a batch of 8 over items one by one, in turn: the ratio of medians."""
    mels = np.random.default_rng(0).uniform(-9, -2, (8, 80, frames)).astype(np.float32)
    engine = create(Weights("benchmark", Path(), "", generator), EngineOptions())
    together, alone = [], []
    for _ in range(10):
        start = time.perf_counter()
        engine.run(mels)
        middle = time.perf_counter()
        for mel in mels:
            engine.run(mel[None])
        together.append(middle - start)
        alone.append(time.perf_counter() - middle)
    engine.close()
    return statistics.median(alone[1:]) / statistics.median(together[1:])


def after_rest(generator: Generator) -> float:
    """Time of 8 frames after 0.1 s of rest, in which threads sleep, over their time at once: the ratio of medians.

    One after the other, not by turns: a call at once would run on the processors of the rested one before it.
    """
    mel = np.random.default_rng(0).uniform(-9, -2, (1, 80, 8)).astype(np.float32)
    engine = create(Weights("benchmark", Path(), "", generator), EngineOptions())
    medians = []
    for pause in (0.1, 0.0):
        taken = []
        for _ in range(60):
            time.sleep(pause)
            start = time.perf_counter()
            engine.run(mel)
            taken.append(time.perf_counter() - start)
        medians.append(statistics.median(taken[5:]))
    engine.close()
    return medians[0] / medians[1]


def costs() -> dict[str, Any]:
    model = CachedModel("v1")
    path = str(model.safetensors())
    fresh = [json.loads(in_process(LOADING, path, "250")) for _ in range(5)]
    long = json.loads(in_process(LOADING, path, "1000,20000"))
    growth = long["peak_mib"][1] - long["peak_mib"][0]
    return {
        "load_seconds": statistics.median(run["load_seconds"] for run in fresh),
        "peak_mib_at_250_frames": statistics.median(run["peak_mib"][0] for run in fresh),
        "growth_mib_1000_to_20000_frames": growth,
        "growth_beyond_input_and_output_mib": growth - (long["input_and_output_mib"][1]),
        "interrupted_after_seconds": float(in_process(INTERRUPTION, path)),
        **{f"batch_8_gain_at_{frames}_frames": batch_gain(model.generator, frames) for frames in (100, 250)},
        "after_rest_over_at_once": after_rest(model.generator),
        **denormals(model.generator),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    add_output(parser, required=True)
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    arguments = parser.parse_args()
    speech = recordings_mel(arguments.wavs, CachedModel("v1").mel_config, 4 * FRAMES)[:, -FRAMES:]
    mels = {
        "speech": np.ascontiguousarray(speech),
        "silence": np.full((80, FRAMES), SILENCE, np.float32),
        "loud": np.full((80, FRAMES), LOUD, np.float32),
    }
    result = result_header("native_figures.py", {"frames": FRAMES})
    result["costs"] = costs()
    print(json.dumps(result["costs"], indent=2), flush=True)
    result["accuracy_snr_db"] = list(accuracy(mels))
    rows = [
        [row["model"], row["isa"], row["algorithm"], " ".join(row["used"]), *(f"{row[kind]:.1f}" for kind in mels)]
        for row in result["accuracy_snr_db"]
    ]
    table = markdown_table(["model", "ISA", "algorithm", "used", *mels], rows)
    facts = markdown_table(["figure", "value"], [[key, f"{value:.3f}"] for key, value in result["costs"].items()])
    write_result(arguments.output, result, f"{facts}\n\nSNR against float64, dB:\n\n{table}\n")
    print(f"the float64 references and models are kept in {CACHE}")


if __name__ == "__main__":
    main()
