"""What an engine's memory does while mels of ever new lengths come.

python benchmarks/run_lengths.py --engine openvino --model v2
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.model.kinds import Weights
from measuring.cases import MODELS, ROOT, CachedModel, recordings_mel

SHORTEST = 20


def resident_mib() -> float:
    """Linux only."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--model", choices=MODELS, default="v2")
    parser.add_argument("--lengths", type=int, default=300, help="from 20 frames upwards, shuffled")
    parser.add_argument("--passes", type=int, default=2)
    arguments = parser.parse_args()
    model = CachedModel(arguments.model)
    lengths = np.random.default_rng(1).permutation(np.arange(SHORTEST, SHORTEST + arguments.lengths))
    mel = recordings_mel(ROOT / "samples", model.mel_config, int(lengths.max()))
    engine = create_engine(
        arguments.engine,
        Weights(model.name, model.safetensors(), "benchmark", model.generator, model.mel_config),
        EngineOptions(),
    )
    engine.run(np.ascontiguousarray(mel[None, :, : lengths.max()]))
    print(f"{model.name} on {engine.info.name}: {resident_mib():.0f} MiB after the longest")
    for number in range(1, arguments.passes + 1):
        started = time.perf_counter()
        for length in lengths:
            engine.run(np.ascontiguousarray(mel[None, :, :length]))
        milliseconds = 1e3 * (time.perf_counter() - started) / lengths.sum()
        print(f"pass {number} over {len(lengths)} lengths: {resident_mib():.0f} MiB, {milliseconds:.2f} ms per frame")


if __name__ == "__main__":
    main()
