"""Whole generators on builds of the package by several compilers, in alternation: are they as fast, with the same bits?

    python benchmarks/run_builds.py source=.venv/bin/python wheel=build/wheels/trial/bin/python -o builds

Each build is named, and given as the Python that has it installed. The first one is what the others are compared with.
Speed is of V1 with its real weights, on every instruction set, one thread, in processor time, which what others run
disturbs less than a clock; every build gets several processes, since where the memory of one lies makes a difference.
Bits are those of V1, V2 and V3, whole and streamed. The program fails where a build is slower or has other bits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt._native import supported_isas
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import MODELS, ROOT, CachedModel, recordings_mel
from measuring.report import publish
from measuring.result_header import result_header

FRAMES_OF_BITS = (1, 77, 300)
"""The shortest mel, one within a segment of 256 frames and one beyond it."""

# Only what the package promises to users: a build may be of another commit.
WORKER = """
import hashlib, sys, time
import numpy as np, hifigan_rt
model, config, mels, task = sys.argv[1:]
vocoder = hifigan_rt.load(model, config=config, engine="native", threads=1)
mels = np.load(mels)
if task == "bits":
    digest = hashlib.sha256()
    for mel in mels.values():
        audio = vocoder(mel)
        stream = vocoder.stream(segment_frames=16)
        parts = [stream.push(mel[:, at : at + 50]) for at in range(0, mel.shape[1], 50)]
        for array in (audio, *parts, stream.finish()):
            assert np.isfinite(array).all()
            digest.update(array.tobytes())
    print(digest.hexdigest())
    sys.exit()
mel = mels["speed"]
vocoder(mel)
print("ready", flush=True)
for line in sys.stdin:
    started = time.process_time()
    vocoder(mel)
    print(time.process_time() - started, flush=True)
"""


class Build:
    """An installed package, asked in processes of its own."""

    def __init__(self, text: str) -> None:
        self.name, separator, self.python = text.partition("=")
        if not separator:
            raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PYTHON")

    def start(self, model: CachedModel, mels: Path, isa: str, task: str) -> subprocess.Popen[str]:
        # Without the variables of this process's Python; the source tree is not on the path of `-c` either.
        command = [self.python, "-P", "-c", WORKER, str(model.safetensors()), model.name, str(mels), task]
        return subprocess.Popen(
            command, env=os.environ | {ISA_VARIABLE: isa}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def bits(self, model: CachedModel, mels: Path, isa: str) -> str:
        """SHA-256 of everything that a model gives."""
        out, _ = self.start(model, mels, isa, "bits").communicate()
        if not out:
            raise SystemExit(f"{self.name} gave nothing for {model.name} on {isa}")
        return out.strip()


class Runner:
    """A process of a build that runs a mel when asked, and sleeps in between."""

    def __init__(self, build: Build, model: CachedModel, mels: Path, isa: str) -> None:
        self._process = build.start(model, mels, isa, "speed")
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended: see above")
        return line

    def seconds(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self._process.communicate()


def measure(builds: Sequence[Build], model: CachedModel, mels: Path, isa: str, rounds: int) -> list[list[float]]:
    """Processor seconds `[build][round]` of one process per build, the order turned around in every round."""
    runners = [Runner(build, model, mels, isa) for build in builds]
    seconds: list[list[float]] = [[] for _ in builds]
    order = list(range(len(builds)))
    for _ in range(rounds):
        for index in order:
            seconds[index].append(runners[index].seconds())
        order.reverse()
    for runner in runners:
        runner.close()
    return seconds


def speed(
    builds: Sequence[Build], model: CachedModel, mels: Path, isa: str, asked: argparse.Namespace
) -> dict[str, Any]:
    """One row per instruction set: seconds of every build, and ratios to the first."""
    seconds: list[list[float]] = [[] for _ in builds]
    for _ in range(asked.processes):
        for all_of, more in zip(seconds, measure(builds, model, mels, isa, asked.rounds), strict=True):
            all_of.extend(more)
    row: dict[str, Any] = {"model": model.name, "isa": isa, "builds": {}}
    for build, times in zip(builds, seconds, strict=True):
        ratio = paired_ratio(seconds[0], times)
        row["builds"][build.name] = {
            "processor_seconds": times,
            "median_ms": 1000 * float(np.median(times)),
            "times_as_fast": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "text": str(ratio)},
        }
        print(isa, build.name, row["builds"][build.name]["median_ms"], ratio, flush=True)
    return row


def markdown(result: dict[str, Any]) -> str:
    """Two tables: speed, and bits."""
    rows = [
        [row["isa"], name, f"{facts['median_ms']:.1f}", facts["times_as_fast"]["text"]]
        for row in result["speed"]
        for name, facts in row["builds"].items()
    ]
    bits = [[row["model"], row["isa"], *(digest[:12] for digest in row["builds"].values())] for row in result["bits"]]
    machine = result["machine"]
    names = list(result["bits"][0]["builds"])
    return "\n".join(
        [
            f"# Builds side by side\n\n{machine['cpu']}; {result['date']}, commit {result['commit']}. V1 with real "
            f"weights, {result['settings']['frames']} frames, one thread, processor time; the ratio is the time of "
            f"{names[0]} over the build's, the median over rounds with its 95 % bootstrap interval.\n",
            markdown_table(["ISA", "build", "median ms", "times as fast"], rows),
            "\nSHA-256 of what each build gives for three mels, whole and streamed:\n",
            markdown_table(["model", "ISA", *names], bits),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", type=Build, nargs="+", metavar="NAME=PYTHON")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10, help="of each process")
    parser.add_argument("--processes", type=int, default=4, help="of each build")
    add_output(parser)
    asked = parser.parse_args()
    models = [CachedModel(name) for name in MODELS]
    settings = {"frames": asked.frames, "rounds": asked.rounds, "processes": asked.processes, "threads": 1}
    result = result_header("run_builds.py", settings) | {"bits": [], "speed": [], "complaints": []}
    result["settings"]["load_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        mels = Path(folder) / "mels.npz"
        real = {"speed": recordings_mel(ROOT / "samples", models[0].mel_config, asked.frames)}
        np.savez(mels, **real, **{f"random {frames}": random_mel((80, frames)) for frames in FRAMES_OF_BITS})
        for isa in supported_isas():
            for model in models:
                digests = {build.name: build.bits(model, mels, isa) for build in asked.builds}
                print(model.name, isa, digests, flush=True)
                result["bits"].append({"model": model.name, "isa": isa, "builds": digests})
                if len(set(digests.values())) > 1:
                    result["complaints"].append(f"{model.name} on {isa}: the bits differ")
        for isa in supported_isas():
            row = speed(asked.builds, models[0], mels, isa, asked)
            result["speed"].append(row)
            result["complaints"] += [
                f"{name} is slower on {isa}: {facts['times_as_fast']['text']}"
                for name, facts in row["builds"].items()
                if facts["times_as_fast"]["high"] < 1
            ]
    publish(asked.output, result, markdown(result))


if __name__ == "__main__":
    main()
