"""Every candidate by name: our engines, and the peers at the settings that were found best for them.

A candidate is a class that loads a model in its constructor and has `run`. It is made in a worker process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from hifigan_rt.engines import REGISTRY
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.benchmark.engine_worker import EngineCandidate, EngineJob
from hifigan_rt.tools.benchmark.worker import LoadedCandidate


@dataclass(frozen=True)
class Job:
    """What a worker is to load. Paths are text, so that a job is JSON."""

    candidate: str
    batch: int
    frames: int
    threads: int
    checkpoint: str
    mel: str
    """A .npy of float32 [B, M, T]."""
    files: dict[str, str] = field(default_factory=dict)
    """Converted models by kind: onnx3, onnx4, int8."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class CandidateEntry:
    """How a candidate is made."""

    module: str
    """The module of this folder that loads a peer; empty for our engines."""
    summary: str
    packages: tuple[str, ...] = ()
    """Imported before loading is timed, so that the time to import is told apart."""
    needs: tuple[str, ...] = ()
    """Kinds of converted models."""
    engine: str = ""
    """Of ours; empty for a peer."""
    precision: str = "float32"
    """Of our engine."""


_PEERS: Mapping[str, CandidateEntry] = {
    "ort": CandidateEntry(
        "onnxruntime_peer", "ONNX Runtime float32, all optimisations, spinning threads", ("onnxruntime",), ("onnx3",)
    ),
    "openvino-f32-2d": CandidateEntry(
        "openvino_peer", "OpenVINO float32, 2-D graph, static shape", ("openvino",), ("onnx4",)
    ),
    "openvino-bf16-2d": CandidateEntry(
        "openvino_peer", "OpenVINO bfloat16, 2-D graph, static shape", ("openvino",), ("onnx4",)
    ),
    "openvino-int8-2d": CandidateEntry(
        "openvino_peer", "OpenVINO int8 (nncf, first and last layer float), 2-D graph", ("openvino",), ("int8",)
    ),
    "torch": CandidateEntry("torch_peer", "PyTorch float32, conv2d channels-last, compiled and frozen", ("torch",)),
    "torch-eager": CandidateEntry("torch_peer", "PyTorch float32, conv2d channels-last, eager", ("torch",)),
    "torch-bf16": CandidateEntry(
        "torch_peer", "PyTorch bfloat16, conv2d channels-last, compiled and frozen", ("torch",)
    ),
}

OURS = "our-"
"""Before the name of an engine of ours that a peer has too."""

_LOWER = {"native-bf16": "bfloat16", "native-bf16x3": "bfloat16x3"}
"""The engine `native` in its lower precisions, which need a tile unit."""

NEVER_BY_DEFAULT = ("reference", "torch-eager", "our-torch", "onnxruntime", "openvino", *_LOWER)
"""The reference takes minutes; few processors have a tile unit; the others are measured in a better form as `torch`,
`ort` and `openvino-f32-2d`."""


def entries() -> dict[str, CandidateEntry]:
    """All candidates by name, our engines first."""
    ours = {
        OURS + name if name in _PEERS else name: CandidateEntry(
            "", entry.summary, ("hifigan_rt", *entry.packages), engine=name
        )
        for name, entry in REGISTRY.items()
        if Weights in entry.runs
    }
    lower = {
        name: replace(ours["native"], summary=f"our engine native in {precision}", precision=precision)
        for name, precision in _LOWER.items()
    }
    return ours | lower | dict(_PEERS)


def default_names() -> list[str]:
    """What runs when nothing is named; the engine `native` first, as the one that ratios are taken of."""
    names = [name for name in entries() if name not in NEVER_BY_DEFAULT]
    return sorted(names, key=lambda name: name != "native")


def plain_name(candidate: str) -> str:
    """The registered name: the same candidate can run twice as `name` and `name#2`."""
    return candidate.partition("#")[0]


def numbered(names: list[str]) -> list[str]:
    """Tell repeated names apart, and refuse unknown ones."""
    unknown = sorted(set(names) - set(entries()))
    if unknown:
        raise SystemExit(f"no candidate is called {', '.join(unknown)}: choose from {', '.join(entries())}")
    return [
        name if names[:index].count(name) == 0 else f"{name}#{names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def load_candidate(job: Job) -> LoadedCandidate:
    """Load a job's candidate in this process."""
    name = plain_name(job.candidate)
    entry = entries()[name]
    if entry.engine:
        return EngineCandidate(EngineJob(entry.engine, job.checkpoint, None, entry.precision, job.threads, job.mel))
    candidate: LoadedCandidate = importlib.import_module(f"measuring.{entry.module}").load(job)
    return candidate
