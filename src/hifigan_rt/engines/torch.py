"""Runs a generator in PyTorch, on whatever device PyTorch has; PyTorch is the user's own, never a dependency."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.streams import EngineStream, Outcome, OverlapStream, StreamWindow, push_together, with_ends
from hifigan_rt.engines.torch_compiled import CompiledModule, CompiledRows, try_compiler
from hifigan_rt.engines.torch_device import (
    check_precision,
    check_version,
    first_line,
    form_for,
    joined_frames,
    open_device,
    out_of_memory,
)
from hifigan_rt.engines.torch_graphs import Card, Rows
from hifigan_rt.engines.torch_module import Form, TorchGenerator
from hifigan_rt.engines.torch_rows import MAX_ROW_FRAMES, Layout, can_be_joined, levels_of
from hifigan_rt.engines.torch_settings import convolutions, is_forked, own_modes, worker_threads
from hifigan_rt.engines.torch_tensors import as_tensors
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.graph import Generator, Graph, check_mirrored
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights

EAGER, COMPILED = "eager", "compiled"

_JOINED_STREAMS = 64
"""An H100 computes the windows of so many in some 15 ms."""

_WINDOWS_AT_ONCE = 24
"""Windows of streams in a row: with segments of 16 frames, V1 has 1008 frames in it."""

_Batches = TorchGenerator | CompiledModule


class TorchEngine(Engine):
    """A module on its device: run on each batch as it comes or, on a CUDA device, on rows of joined mels if
    their network lets them be joined."""

    def __init__(
        self,
        computer: _Batches | Rows,
        info: EngineInfo,
        device: torch.device,
        num_mels: int,
        conditioning: ConditioningRule | None = None,
    ) -> None:
        super().__init__()
        self.conditioning = conditioning or ConditioningRule()
        self._computer: _Batches | Rows | None = computer
        self._device = device
        self._num_mels = num_mels
        self._process = os.getpid()
        if isinstance(computer, Rows):
            self.joined_streams = _JOINED_STREAMS
        self.info = info

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        if not isinstance(self._computer, Rows):
            return super()._run_many(mels, conditioning)
        return [audio.copy() for audio in self._joined(mels)]

    def run_on_device(
        self,
        mels: Sequence[object],
        *,
        listed: bool,
        conditioning: np.ndarray | None = None,
    ) -> list[Any]:
        self.check_open()
        with self._told(f"{len(mels)} mels on device {str(self._device)!r}"):
            tensors = as_tensors(mels, self._device, self._num_mels, listed=listed)
            for mel in tensors:
                check_mirrored(mel.shape[-1], self.least_frames)
            computer = self._open()
            if not isinstance(computer, Rows):
                batches = [mel.reshape(-1, *mel.shape[-2:]) for mel in tensors]
                given = self.conditioning.check(conditioning, sum(len(batch) for batch in batches))
                ends = np.cumsum([len(batch) for batch in batches])[:-1]
                parts = [None] * len(batches) if given is None else np.split(given, ends)
                with self._settings_of_a_call():
                    return [
                        computer(batch, **self._beside(part)).reshape(*mel.shape[:-2], -1)
                        for mel, batch, part in zip(tensors, batches, parts, strict=True)
                    ]
            self.conditioning.check(conditioning, len(tensors))
            items = [item for mel in tensors for item in mel.reshape(-1, *mel.shape[-2:])]
            audios = iter(computer.run(items))
            return [
                next(audios) if mel.ndim == 2 else torch.stack([next(audios) for _ in range(len(mel))])
                for mel in tensors
            ]

    def advance(
        self, streams: Sequence[EngineStream], mels: Sequence[CheckedMel], ending: Collection[int] = ()
    ) -> Sequence[Outcome]:
        self.check_open()
        if not isinstance(self._computer, Rows):
            return super().advance(streams, mels, ending)
        overlapping = cast("Sequence[OverlapStream]", streams)
        return with_ends(streams, push_together(overlapping, mels, self._submit, _WINDOWS_AT_ONCE), ending)

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        if isinstance(self._computer, Rows):
            audios = self._joined(list(mel))
            return np.stack(audios) if len(audios) > 1 else audios[0].copy()[None]
        with self._told(f"a mel [B, M, T] = {list(mel.shape)}"), self._settings_of_a_call():
            # A copy, since PyTorch warns of arrays that may not be written.
            computer = self._open()
            audio = computer(torch.from_numpy(mel.copy()).to(self._device), **self._beside(conditioning))
            result: np.ndarray = audio.cpu().contiguous().numpy()
            return result

    @contextmanager
    def _settings_of_a_call(self) -> Iterator[None]:
        with worker_threads(self.info.threads), convolutions(self._device.type), own_modes(self._device.type):
            yield

    def _beside(self, conditioning: np.ndarray | None) -> dict[str, torch.Tensor]:
        return {} if conditioning is None else {"conditioning": torch.from_numpy(conditioning).to(self._device)}

    def _joined(self, mels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Audio `[N_i]` of each mel `[M, T_i]`, in memory that they share."""
        with self._told(f"{len(mels)} mels of {sum(mel.shape[1] for mel in mels)} frames"):
            audios: list[np.ndarray] = self._open().run(mels)
            return audios

    def _submit(self, windows: Sequence[StreamWindow]) -> Callable[[], list[np.ndarray]]:
        what = f"{len(windows)} windows of streams"
        with self._told(what):
            collect = self._open().submit(
                [window.mel for window in windows], [not window.is_start for window in windows]
            )

        def told() -> list[np.ndarray]:
            with self._told(what):
                audios: list[np.ndarray] = collect()
                return audios

        return told

    def _open(self) -> Any:
        computer = self._computer
        self.check_open()  # another thread may have closed it since `run` looked
        bound = self._device.type == "cuda" or isinstance(computer, CompiledModule)
        if bound and self._process != os.getpid():
            what = "on a GPU" if self._device.type == "cuda" else "compiled by PyTorch"
            raise EngineError(
                f"a model {what} cannot be used in a process that was forked after it was loaded: load it there, in "
                "a process that multiprocessing's method 'spawn' starts"
            )
        return computer

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            memory = out_of_memory(error, self._device) if self._device.type == "cuda" else None
            if memory is None:
                raise EngineError(f"PyTorch failed on {what}: {first_line(error)}") from error
            # What the frames of the failed call hold would be missing in the next one.
            traceback.clear_frames(error.__traceback__)
            if isinstance(self._computer, Rows):
                self._computer.forget()
            raise EngineError(
                f"device {str(self._device)!r} has no memory left for {what}: {memory}; give shorter mels, or fewer"
            ) from error

    def _close(self) -> None:
        computer, self._computer = self._computer, None
        # Their memory is the card's, and programs refer to themselves: nobody knows when the collector comes.
        if isinstance(computer, Rows) and self._process == os.getpid():
            computer.forget()


def create(model: Weights, options: EngineOptions) -> TorchEngine:
    """Build a model's module and try it.

    Raises:
        EngineError: an option is not offered.
        EngineUnavailable: the device is not there, PyTorch is too old, or compiling needs what is not there.
        PrecisionUnavailable: the device does not execute the precision.
    """
    threads = options.thread_count
    check_version()
    device = open_device("cpu" if options.device is None else options.device)
    check_precision(options.precision, device)
    mode = options.settings.get("mode", EAGER)
    graph = model.generator.graph
    joined = device.type == "cuda" and can_be_joined(graph)
    graphs = joined and options.settings.get("graphs", "on") == "on"
    rule = ConditioningRule.of_generator(model.generator)
    form = form_for(options.precision, device)
    # Folded layers take the lengths of rows alone.
    module = _build(model.generator, form if joined else replace(form, folded=False), device)
    if mode == COMPILED:
        _try_compiler(device)
    info = EngineInfo(
        "torch",
        torch.__version__,
        _executed(module, options.precision, device, graph, rule),
        threads,
        str(device),
        f"{mode}, CUDA graphs" if graphs else mode,
    )
    # What a device cannot do shows only when it is done.
    if joined:
        engine = TorchEngine(
            _rows(module, graph, device, options.precision, mode, graphs=graphs), info, device, graph.num_mels
        )
        # A program for rows of any length suits those best that are about as long as the first one.
        engine.run(_silent_mel(graph, 1000 if mode == COMPILED else 1))
        return engine
    engine = TorchEngine(module, info, device, graph.num_mels, rule)
    engine.run(_silent_mel(graph, graph.least_frames), rule.example(1))
    return TorchEngine(CompiledModule(module), info, device, graph.num_mels, rule) if mode == COMPILED else engine


def _build(generator: Generator, form: Form, device: torch.device) -> TorchGenerator:
    try:
        with own_modes(device.type):
            module: TorchGenerator = TorchGenerator(generator, form).to(device)
    except RuntimeError as error:
        raise EngineError(f"PyTorch cannot put the model on device {str(device)!r}: {first_line(error)}") from error
    return module


def _rows(
    module: TorchGenerator, graph: Graph, device: torch.device, precision: str, mode: str, *, graphs: bool
) -> Rows:
    levels, of_value = levels_of(graph)
    largest = max(layer.out_channels * levels[of_value[layer.name]].rate for layer in graph.layers)
    layout = Layout(graph, min(MAX_ROW_FRAMES, joined_frames(largest, module.form, device)))
    return Rows(
        CompiledRows(module) if mode == COMPILED else module,
        layout,
        Card(device),
        partial(convolutions, device.type, tf32=precision == "tf32"),
        graphs=graphs,
    )


def _executed(
    module: TorchGenerator, precision: str, device: torch.device, graph: Graph, rule: ConditioningRule
) -> str:
    """The precision as the module computes it.

    Raises:
        PrecisionUnavailable: TensorFloat-32 gives the bits of float32.
    """
    if precision != "tf32":
        return {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}[module.dtype]
    numbers = torch.linspace(-11, 2, graph.num_mels * 240, dtype=torch.float32, device=device)
    mel = numbers.reshape(1, graph.num_mels, 240)
    given = rule.check(rule.example(1), 1)
    conditioning = None if given is None else torch.from_numpy(given).to(device)
    results = []
    for tf32 in (False, True):
        with convolutions(device.type, tf32=tf32), own_modes(device.type):
            results.append(module(mel, conditioning=conditioning))
    if torch.equal(*results):
        raise PrecisionUnavailable(
            f"precision='tf32' is not executed by device {str(device)!r}: it gives the bits of float32; use float32"
        )
    return "tf32"


def _silent_mel(graph: Graph, frames: int) -> CheckedMel:
    return CheckedMel(np.full((1, graph.num_mels, frames), -11.5, np.float32))


def _try_compiler(device: torch.device) -> None:
    if is_forked():
        # It would wait for ever for the compiler's processes, which are the parent's.
        raise EngineUnavailable(
            "mode='compiled' does not work in a process that was forked from one that used engine 'torch': start it "
            "with multiprocessing's method 'spawn', or take mode=eager"
        )
    try:
        try_compiler(device)
    except RuntimeError as error:
        raise EngineUnavailable(
            f"mode='compiled' does not work here ({first_line(error)}): on a CPU it needs a C++ compiler (g++ or "
            "clang++ on the PATH, or named by CXX), on a GPU the package triton and a C compiler; mode=eager needs "
            "neither"
        ) from error
