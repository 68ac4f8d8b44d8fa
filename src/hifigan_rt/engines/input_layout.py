"""How mels go into a converted graph and waveforms come out, for every engine that runs files of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.output_rule import OutputRule
from hifigan_rt.errors import EngineError, OutputMismatch
from hifigan_rt.formats.converted_info import ConvertedInfo
from hifigan_rt.formats.graph_value import GraphValue, listed
from hifigan_rt.formats.mel_layout import MelAxes, split_inputs
from hifigan_rt.formats.onnx_metadata import (
    AUDIO_OUTPUT_NAME,
    CONDITIONING_INPUT_NAME,
    SPEAKER_INPUT_NAME,
    input_name,
)
from hifigan_rt.graph import Graph

FLOAT_DTYPES = {"float32": np.float32, "float16": np.float16, "float64": np.float64}


class InputLayout:
    """Names, order of dimensions, dtype, what of the shape is fixed, and the rule for what comes out."""

    def __init__(
        self,
        source: str,
        mel: GraphValue,
        output: GraphValue,
        layouts: tuple[MelAxes, ...],
        rule: OutputRule | None = None,
        beside: GraphValue | None = None,
    ) -> None:
        self.input, self.output = mel.name, output.name
        self._source = source
        self._dtype = FLOAT_DTYPES[mel.dtype]
        self._rule = rule
        self._beside = beside
        self._shape, self._audio_shape = mel.shape or (), output.shape
        self._layouts = layouts
        self._settle(0)

    def _settle(self, index: int) -> None:
        self._index, self._axes = index, self._layouts[index]
        fixed = dict(zip(self._axes, self._shape, strict=True))
        self.frames = fixed["T"]
        # A graph without a batch dimension, at either end, runs one mel at a time.
        one_by_one = "B" not in self._axes or (self._audio_shape is not None and len(self._audio_shape) == 1)
        self.batch = 1 if one_by_one else fixed.get("B")

    def turn(self) -> bool:
        """Take the next order of dimensions that the graph's shapes leave open; False if that is the first again."""
        self._settle((self._index + 1) % len(self._layouts))
        return self._index > 0

    @property
    def fixed_size(self) -> str | None:
        """The one length, or batch of several mels, that the graph takes, for texts; None if it takes any."""
        if self.frames is not None:
            return f"{self._source} was exported for mels of exactly {self.frames} frames"
        if self.batch not in (None, 1):
            return f"{self._source} was exported for batches of exactly {self.batch} mels"
        return None

    def check(self, mel: np.ndarray) -> None:
        """Check a batch `[B, M, T]` against what is fixed.

        Raises:
            EngineError: the graph does not take it.
        """
        batch, _, frames = mel.shape
        if self.frames not in (None, frames):
            raise EngineError(
                f"{self._source} was exported for mels of exactly {self.frames} frames, this one has {frames}: "
                "export the model with a dynamic length"
            )
        if self.batch is not None and batch % self.batch:
            raise EngineError(
                f"{self._source} was exported for batches of exactly {self.batch} mels, this one has {batch}: "
                "export the model with a dynamic batch"
            )

    def parts(self, mel: np.ndarray, conditioning: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Cut a batch, and what comes with it, into those that the graph takes; one part where its batch is dynamic."""
        size = self.batch or len(mel)
        return [
            (mel[start : start + size], None if conditioning is None else conditioning[start : start + size])
            for start in range(0, len(mel), size)
        ]

    def feeds(self, mel: np.ndarray, conditioning: np.ndarray | None) -> dict[str, np.ndarray]:
        """The inputs of the graph, by name, for a part of a batch."""
        fed = {self.input: np.ascontiguousarray(in_order(mel, self._axes), dtype=self._dtype)}
        if self._beside is not None and conditioning is not None:
            fed[self._beside.name] = np.ascontiguousarray(conditioning, self._beside.dtype)
        return fed

    def conditioning_rule(self, config: GeneratorConfig | None) -> ConditioningRule:
        """What the graph takes beside the mel; a config tells how many speakers its table has."""
        if self._beside is None:
            return ConditioningRule()
        if self._beside.name == SPEAKER_INPUT_NAME:
            return ConditioningRule(speakers=0 if config is None else config.num_speakers, takes_speakers=True)
        (_, channels) = self._beside.shape or (None, None)
        if channels is None:
            channels = 0 if config is None else config.conditioning_channels
        return ConditioningRule(channels, takes_vectors=True)

    def read(self, output: Any, mel: np.ndarray) -> np.ndarray:
        """Bring what a batch `[B, M, T]` gave, of whatever rank, to float32 `[B, N]`.

        Raises:
            OutputMismatch: it is no waveform for each mel, or not the one that the rule wants.
        """
        audio = as_batch(output, len(mel))
        if self._rule is not None:
            self._rule.check(audio, mel.shape[2])
        return audio


def layout_of_export(source: str, config: GeneratorConfig, rank: int) -> InputLayout:
    """The layout of a graph that `formats.onnx_graph.build_onnx` made without a table."""
    axes: MelAxes = ("B", "M", "1", "T") if rank == 4 else ("B", "M", "T")
    shape = (None, config.input_channels, 1, None) if rank == 4 else (None, config.input_channels, None)
    mel = GraphValue(input_name(config), "float32", shape)
    channels = config.conditioning_channels
    beside = GraphValue(CONDITIONING_INPUT_NAME, "float32", (None, channels)) if channels else None
    return InputLayout(source, mel, GraphValue(AUDIO_OUTPUT_NAME, "float32", (None, None)), (axes,), None, beside)


def layout_of_file(
    source: str,
    info: ConvertedInfo,
    graph: Graph | None,
) -> InputLayout:
    """Check that a foreign graph is a vocoder: one mel in, and at most a vector or speakers; one waveform out.

    Args:
        source: the file, for texts.
        info: what the file says of itself.
        graph: the layers that it has by its config; None if there is none.

    Raises:
        EngineError: it is no vocoder, or none that fits its config.
    """
    inputs, outputs, layouts = info.inputs, info.outputs, info.mel_layouts
    mels, beside = split_inputs(inputs, info.config)
    if len(mels) != 1:
        raise EngineError(f"{source} has {len(inputs)} inputs ({listed(inputs)}): one mel input is needed")
    if len(outputs) != 1:
        raise EngineError(f"{source} has {len(outputs)} outputs ({listed(outputs)}): one waveform is needed")
    mel, output = mels[0], outputs[0]
    if mel.dtype not in FLOAT_DTYPES:
        raise EngineError(f"{source} takes {mel}: a mel is float32, float16 or float64")
    if output.dtype not in FLOAT_DTYPES:
        raise EngineError(
            f"{source} gives {output}: a waveform is float32, float16 or float64; integer samples may have wrapped "
            "around where the signal clips, so export the model without its conversion to integers"
        )
    if not layouts:
        raise EngineError(
            f"{source} takes {mel}, which is no mel that is known: [B, M, T], [B, T, M], [B, M, 1, T], [B, 1, M, T], "
            "[M, T] or [T, M] are"
        )
    rule = OutputRule(source, graph)
    rule.check_declared(mel, layouts[0], output)
    return InputLayout(source, mel, output, layouts, rule, beside)


def in_order(mel: np.ndarray, axes: MelAxes) -> np.ndarray:
    """A view of a batch `[B, M, T]`, of one mel where the order has no batch, with its dimensions in that order."""
    present = [axis for axis in ("B", "M", "T") if axis in axes]
    ordered = (mel if "B" in axes else mel[0]).transpose([present.index(axis) for axis in axes if axis != "1"])
    return np.expand_dims(ordered, axes.index("1")) if "1" in axes else ordered


def join_parts(parts: list[np.ndarray]) -> np.ndarray:
    """Put together what the parts of a batch gave."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def as_batch(output: Any, batch: int) -> np.ndarray:
    """Bring an output, of whatever rank, to float32 `[B, N]`.

    Raises:
        OutputMismatch: it is no waveform for each mel.
    """
    array = np.asarray(output)
    if sum(size != 1 for size in array.shape[1:]) <= 1 and array.ndim > 1 and array.shape[0] == batch:
        flat = array.reshape(batch, -1)
    elif batch == 1 and sum(size != 1 for size in array.shape) <= 1:
        flat = array.reshape(1, -1)
    else:
        raise OutputMismatch(
            f"the model gave an output of shape {list(array.shape)} for {batch} mel(s): one waveform [N] per mel is "
            "needed; is it a vocoder, and of a multi-band one the whole, with its synthesis filter?"
        )
    with np.errstate(over="ignore"):  # infinity is told by whoever looks at the samples
        return np.ascontiguousarray(flat, dtype=np.float32)
