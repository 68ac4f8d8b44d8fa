"""Runs .om files on Ascend NPUs, and ONNX files through ONNX Runtime's CANN provider."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hifigan_rt.engines.ascend_cann import open_cann
from hifigan_rt.engines.ascend_runtime.failures import DeviceContext, check_path
from hifigan_rt.engines.ascend_runtime.gears import LONGEST_OPEN, Window, WindowPlan, plan_windows
from hifigan_rt.engines.ascend_runtime.precision import describe_mode
from hifigan_rt.engines.ascend_runtime.worker_client import ascend_python
from hifigan_rt.engines.ascend_runtime.worker_pool import DevicePool, PoolRequest, Run
from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.input_layout import FLOAT_DTYPES, as_batch, in_order
from hifigan_rt.engines.output_rule import OutputRule
from hifigan_rt.errors import EngineError
from hifigan_rt.formats.mel_layout import MelAxis, find_mel_layouts
from hifigan_rt.formats.om_file import OmInfo, option_of, read_om
from hifigan_rt.formats.onnx_metadata import AUDIO_OUTPUT_NAME
from hifigan_rt.graph import Graph
from hifigan_rt.mel.analysis import silence_mel_value
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import OmFile, OnnxFile

DEFAULT_TIMEOUT_S = 600.0
"""Limit for loading a model, and for one inference: a large .om takes a minute to load, an inference milliseconds."""

_MAX_DEVICE = 255

_OPEN_BATCHES = (1, 2, 4, 8)
"""Batches that a model with an open batch is run at."""

_ALIGNMENT_BYTES = 32
"""Outputs end at a multiple of this in the device's memory, with one such unit behind them."""


@dataclass(frozen=True)
class OmShapes:
    """The shapes that an .om can be run at."""

    axes: tuple[MelAxis, ...]
    batches: Mapping[int, tuple[int, ...]]
    """Batch sizes by gear in frames, ascending."""

    @property
    def gears(self) -> tuple[int, ...]:
        """Frames, ascending."""
        return tuple(sorted(self.batches))

    def batch_for(self, gear: int, items: int) -> int:
        """The smallest batch that takes so many mels, or the largest there is."""
        sizes = self.batches[gear]
        return next((size for size in sizes if size >= items), sizes[-1])


@dataclass(frozen=True)
class _Segment:
    """A window of one of several mels."""

    item: int
    window: Window


class AscendEngine(Engine):
    """One .om on one or more devices."""

    def __init__(
        self,
        pool: DevicePool,
        info: EngineInfo,
        graph: Graph,
        shapes: OmShapes,
        silence: np.ndarray,
        rule: OutputRule,
    ) -> None:
        super().__init__()
        self.info = info
        self._pool = pool
        self._graph = graph
        self._shapes = shapes
        self._silence = silence
        self._rule = rule
        # An engine that is dropped, or open at the interpreter's end, gives its devices back too.
        self._finalizer = weakref.finalize(self, pool.close)

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:  # noqa: ARG002
        return self._synthesise(mels)

    def inexact_tail_frames(self, frames: int) -> int:
        return self._plan(frames).inexact_tail_frames

    def describe_inexact_tail(self, frames: int) -> str | None:
        tail = self.inexact_tail_frames(frames)
        if tail == 0:
            return None
        return (
            f"a mel of {frames} frames is shorter than the shortest gear of the model, {self._shapes.gears[0]}: it is "
            f"padded with silence, and its last {tail} frames differ from the exact result; convert the model with a "
            "shorter gear (--mel-len) for exact ends"
        )

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002 - refused
        return np.stack(self._synthesise(mel))

    def _close(self) -> None:
        self._finalizer()

    def _plan(self, frames: int) -> WindowPlan:
        return plan_windows(frames, self._shapes.gears, self._graph)

    def _synthesise(self, mels: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
        """Compute the windows of all mels, those of one gear together in batches, on all devices."""
        by_gear: dict[int, list[_Segment]] = {}
        for item, mel in enumerate(mels):
            for window in self._plan(mel.shape[1]).windows:
                by_gear.setdefault(window.gear, []).append(_Segment(item, window))
        runs = []
        for gear, segments in by_gear.items():
            start = 0
            while start < len(segments):
                batch = self._shapes.batch_for(gear, len(segments) - start)
                chosen = segments[start : start + batch]
                room = _room_bytes(batch * self._graph.output_length(gear))
                runs.append((chosen, self._pool.submit(self._gather(mels, chosen, batch, gear), room)))
                start += batch
        audio = [np.empty(self._graph.output_length(mel.shape[1]), np.float32) for mel in mels]
        busy_ns: dict[int, int] = {}
        for chosen, future in runs:
            run = future.result()
            busy_ns[run.device] = busy_ns.get(run.device, 0) + run.compute_ns
            self._scatter(run, chosen, audio)
        # Devices work side by side: the busiest decides.
        self.compute_seconds = max(busy_ns.values(), default=0) * 1e-9
        return audio

    def _gather(
        self, mels: Sequence[np.ndarray] | np.ndarray, segments: Sequence[_Segment], batch: int, gear: int
    ) -> np.ndarray:
        """The model's input: a full batch, in which silence stands wherever there is no mel."""
        together = np.empty((batch, self._graph.num_mels, gear), np.float32)
        together[:] = self._silence[:, None]
        for row, segment in zip(together, segments, strict=False):
            first = segment.window.start_frame
            part = mels[segment.item][:, first : first + gear]
            row[:, : part.shape[1]] = part
        return np.ascontiguousarray(in_order(together, self._shapes.axes))

    def _scatter(self, run: Run, segments: Sequence[_Segment], audio: list[np.ndarray]) -> None:
        """Put the samples that each window gives where they belong."""
        rows = as_batch(run.output, run.output.shape[0])
        if len(rows) < len(segments):
            raise EngineError(
                f"the model gave an output of shape {list(run.output.shape)} for {len(segments)} mels: give the right "
                "config with --config"
            )
        self._rule.check(rows, segments[0].window.gear)
        for row, segment in zip(rows, segments, strict=False):
            window = segment.window
            kept = window.cut(row, self._graph.hop_length)
            audio[segment.item][window.first_sample : window.end_sample] = kept


def create(model: OmFile | OnnxFile, options: EngineOptions) -> Engine:
    """Load an .om onto the devices that `options.device` names, "0" if none.

    Raises:
        EngineError: the model cannot be run, or an option makes no sense.
        EngineUnavailable: aclruntime, the device or the CANN provider is not there.
        ModelFileError: the .om file is damaged.
    """
    devices = parse_devices(options.device)
    timeout_s = _parse_timeout(options.settings.get("timeout"))
    backend = options.settings.get("backend", "auto")
    if isinstance(model, OnnxFile):
        if backend in ("aclruntime", "ais_bench"):
            raise EngineError(
                f"backend={backend} runs .om files, and {model.name} is none: 'hifigan export om' makes one"
            )
        return open_cann(model, devices)
    if backend == "cann":
        raise EngineError(f"backend=cann runs ONNX files, and {model.name} is none: take backend=auto")
    om = read_om(model.path)
    graph = model.graph
    if graph is None:
        raise EngineError(
            f"{model.name}: the layers of the model must be known to cut mels for its gears: keep the .json that "
            "'hifigan export om' wrote beside it, or give its config.json with --config"
        )
    if option_of(om.atc_cmdline, "dynamic_batch_size"):  # its own call of the runtime, and --batch makes a file of each
        raise EngineError(
            f"{model.name} was converted with atc's --dynamic_batch_size, which is not driven here: convert it with "
            "--dynamic_dims, or with 'hifigan export om --batch 1,8', which makes one file for each batch"
        )
    open_lengths = om.dynamic_shape and not om.dynamic_dims
    backend = "ais_bench" if backend == "ais_bench" else "aclruntime"
    check_path(model.path, backend)
    request = PoolRequest(
        DeviceContext(ascend_python(), model.path, devices[0], om.soc_version),
        backend=backend,
        caveat=om.caveat,
        shape_mode="dymshape" if open_lengths else "dymdims" if om.dynamic_dims else "static",
        wanted_output=AUDIO_OUTPUT_NAME,
        timeout_s=timeout_s,
    )
    pool = DevicePool(request, devices)
    try:
        shapes = read_shapes(
            model.name,
            pool.model["inputs"],
            om.dynamic_dims,
            graph.num_mels,
            open_ranges=om.open_ranges if open_lengths else None,
        )
        _check_types(model.name, pool.model["inputs"][0]["dtype"], pool.model["output"]["dtype"])
    except BaseException:
        pool.close()
        raise
    silence = np.full(graph.num_mels, 0.0 if graph.config.input_kind == "latent" else np.log(1e-5), np.float32)
    if model.mel is not None:
        silence = silence_mel_value(model.mel)
    precision = describe_mode(om.precision_mode, om.soc_version, om.atc_cmdline, pool.model["inputs"][0]["dtype"])
    info = EngineInfo(
        "ascend", pool.runtime.version, precision, len(devices), describe_devices(devices, om),
        variant=pool.runtime.backend, caveat=pool.runtime.caveat,
    )  # fmt: skip
    return AscendEngine(pool, info, graph, shapes, silence, OutputRule(model.name, graph))


def parse_devices(text: str | None) -> tuple[int, ...]:
    """The device ids of "0" or "0,1".

    Raises:
        EngineError: it is something else, or names a device twice.
    """
    words = ("0" if text is None else text).split(",")
    devices = tuple(int(word) for word in words if word.strip().isdecimal() and int(word) <= _MAX_DEVICE)
    if len(devices) != len(words) or len(set(devices)) != len(devices):
        raise EngineError(
            f"device={text!r}: engine 'ascend' takes ids from 0 to {_MAX_DEVICE}, each once, for example 0 or 0,1"
        )
    return devices


def read_shapes(
    name: str,
    inputs: Sequence[Mapping[str, Any]],
    dynamic_dims: Sequence[Sequence[int]],
    num_mels: int,
    *,
    open_ranges: Sequence[tuple[int, int | None]] | None = None,
) -> OmShapes:
    """What the inputs that the runtime tells, with the gears that the file tells, come to.

    Args:
        name: of the file.
        inputs: name and shape of each, as the runtime tells them.
        dynamic_dims: the gears.
        num_mels: the bands.
        open_ranges: least and greatest size of each dimension of a model of open shapes, empty if they are not told;
            None if shapes are not open. Each length up to LONGEST_OPEN frames is a gear then.

    Raises:
        EngineError: that is not one mel, or the gears do not fit it.
    """
    if len(inputs) != 1:
        listed = ", ".join(str(tensor["name"]) for tensor in inputs) or "none"
        raise EngineError(f"{name} has {len(inputs)} inputs ({listed}): one mel input is needed")
    shape = [int(size) for size in inputs[0]["shape"]]
    layouts = find_mel_layouts(tuple(None if size == -1 else size for size in shape), num_mels)
    if not layouts or "B" not in layouts[0]:
        raise EngineError(
            f"{name} takes an input of shape {shape}, which is no mel of {num_mels} bands: [B, M, T] and [B, M, 1, T] "
            "are"
        )
    axes = layouts[0]
    if open_ranges is not None and -1 in shape:
        if len(open_ranges) != len(shape):
            open_ranges = [(1, None)] * len(shape)
        frames = _sizes_of(shape, open_ranges, axes.index("T"), LONGEST_OPEN)
        clips = _sizes_of(shape, open_ranges, axes.index("B"), _OPEN_BATCHES[-1])
        sizes = tuple(size for size in clips if size in _OPEN_BATCHES or size in (clips[0], clips[-1]))
        return OmShapes(axes, dict.fromkeys(frames, sizes))
    if -1 in shape and not dynamic_dims:
        raise EngineError(f"{name} does not tell its gears: convert it again with 'hifigan export om'")
    batches: dict[int, set[int]] = {}
    for gear in dynamic_dims or [()]:
        if len(gear) != shape.count(-1):
            raise EngineError(f"{name} has gears {list(gear)} for an input of shape {shape}: the file is damaged")
        values = iter(gear)
        dims = [next(values) if size == -1 else size for size in shape]
        if dims[axes.index("M")] == num_mels:
            batches.setdefault(dims[axes.index("T")], set()).add(dims[axes.index("B")])
    return OmShapes(axes, {frames: tuple(sorted(sizes)) for frames, sizes in batches.items()})


def describe_devices(devices: Sequence[int], om: OmInfo) -> str:
    """Name the devices, for example "npu:0 (Ascend310P3)"; the benchmark knows the chip's peak by this name."""
    about = [text for text in (om.soc_version, om.caveat) if text]
    listed = f"npu:{','.join(map(str, devices))}"
    return f"{listed} ({', '.join(about)})" if about else listed


def _check_types(name: str, mel: str, audio: str) -> None:
    """Refuse integers: those of 8 bits come of atc's --insert_op_conf and --output_type, others of the network."""
    for what, dtype, option in (("takes mels", mel, "--insert_op_conf"), ("gives audio", audio, "--output_type")):
        if dtype not in FLOAT_DTYPES:
            is_cut = dtype in ("int8", "uint8")
            advice = f"convert it without {option}" if is_cut else "export it without its conversion to integers"
            raise EngineError(f"{name} {what} as {dtype}, and floats are needed: {advice}")


def _sizes_of(shape: Sequence[int], open_ranges: Sequence[tuple[int, int | None]], axis: int, most: int) -> range:
    """Sizes of a dimension; of an open one up to `most`, unless its least is above that."""
    if shape[axis] != -1:
        return range(shape[axis], shape[axis] + 1)
    least, greatest = open_ranges[axis]
    most = max(least, most)
    return range(least, (most if greatest is None else min(most, greatest)) + 1)


def _room_bytes(samples: int) -> int:
    """Bytes of a buffer for float32 samples in the device's memory, with what the runtime puts behind them."""
    units = -(-4 * samples // _ALIGNMENT_BYTES)
    return (units + 1) * _ALIGNMENT_BYTES


def _parse_timeout(text: str | None) -> float:
    try:
        seconds = DEFAULT_TIMEOUT_S if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise EngineError(f"setting timeout={text!r} of engine 'ascend': give seconds above 0")
    return seconds
