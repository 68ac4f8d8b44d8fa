"""The part of a voice that turns phoneme ids into latents, in ONNX Runtime, with random numbers drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.engines import check_engine
from hifigan_rt.engines.onnxruntime_session import CPU_PROVIDER, first_line, onnxruntime_errors, open_session
from hifigan_rt.errors import EngineError
from hifigan_rt.formats.onnx_stages import Noise, TensorType, load_stages

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession, RunOptions

IDS, LENGTHS, SCALES, SPEAKER = "input", "input_lengths", "scales", "sid"
"""Names of a Piper voice's inputs."""

_DATA_TYPES = {
    "tensor(float)": 1, "tensor(uint8)": 2, "tensor(int8)": 3, "tensor(uint16)": 4, "tensor(int16)": 5,
    "tensor(int32)": 6, "tensor(int64)": 7, "tensor(bool)": 9, "tensor(float16)": 10, "tensor(double)": 11,
    "tensor(uint32)": 12, "tensor(uint64)": 13,
}  # fmt: skip
"""Numbers in TensorProto.DataType by ONNX Runtime's names."""
_GIVEN_BACK_FROM_IDS = 512
"""Ids from which a run gives its memory back: ONNX Runtime would keep what the longest sentence ever took, while short
sentences take little, and would pay for asking anew."""

_NOISE_DTYPES = {1: np.float32, 10: np.float16, 11: np.float64}


@dataclass(frozen=True)
class Scales:
    """How a text is spoken, in the order of the model's input."""

    noise: float
    """Standard deviation of what is added to the latents."""
    length: float
    """Duration of all phonemes, as a factor."""
    noise_w: float
    """Standard deviation of what varies the durations."""


@dataclass(frozen=True)
class _OpenStage:
    session: InferenceSession
    noise: tuple[Noise, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class TextPart:
    """All of a voice's file that comes before the latents that its generator takes; safe to run in several threads."""

    def __init__(self, path: Path, latents: str, threads: int) -> None:
        """Read the file and start ONNX Runtime.

        Args:
            path: the voice's .onnx, which `inspect_onnx` has found sound.
            latents: name of the value that the generator reads.
            threads: of the CPU.

        Raises:
            EngineError: ONNX Runtime cannot load it.
            EngineUnavailable: a package of the extra `onnx` is not installed.
            ModelFileError: the file is damaged, or draws random numbers of a kind that cannot be fed.
        """
        self._name = f"the text part of {str(path)!r}"
        check_engine("onnxruntime")
        stages = load_stages(path, latents)
        types = {
            IDS: TensorType(7, ["batch", "phonemes"]), LENGTHS: TensorType(7, ["batch"]), SCALES: TensorType(1, [3]),
            SPEAKER: TensorType(7, [1]),
        }  # fmt: skip
        self.table_size = _table_size(stages[0].model)
        """Symbols that the voice has room for; None if its table is not found."""
        self.takes_speaker = any(SPEAKER in stage.inputs for stage in stages)
        """Whether it reads the number of a speaker."""
        self._stages: list[_OpenStage] | None = []
        for stage in stages:
            for noise in stage.noise:
                types[noise.value] = TensorType(noise.data_type, types[noise.like].shape if noise.like else noise.shape)
            session = open_session(self._name, stage.serialise(types), threads, CPU_PROVIDER)
            types |= {it.name: TensorType(_DATA_TYPES[it.type], it.shape) for it in session.get_outputs()}
            self._stages.append(_OpenStage(session, stage.noise, stage.inputs, stage.outputs))
        self._latents = latents

    def run(self, ids: np.ndarray, scales: Scales, speaker: int | None, random: np.random.Generator) -> np.ndarray:
        """Compute the latents of one sentence.

        Args:
            ids: int64 `[L]`, phonemes as the voice numbers them.
            scales: how it is spoken.
            speaker: row of the table; None for a voice of one speaker.
            random: what noise is drawn from, each time float32 in the order of the shapes.

        Returns:
            float32 `[C, T]`.

        Raises:
            EngineError: it is closed, or ONNX Runtime failed.
        """
        stages = self._stages
        if stages is None:
            raise EngineError("the voice is closed: load it again")
        values: dict[str, np.ndarray] = {
            IDS: ids[np.newaxis],
            LENGTHS: np.array([len(ids)], np.int64),
            SCALES: np.array([scales.noise, scales.length, scales.noise_w], np.float32),
        }
        if speaker is not None:
            values[SPEAKER] = np.array([speaker], np.int64)
        options = _run_options(len(ids))
        for stage in stages:
            for noise in stage.noise:
                values[noise.value] = _draw(noise, values, random)
            try:
                given = stage.session.run(stage.outputs, {name: values[name] for name in stage.inputs}, options)
            except onnxruntime_errors() as error:
                raise EngineError(
                    f"ONNX Runtime failed on {self._name}, with {len(ids)} phoneme ids: {first_line(error)}"
                ) from error
            values |= zip(stage.outputs, given, strict=True)
        return np.ascontiguousarray(values[self._latents][0], np.float32)

    def close(self) -> None:
        """Free the memory; closing twice is allowed."""
        self._stages = None


def _table_size(model: ModelProto) -> int | None:
    """Rows of the table that phoneme ids are looked up in."""
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    ids = {IDS}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Identity") and node.input[0] in ids:
            ids.update(node.output)
        elif node.op_type == "Gather" and node.input[1] in ids and node.input[0] in rows:
            return int(rows[node.input[0]])
    return None


def _run_options(count: int) -> RunOptions | None:
    if count < _GIVEN_BACK_FROM_IDS:
        return None
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _draw(noise: Noise, values: Mapping[str, np.ndarray], random: np.random.Generator) -> np.ndarray:
    shape = values[noise.like].shape if noise.like else noise.shape
    drawn = random.standard_normal(shape, np.float32)
    if (noise.mean, noise.scale) != (0.0, 1.0):
        drawn = drawn * np.float32(noise.scale) + np.float32(noise.mean)
    return drawn.astype(_NOISE_DTYPES[noise.data_type], copy=False)
