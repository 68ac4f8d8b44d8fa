"""What engine `cuda` costs the host for each of many streams: processor time, on an imitated card that does nothing.

    python benchmarks/run_cuda_host.py -o cuda-host

A card of 5,000 real-time streams leaves 186 ms for a step of all of them. The frames are random: none is padding.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import hifigan_rt
from hifigan_rt.engines import cuda_kernels, cuda_network
from measuring.arguments import add_output
from measuring.cases import ROOT
from measuring.result_header import result_header

FRAMES = 16
ROUNDS = 25


def imitate_a_card() -> None:
    """Put an idle card of 120 GiB in the driver's place."""
    sys.path.insert(0, str(ROOT / "tests"))
    import imitated_card

    os.environ[cuda_kernels.DRIVER_VARIABLE] = str(imitated_card.library())
    cuda_kernels.archive = lambda: Path("imitated.zip")
    cuda_network.image_for = lambda capability: (imitated_card.IMAGE, f"sm_{capability}.imitated")  # type: ignore[attr-defined]
    card = imitated_card.Card()
    for name, value in {"idle": 1, "free": 120 << 30, "total": 120 << 30}.items():
        card.set(name, value)


def measure(count: int) -> dict[str, float]:
    """Microseconds of processor time a stream, the least of all rounds: whole steps, and until the card begins."""
    vocoder = hifigan_rt.load("ljspeech-v1", engine="cuda", precision="float16")
    rng = np.random.default_rng(0)
    speech = rng.uniform(-11, 1, (80, 4000)).astype(np.float32)
    frames = [speech[:, start : start + FRAMES] for start in rng.integers(0, 4000 - FRAMES, count)]
    streams = [vocoder.stream(FRAMES) for _ in range(count)]
    begin, begun = cuda_network.CardNetwork._begin, [0.0]

    def told(self: Any, *pieces: Any, **how: Any) -> Any:
        begun[0] = begun[0] or time.process_time()
        return begin(self, *pieces, **how)

    cuda_network.CardNetwork._begin = told  # type: ignore[method-assign]
    whole, before = [], []
    for _ in range(ROUNDS):
        begun[0] = 0.0
        started = time.process_time()
        hifigan_rt.advance(streams, frames)
        whole.append(time.process_time() - started)
        before.append(begun[0] - started)
    return {
        name: round(min(seconds) / count * 1e6, 2)
        for name, seconds in (("us_a_stream", whole), ("us_a_stream_before_the_card", before))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    add_output(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", hifigan_rt.MelConventionWarning)
    imitate_a_card()
    result = {"streams": arguments.streams, **measure(arguments.streams)}
    print(result)
    if arguments.output is not None:
        header = result_header("run_cuda_host.py", {"streams": arguments.streams, "rounds": ROUNDS})
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(header | {"results": [result]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
