"""Measures what streaming costs: the same mel through a stream, segment by segment, against one offline call.

    python benchmarks/run_streaming.py -o streaming

Both run on one loaded engine, in strict rotation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import choose_engine, create_engine
from hifigan_rt.engines.base import Engine, EngineOptions
from hifigan_rt.graph import Graph
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.benchmark.mels import crops
from hifigan_rt.tools.benchmark.rotation import chosen_rounds, rotate
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output, integers, names
from measuring.cases import CACHE, MODELS, ROOT, CachedModel, recordings_mel
from measuring.report import write_result
from measuring.result_header import result_header

NO_PROCESS_OF_ITS_OWN = 0.0
"""Processor seconds of a turn in this very process, which the rotation counts already."""


class Offline:
    """One call with the whole mel."""

    def __init__(self, engine: Engine, mel: np.ndarray) -> None:
        self._engine, self._mel = engine, mel
        self.audio = np.empty(0, np.float32)

    def run(self) -> tuple[float, float]:
        start = time.perf_counter()
        self.audio = self._engine.run(self._mel[None])[0]
        return time.perf_counter() - start, NO_PROCESS_OF_ITS_OWN


class Streamed:
    """A fresh stream, given one segment of frames per push."""

    def __init__(self, engine: Engine, graph: Graph, mel: np.ndarray, segment_frames: int) -> None:
        self._engine, self._graph, self._mel, self._segment_frames = engine, graph, mel, segment_frames
        self.audio = np.empty(0, np.float32)
        self.longest_push_seconds: list[float] = []

    def run(self) -> tuple[float, float]:
        start = time.perf_counter()
        stream = self._engine.stream(self._segment_frames, self._graph)
        pieces, pushes = [], []
        for first in range(0, self._mel.shape[1], self._segment_frames):
            pushed = time.perf_counter()
            pieces.append(stream.push(self._mel[:, first : first + self._segment_frames]))
            pushes.append(time.perf_counter() - pushed)
        pieces.append(stream.finish())
        seconds = time.perf_counter() - start
        self.audio = np.concatenate(pieces)
        self.longest_push_seconds.append(max(pushes))
        return seconds, NO_PROCESS_OF_ITS_OWN


def measure(model: CachedModel, frames: int, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    mel = crops(recordings_mel(arguments.wavs, model.mel_config, frames), 1, frames)[0]
    resolved = resolve_model(model.safetensors())
    engine = create_engine(
        choose_engine(arguments.engine), resolved, EngineOptions(threads=threads, precision=arguments.precision)
    )
    graph = resolved.graph
    assert graph is not None
    offline = Offline(engine, mel)
    streams = {segment: Streamed(engine, graph, mel, segment) for segment in arguments.segments}
    turns = {"offline": offline} | {f"segments of {segment}": turn for segment, turn in streams.items()}
    rounds = rotate(turns, arguments.rounds, arguments.max_seconds, settle=lambda: None)
    engine.close()
    used, kind = chosen_rounds(rounds.others)
    whole = [rounds.seconds["offline"][index] for index in used]
    record: dict[str, Any] = {
        "model": model.name, "weights": model.weights, "frames": frames, "threads": threads,
        "engine": arguments.engine, "precision": arguments.precision,
        "others": rounds.others, "seconds": rounds.seconds, "rounds_used": kind,
        "offline_ms": 1000 * statistics.median(whole), "segments": {},
    }  # fmt: skip
    for segment, turn in streams.items():
        ratio = paired_ratio([rounds.seconds[f"segments of {segment}"][index] for index in used], whole)
        difference = snr_db(offline.audio, turn.audio)
        record["segments"][segment] = {
            "ratio_to_offline": asdict(ratio) | {"text": str(ratio)},
            "longest_push_ms": 1000 * statistics.median(turn.longest_push_seconds),
            "snr_to_offline_db": difference if np.isfinite(difference) else None,
        }
    return record


def markdown(result: dict[str, Any]) -> str:
    table = [
        [
            f"{case['model']} ({case['weights']}), {case['frames']} frames",
            str(case["threads"]),
            f"{case['offline_ms']:.1f}",
            str(segment),
            facts["ratio_to_offline"]["text"],
            f"{facts['longest_push_ms']:.1f}",
            "equal" if facts["snr_to_offline_db"] is None else f"{facts['snr_to_offline_db']:.1f}",
        ]
        for case in result["cases"]
        for segment, facts in case["segments"].items()
    ]
    header = ["case", "threads", "offline ms", "segment", "stream / offline", "longest push ms", "SNR to offline dB"]
    title = f"# Streaming\n\n{result['machine']['cpu']}; {result['settings']['precision']}; commit {result['commit']}."
    return f"{title}\n\n{markdown_table(header, table)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="native", help="any that runs weights")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--models", type=names, default=list(MODELS))
    parser.add_argument("--frames", type=integers, default=[250, 1000])
    parser.add_argument("--threads", type=integers, default=[1, 2])
    parser.add_argument("--segments", type=integers, default=[16, 32])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--max-seconds", type=float, default=60)
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples")
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("run_streaming.py", vars(arguments))
    result["cases"] = []
    for name in arguments.models:
        model = CachedModel(name, CACHE)
        for frames in arguments.frames:
            for threads in arguments.threads:
                result["cases"].append(measure(model, frames, threads, arguments))
                if arguments.output:
                    write_result(arguments.output, result, markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
