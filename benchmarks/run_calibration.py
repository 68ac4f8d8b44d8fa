"""Measures how well the native engine chooses its way through the caches, on every calibrated instruction set.

    python benchmarks/run_calibration.py -o calibration

Whole V1 with each tuning, in turn, tells which is fast; then fresh processes calibrate, each on its own. The program
fails if one of them chooses a tuning that is more than 15 % slower than the best, or takes longer than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt._native import supported_isas, tunings
from hifigan_rt.engines.native import OFFLINE_SEGMENT_FRAMES, load_generator
from hifigan_rt.engines.native_tuning import TUNING_VARIABLE
from hifigan_rt.graph import Generator
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import CachedModel
from measuring.report import publish
from measuring.result_header import result_header

FRAMES = 250
WORST = 1.15
"""How many times the best tuning's time a chosen one may take."""
MOST_SECONDS = 0.15
"""Length of a calibration with the round that is under way when its 0.1 s are over."""

CALIBRATION = """
import json, sys, time
from hifigan_rt.engines.native import OFFLINE_SEGMENT_FRAMES, load_generator
from hifigan_rt.engines.native_tuning import choose_tuning
from measuring.cases import CachedModel
loaded = load_generator(CachedModel("v1").generator, sys.argv[1], OFFLINE_SEGMENT_FRAMES, 1, {})
start = time.perf_counter()
choice = choose_tuning(sys.argv[1], loaded)
print(json.dumps({"tuning": choice.name, "seconds": time.perf_counter() - start}))
"""


def whole_network(generator: Generator, isa: str, rounds: int) -> dict[str, float]:
    """Median seconds of processor time by tuning, one thread."""
    engine = load_generator(generator, isa, OFFLINE_SEGMENT_FRAMES, 1, {})
    mel = np.ascontiguousarray(random_mel((1, 80, FRAMES)), np.float32)
    taken: dict[str, list[float]] = {name: [] for name in tunings()}
    for number in range(rounds + 1):
        for name, seconds in taken.items():
            engine.tune(name)
            start = time.thread_time()
            engine.run(mel)
            if number:
                seconds.append(time.thread_time() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def calibrate(isa: str) -> dict[str, Any]:
    """What a fresh process that has loaded V1 chooses, and how long it takes."""
    environment = {key: value for key, value in os.environ.items() if key != TUNING_VARIABLE}
    command = [sys.executable, "-c", CALIBRATION, isa]
    here = Path(__file__).parent
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=here)
    choice: dict[str, Any] = json.loads(done.stdout)
    return choice


def measure(generator: Generator, isa: str, rounds: int, processes: int) -> dict[str, Any]:
    """One instruction set."""
    seconds = whole_network(generator, isa, rounds)
    choices = [calibrate(isa) for _ in range(processes)]
    best = min(seconds.values())
    return {
        "isa": isa,
        "milliseconds": {name: 1000 * value for name, value in seconds.items()},
        "chosen": dict(Counter(choice["tuning"] for choice in choices)),
        "too_slow": sum(seconds[choice["tuning"]] > WORST * best for choice in choices),
        "median_seconds": statistics.median(choice["seconds"] for choice in choices),
        "longest_seconds": max(choice["seconds"] for choice in choices),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for row in result["rows"]:
        times = ", ".join(f"{name} {value:.0f}" for name, value in row["milliseconds"].items())
        chosen = ", ".join(f"{name} {count}" for name, count in row["chosen"].items())
        length = f"{row['median_seconds']:.3f} / {row['longest_seconds']:.3f}"
        rows.append([row["isa"], times, chosen, str(row["too_slow"]), length])
    header = ["ISA", f"whole V1, {FRAMES} frames, ms", "chosen", "over 15 % slower", "seconds, median / longest"]
    return markdown_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=50)
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("run_calibration.py", vars(arguments))
    generator = CachedModel("v1").generator
    isas = [isa for isa in supported_isas() if isa != "generic"]
    result["rows"] = rows = [measure(generator, isa, arguments.rounds, arguments.processes) for isa in isas]
    result["complaints"] = [
        f"{row['isa']}: {row['too_slow']} of {arguments.processes} processes chose a slow tuning, the median took "
        f"{row['median_seconds']:.3f} s"
        for row in rows
        if row["too_slow"] or row["median_seconds"] > MOST_SECONDS
    ]
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
