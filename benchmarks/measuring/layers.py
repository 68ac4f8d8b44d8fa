"""Time per layer inside a runtime, by its own profiler or by the engine's own timing."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.graph import Graph, Layer
from measuring.candidates import Job

OTHER = "other"
"""Where the time of activations, sums and reorderings that no convolution took in is booked."""


@dataclass(frozen=True)
class LayerFigure:
    """One layer of one engine."""

    layer: str
    stage: str
    """conv_pre, stage 1 to n, conv_post."""
    algorithm: str
    seconds: float
    direct_macs: int
    """Of direct convolution, over all frames."""
    executed_macs: int | None
    """Real multiplications of the algorithm's products; transforms and partial tiles not counted. None if unknown."""

    def to_json(self) -> dict[str, object]:
        return asdict(self) | {"effective_gflops": 2 * self.direct_macs / self.seconds / 1e9}


def products_per_row(algorithm: str, kernel_size: int) -> float | None:
    """Real products per output row and pair of channels; None for an algorithm that is not known here.

    A tile of the engine's FFTs of n samples gives n - k + 3 rows from three products for each of its n/2 - 1 complex
    bins, one for each of the two real bins, and one for each of its end rows (native/kernels/spectral-inl.h).
    """
    if algorithm == "direct":
        return float(kernel_size)
    if match := re.fullmatch(r"fft(\d+)", algorithm):
        samples = int(match[1])
        return (3 * samples // 2 + 1) / (samples - kernel_size + 3)
    return None


def work_of_layers(graph: Graph, frames: int) -> Iterator[tuple[Layer, str, int]]:
    """Every layer with its stage and its direct multiply-accumulates over so many frames."""
    stage = 0
    ends = (graph.layers[0], graph.layers[-1])
    for layer, macs in graph.macs_of_layers():
        if layer.kind == "conv_transpose":
            stage += 1
        yield layer, layer.name if layer in ends else f"stage {stage}", frames * macs


def figures(
    graph: Graph, frames: int, seconds: Mapping[str, float], algorithms: Mapping[str, str]
) -> list[LayerFigure]:
    """Join seconds by layer name with the work of each layer; layers without a time are left out."""
    rows = []
    for layer, stage, macs in work_of_layers(graph, frames):
        if layer.name not in seconds:
            continue
        algorithm = algorithms.get(layer.name, "direct")
        products = products_per_row(algorithm, layer.kernel_size) if layer.kind == "conv" else layer.kernel_size
        executed = None if products is None else round(macs * products / layer.kernel_size)
        rows.append(LayerFigure(layer.name, stage, algorithm, seconds[layer.name], macs, executed))
    return rows


def _owner(names: list[str], layers: set[str]) -> str:
    """The layer that a profiled node belongs to: of the names of what was fused into it, the convolution's."""
    return next((name for name in names if name in layers), OTHER)


def onnxruntime_seconds(job: Job, mel: np.ndarray, layers: set[str], rounds: int) -> dict[str, float]:
    """Median seconds per layer by ONNX Runtime's profiler."""
    from measuring.onnxruntime_peer import OnnxRuntimePeer

    with tempfile.TemporaryDirectory() as folder:
        peer = OnnxRuntimePeer(job, profile_prefix=str(Path(folder) / "profile"))
        for _ in range(rounds + 1):
            peer.run(mel)
        events = json.loads(Path(peer.session.end_profiling()).read_text())
    durations = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e6)
    seconds: dict[str, float] = defaultdict(float)
    for name, times in durations.items():
        seconds[_owner([name], layers)] += statistics.median(times[1:] or times)
    return dict(seconds)


def openvino_seconds(job: Job, mel: np.ndarray, layers: set[str], rounds: int) -> dict[str, float]:
    """Median seconds per layer by OpenVINO's performance counters."""
    from measuring.openvino_peer import OpenVinoPeer

    peer = OpenVinoPeer(job, profile=True)
    origins = {
        node.get_friendly_name(): node.get_rt_info()["originalLayersNames"].astype(str).split(",")
        for node in peer.compiled.get_runtime_model().get_ordered_ops()
    }
    durations = defaultdict(list)
    for number in range(rounds + 1):
        peer.run(mel)
        for counter in peer.request.profiling_info if number else ():
            durations[counter.node_name].append(counter.real_time.total_seconds())
    seconds: dict[str, float] = defaultdict(float)
    for name, times in durations.items():
        seconds[_owner(origins.get(name, [name]), layers)] += statistics.median(times)
    return dict(seconds)


PROFILED: Mapping[str, Callable[[Job, np.ndarray, set[str], int], dict[str, float]]] = {
    "ort": onnxruntime_seconds,
    "openvino-f32-2d": openvino_seconds,
    "openvino-bf16-2d": openvino_seconds,
}
"""The peers that can be asked."""
