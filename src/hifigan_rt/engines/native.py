"""The C++ engine: chooses the instruction set, hands the weights over, words the errors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never, cast

import numpy as np

import hifigan_rt._native as _native
from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.native_tuning import TUNING_VARIABLE, choose_tuning
from hifigan_rt.engines.plan_file import read_plan
from hifigan_rt.engines.streams import STREAM_SEGMENT_FRAMES, EngineStream, check_segment
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.graph import Generator, Graph, Layer, LeakyRelu
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights
from hifigan_rt.system.versions import own_version

T = TypeVar("T")

ISA_VARIABLE = "HIFIGAN_RT_ISA"

SOFTWARE_TILES = "amx-software"
"""The tile unit in plain C++: the same bits, slowly. It is never chosen by itself, and has no float32."""

OFFLINE_SEGMENT_FRAMES = 256
"""Whole mels are computed in segments of so many frames. The first stage's weights come from memory once per segment,
so that a short segment waits for them; a longer one takes more memory and gains nothing (native/NOTES.md)."""

_SHORT_FRAMES = 64
"""Mels up to so many frames do not pay for a calibration."""


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is computed."""

    layer: str
    kind: str
    """"conv", "conv_transpose" or "conv_post"."""
    algorithm: str
    """"direct"; the transform of a tiled convolution: "fft16" takes 16 samples at a time; of upsamplings "winograd"."""
    format: str
    """What its operands are: float32, or bfloat16 with one, three or six products for each."""
    rows: int
    """Output rows per segment."""
    block_rows: int
    """Output rows that are taken through the layer at a time."""
    weight_bytes: int
    """Size of the weights as laid out for the algorithm."""
    products: float
    """Multiply-adds that the algorithm does per segment, those of padded channels counted."""
    predicted_us: float
    """Microseconds per segment on one thread, by the cost model."""
    measured_us: float | None = None
    """Microseconds of the calling thread's processor time per segment, if it was measured."""


def choose_isa(precision: str = "float32") -> str:
    """The fastest instruction set of this processor, or the one that HIFIGAN_RT_ISA names.

    Raises:
        EngineUnavailable: the processor or the build does not have the one named.
        PrecisionUnavailable: it cannot compute in that precision.
    """
    supported: list[str] = _native.supported_isas()
    isa = os.environ.get(ISA_VARIABLE) or supported[-1]
    if isa == SOFTWARE_TILES and precision == "float32":
        raise EngineUnavailable(
            f"{ISA_VARIABLE}={isa!r} has no float32: ask for precision bfloat16 or bfloat16x3, unset it or choose "
            f"{', '.join(supported)}"
        )
    if isa not in supported and isa != SOFTWARE_TILES:
        raise EngineUnavailable(
            f"{ISA_VARIABLE}={isa!r} is not an instruction set that this processor runs: "
            f"unset it or choose {', '.join(supported)}"
        )
    if precision != "float32" and (reason := _native.request_tiles(isa)):
        raise PrecisionUnavailable(
            f"precision={precision!r} of engine 'native' needs the tile unit of Intel's servers since 2023 (AMX), and "
            f"{reason}. Without it float32, the default, is the fast mode"
        )
    return isa


class NativeEngine(Engine):
    """A generator with its weights packed for this processor."""

    def __init__(
        self,
        generator: _native.LoadedGenerator,
        graph: Graph,
        variant: str,
        conditioning: ConditioningRule,
        precision: str,
    ) -> None:
        super().__init__()
        self._generator: _native.LoadedGenerator | None = generator
        self._graph = graph
        self.conditioning = conditioning
        self.offline_segment_frames = generator.segment_frames
        self.isa: str = generator.isa
        # No tuning touches tiles; one that is named is looked at, since it may be none.
        self._tuned = precision != "float32" and not os.environ.get(TUNING_VARIABLE)
        device = f"cpu ({generator.isa})"
        self.info = EngineInfo("native", own_version(), precision, generator.threads, device, variant)

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        generator = self._open()
        if any(mel.shape[1] > _SHORT_FRAMES for mel in mels):
            self.tune()
        audios: list[np.ndarray] = generator.run_many(list(mels), conditioning)
        return audios

    def stream(
        self,
        segment_frames: int = STREAM_SEGMENT_FRAMES,
        graph: Graph | None = None,  # noqa: ARG002 - it is the engine's own
        conditioning: np.ndarray | None = None,
    ) -> EngineStream:
        """Open a stream with a state: in sum equal, bit for bit, to the whole signal computed in such segments.

        Raises:
            EngineError: the engine is closed, segment_frames is out of range, or `ConditioningRule.check` refuses what
                is given.
        """
        generator = self._open()
        vector = self.conditioning.check_one(conditioning)
        check_segment(segment_frames)
        self.tune()
        return generator.stream(segment_frames, vector)

    def interruptible(self, compute: Callable[[], T], interlude: Callable[[], None]) -> T:
        """Compute, with an interlude every 20 ms or more: what is interrupted gets a fifth of the time at least."""
        return cast(T, _native.call_interruptible(compute, interlude))

    def plan(self, segment_frames: int | None = None) -> list[LayerPlan]:
        """How each layer is computed, for whole mels or for a stream's segment length."""
        generator = self._open()
        if segment_frames is not None:
            check_segment(segment_frames)
        entries = generator.plan() if segment_frames is None else generator.plan_for(segment_frames)
        return [LayerPlan(**entry) for entry in entries]

    def measured_plan(self, rounds: int = 5) -> list[LayerPlan]:
        """The plan for whole mels with the time that each layer took: the smallest of some rounds, per segment."""
        generator = self._open()
        self.tune()
        frames = generator.segment_frames
        mel = random_mel((self._graph.num_mels, frames))
        vector = self.conditioning.check(self.conditioning.example(1), 1)
        seconds = np.min([generator.measure(mel, vector) for _ in range(rounds)], axis=0)
        return [
            replace(layer, measured_us=float(taken) * 1e6) for layer, taken in zip(self.plan(), seconds, strict=True)
        ]

    @property
    def products_per_frame(self) -> float:
        """Multiply-adds that the plan for whole mels does per frame, those of padding counted."""
        return sum(layer.products for layer in self.plan()) / self._open().segment_frames

    @property
    def weight_bytes(self) -> int:
        """Memory of the packed weights, of all plans in use."""
        size: int = self._open().weight_bytes
        return size

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        generator = self._open()
        if mel.shape[-1] > _SHORT_FRAMES:
            self.tune()
        audio: np.ndarray = generator.run(mel, conditioning)
        return audio

    @property
    def tuning(self) -> str:
        """The way through the caches that the next call takes."""
        name: str = self._open().tuning
        return name

    def tune(self) -> None:
        """Choose the way through the caches, if that is not done.

        Raises:
            EngineError: the engine is closed.
            EngineUnavailable: see `native_tuning.choose_tuning`.
        """
        if not self._tuned:
            generator = self._open()
            generator.tune(choose_tuning(self.isa, generator).name)
            self._tuned = True

    def _open(self) -> _native.LoadedGenerator:
        if self._generator is None:
            raise self.closed_error()
        return self._generator

    def _close(self) -> None:
        self._generator = None


def create(model: Weights, options: EngineOptions) -> NativeEngine:
    """Pack a model's weights.

    Raises:
        EngineError: an option or a setting is not offered.
        EngineUnavailable: HIFIGAN_RT_ISA names what this processor does not have, or HIFIGAN_RT_TUNING no tuning.
        PrecisionUnavailable: there is no tile unit, or the model has a flow.
    """
    segment_frames = _segment_frames(options.settings.get("segment_frames", OFFLINE_SEGMENT_FRAMES))
    plan = read_plan(options.settings.get("plan", {}))
    precision = options.precision
    if precision != "float32" and model.generator.graph.config.flow is not None:
        raise PrecisionUnavailable(
            f"precision={precision!r}: engine 'native' computes {model.name}, which has a flow, in float32 alone"
        )
    isa = choose_isa(precision)
    generator = load_generator(model.generator, isa, segment_frames, options.thread_count, plan, precision)
    variant = f"segments of {segment_frames} frames"
    if plan:
        digest = hashlib.sha256(json.dumps(sorted(plan.items())).encode()).hexdigest()
        variant += f", plan {digest[:12]}"
    rule = ConditioningRule.of_generator(model.generator)
    engine = NativeEngine(generator, model.generator.graph, variant, rule, precision)
    if os.environ.get(TUNING_VARIABLE):
        engine.tune()
    return engine


def _segment_frames(value: object) -> int:
    try:
        frames = int(str(value))
    except ValueError:
        raise EngineError(f"setting segment_frames={value!r} of engine 'native': give a whole number") from None
    check_segment(frames)
    return frames


def load_generator(
    generator: Generator,
    isa: str,
    segment_frames: int,
    threads: int,
    plan: Mapping[str, str],
    precision: str = "float32",
) -> _native.LoadedGenerator:
    """Hand a generator over to the core.

    Args:
        generator: graph and weights.
        isa: one of `_native.supported_isas()`, or SOFTWARE_TILES.
        segment_frames: frames that are computed together.
        threads: of the pool, the caller's included.
        plan: algorithms by layer name, "*" for all; what is not named is chosen by the cost model.
        precision: "bfloat16" and "bfloat16x3" need tiles.

    Raises:
        EngineError: the core refuses something; the text says what.
    """
    weights = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in generator.weights.items()}
    layers = [network_layer(layer) for layer in generator.graph.layers]
    config = generator.graph.config
    try:
        return _native.LoadedGenerator(
            layers,
            weights,
            isa,
            segment_frames,
            threads,
            dict(plan),
            output=config.output,
            input_normalization=config.input_normalization,
            conditioning_channels=config.conditioning_channels,
            precision=precision,
        )
    except ValueError as error:
        raise EngineError(f"engine 'native': {error}") from error


def network_layer(layer: Layer) -> _native.NetworkLayer:
    """A layer of the graph as the core takes it."""
    match layer.activation:
        case None:
            activation, slope = "none", 1.0
        case LeakyRelu():
            activation, slope = "leaky_relu", layer.activation.slope
        case _:
            assert_never(layer.activation)
    left, right = layer.padding
    return _native.NetworkLayer(
        name=layer.name,
        kind=layer.kind,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        dilation=layer.dilation,
        padding_left=left,
        padding_right=right,
        padding_mode=layer.padding_mode,
        activation=activation,
        slope=slope,
        bias=layer.bias,
        inputs=layer.inputs,
        residual=layer.residual,
        conditioning=layer.conditioning,
        gated=layer.is_gated,
        joins=layer.is_joining,
    )
