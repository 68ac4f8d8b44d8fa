"""What is measured: models, mels of recordings, and the float64 reference of each case, kept in a cache folder."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hifigan_rt.config import PRESETS, GeneratorConfig, MelConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import HifiganError
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.graph import Generator, bind, build_graph
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.files import atomic_path
from hifigan_rt.tools.benchmark.mels import input_data

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "out" / "benchmarks"
MODELS = ("v1", "v2", "v3")
_SEED = 1


@dataclass(frozen=True)
class Case:
    """One cell of the tables."""

    model: str
    frames: int
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"{self.model} mel_len={self.frames} batch={self.batch} threads={self.threads}"


class CachedModel:
    """One of `MODELS` as the files that the candidates load: safetensors, and ONNX of rank 3 and 4."""

    def __init__(self, name: str, cache: Path = CACHE) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        mel = PRESETS[name].mel
        assert mel is not None
        self.name, self.mel_config, self.cache = name, mel, cache
        self.weights = "ljspeech-v1 (real)" if name == "v1" else f"random, seed {_SEED}"
        self.generator = _generator(name)

    @cached_property
    def digest(self) -> str:
        """Of the weights, so that no cached file outlives them."""
        total = hashlib.sha256()
        for key in sorted(self.generator.weights):
            total.update(self.generator.weights[key].tobytes())
        return total.hexdigest()[:12]

    def _path(self, suffix: str) -> Path:
        return self.cache / f"{self.name}-{self.digest}{suffix}"

    def safetensors(self) -> Path:
        path = self._path(".safetensors")
        if not path.exists():
            write_safetensors(self.generator, self.mel_config, path, self.weights)
        return path

    def onnx(self, rank: int) -> Path:
        """Always written anew: the exporter may have changed, the weights need not have."""
        path = self._path(f"-rank{rank}.onnx")
        serialised = build_onnx(self.generator, self.mel_config, rank=rank).SerializeToString()
        with atomic_path(path) as part:
            part.write_bytes(serialised)
        return path

    def reference(self, mel: np.ndarray) -> np.ndarray:
        """Float64 `[B, N]` of the reference engine for `[B, M, T]`; each item is computed once and kept."""
        return np.stack([self._reference_of(item) for item in mel])

    def _reference_of(self, item: np.ndarray) -> np.ndarray:
        digest = hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest()[:12]
        path = self._path(f"-{item.shape[1]}-{digest}.npy")
        if path.exists():
            kept: np.ndarray = np.load(path)
            return kept
        audio = generate(self.generator, item)
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, audio)
        return audio


def _generator(name: str) -> Generator:
    if name == "v1":
        generator = resolve_model("ljspeech-v1").generator
        assert generator is not None
        return generator
    return seeded_generator(PRESETS[name].generator)


def seeded_generator(config: GeneratorConfig) -> Generator:
    """Random weights of the golden tests, which keep the signal's variance through the layers, as trained ones do."""
    sys.path.insert(0, str(ROOT / "tests"))
    from golden.seeded import seeded_weights

    graph = build_graph(config)
    weights = seeded_weights(graph.weight_shapes(), _SEED)
    return bind(graph, {key: array.astype(np.float32) for key, array in weights.items()})


def recordings_mel(folder: Path, config: MelConfig, frames: int) -> np.ndarray:
    """Log-mel `[M, T]` of the recordings of a folder, as `hifigan bench` reads them, until `frames` are there."""
    try:
        return input_data([str(folder)], config, config.num_mels, frames).mel
    except HifiganError as error:
        raise SystemExit(str(error)) from error
