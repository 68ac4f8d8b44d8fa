"""Measures each layer: effective GFLOPS of the engine `native` and of the peers, against the measured float32 ceiling.

    python benchmarks/run_kernels.py -o kernels

Effective: the operations of direct convolution per second. Executed: the products that the algorithm really makes.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

from hifigan_rt.engines import choose_engine, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.ceiling import measure_multiply_add_ceiling
from hifigan_rt.tools.benchmark.mels import crops
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.candidates import Job
from measuring.cases import CACHE, MODELS, ROOT, CachedModel, recordings_mel
from measuring.layers import OTHER, PROFILED, LayerFigure, figures
from measuring.report import write_result
from measuring.result_header import result_header

NATIVE = "native"


def native_layers(model: CachedModel, threads: int, rounds: int) -> tuple[list[LayerFigure], float]:
    """The engine's own timing, which runs one segment of whole-mel synthesis, and no time outside the layers."""
    resolved = resolve_model(model.safetensors())
    engine: Any = create_engine(choose_engine(NATIVE), resolved, EngineOptions(threads=threads))
    plan = engine.measured_plan(rounds)
    graph = model.generator.graph
    # Rows per segment of the first layer are the frames of a segment: its stride is 1.
    frames = next(entry.rows for entry in plan if entry.layer == graph.layers[0].name)
    seconds = {entry.layer: entry.measured_us / 1e6 for entry in plan}
    algorithms = {entry.layer: entry.algorithm for entry in plan}
    engine.close()
    return figures(graph, frames, seconds, algorithms), 0.0


def peer_layers(
    name: str, model: CachedModel, mel: np.ndarray, threads: int, rounds: int
) -> tuple[list[LayerFigure], float]:
    graph = model.generator.graph
    files = {"onnx3": str(model.onnx(3)), "onnx4": str(model.onnx(4))}
    job = Job(name, 1, mel.shape[2], threads, str(model.safetensors()), "", files)
    seconds = PROFILED[name](job, mel, {layer.name for layer in graph.layers}, rounds)
    return figures(graph, mel.shape[2], seconds, {}), seconds.get(OTHER, 0.0)


def ceiling_record(threads: int) -> dict[str, Any]:
    """The float32 ceiling as results keep it."""
    ceiling = measure_multiply_add_ceiling(threads)
    return {
        "method": ceiling.method, "threads": threads, "median_gflops": ceiling.median, "best_gflops": ceiling.best,
    }  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    ceiling = result["ceiling"]
    machine = result["machine"]
    parts = [
        f"# Layers\n\n{machine['cpu']}; commit {result['commit']}; threads: {result['settings']['threads']}. "
        f"Float32 ceiling {ceiling['best_gflops']:.0f} GFLOPS ({ceiling['method']}).\n"
    ]
    header = ["layer", "algorithm", "ms", "effective GFLOPS", "executed GFLOPS", "executed / ceiling"]
    for run in result["runs"]:
        rows = []
        for row in run["layers"]:
            executed = None if row["executed_macs"] is None else 2 * row["executed_macs"] / row["seconds"] / 1e9
            rows.append(
                [
                    row["layer"],
                    row["algorithm"],
                    f"{1000 * row['seconds']:.3f}",
                    f"{row['effective_gflops']:.0f}",
                    "" if executed is None else f"{executed:.0f}",
                    "" if executed is None else f"{executed / ceiling['best_gflops']:.0%}",
                ]
            )
        total = sum(row["seconds"] for row in run["layers"]) + run["other_seconds"]
        work = 2e-9 * sum(row["direct_macs"] for row in run["layers"])
        rows.append([OTHER, "", f"{1000 * run['other_seconds']:.3f}", "", "", ""])
        rows.append(["all", "", f"{1000 * total:.3f}", f"{work / total:.0f}", "", ""])
        parts.append(f"## {run['engine']}, {run['model']} ({run['weights']})\n\n{markdown_table(header, rows)}\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = [NATIVE, *PROFILED]
    parser.add_argument("--engines", default=",".join(choices), metavar="NAME,...", help=f"of {', '.join(choices)}")
    parser.add_argument("--models", default=",".join(MODELS), metavar="v1,v2,v3")
    parser.add_argument("--frames", type=int, default=250, help="of the peers; native takes one segment")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    add_output(parser)
    arguments = parser.parse_args()
    for given, known in ((arguments.engines, choices), (arguments.models, MODELS)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    if arguments.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = result_header("run_kernels.py", vars(arguments)) | {"ceiling": ceiling_record(arguments.threads)}
    result["runs"] = runs = []
    for model_name in arguments.models.split(","):
        model = CachedModel(model_name, CACHE)
        mel = crops(recordings_mel(ROOT / "samples", model.mel_config, arguments.frames), 1, arguments.frames)
        for name in arguments.engines.split(","):
            rows, other = (
                native_layers(model, arguments.threads, arguments.rounds)
                if name == NATIVE
                else peer_layers(name, model, mel, arguments.threads, arguments.rounds)
            )
            runs.append({
                "engine": name, "model": model_name, "weights": model.weights, "other_seconds": other,
                "layers": [row.to_json() for row in rows],
            })  # fmt: skip
    print(markdown(result))
    if arguments.output:
        write_result(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
