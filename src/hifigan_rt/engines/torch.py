"""Runs a generator in PyTorch, on whatever device PyTorch has; PyTorch is the user's own, never a dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.torch_compiled import CompiledModule, try_compiler
from hifigan_rt.engines.torch_device import DTYPES, check_precision, first_line, open_device
from hifigan_rt.engines.torch_module import TorchGenerator
from hifigan_rt.engines.torch_settings import exact_float32, worker_threads
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.graph import Generator
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights

EAGER, COMPILED = "eager", "compiled"

_Module = Callable[[torch.Tensor], torch.Tensor]


class TorchEngine(Engine):
    """A module on its device."""

    def __init__(self, module: _Module, info: EngineInfo, device: torch.device) -> None:
        super().__init__()
        self._module: _Module | None = module
        self._device = device
        self._dtype = DTYPES[info.precision]
        self.info = info

    def _run(self, mel: CheckedMel) -> np.ndarray:
        module = self._module
        if module is None:  # closed by another thread since `run` looked
            raise EngineError("engine 'torch' was closed while it ran: load the model again")
        try:
            return self._compute(module, mel)
        except RuntimeError as error:
            raise EngineError(f"PyTorch failed on a mel [B, M, T] = {list(mel.shape)}: {first_line(error)}") from error

    def _compute(self, module: _Module, mel: np.ndarray) -> np.ndarray:
        with _settings_of_a_call(self.info.threads):
            # A copy, since PyTorch warns of arrays that may not be written.
            batch = torch.from_numpy(mel.copy())[:, :, None].to(self._device, self._dtype)
            audio = module(batch.contiguous(memory_format=torch.channels_last))
            result: np.ndarray = audio.to("cpu", torch.float32).contiguous().numpy()
            return result

    def _close(self) -> None:
        self._module = None


def create(model: Weights, options: EngineOptions) -> TorchEngine:
    """Build a model's module and try it.

    Raises:
        EngineError: an option is not offered.
        EngineUnavailable: the device is not there, or compiling needs what is not there.
        PrecisionUnavailable: the device does not execute the precision.
    """
    threads = options.thread_count
    device = open_device("cpu" if options.device is None else options.device)
    check_precision(options.precision, device)
    mode = options.settings.get("mode", EAGER)
    module = _build(model.generator, device, DTYPES[options.precision])
    info = EngineInfo("torch", torch.__version__, options.precision, threads, str(device), mode)
    engine = TorchEngine(module, info, device)
    # What a device cannot do shows only when it is done.
    engine.run(CheckedMel(np.zeros((1, model.generator.graph.num_mels, 1), np.float32)))
    return TorchEngine(_compiled(module, device), info, device) if mode == COMPILED else engine


def _build(generator: Generator, device: torch.device, dtype: torch.dtype) -> TorchGenerator:
    try:
        module = TorchGenerator(generator).eval().to(device, dtype)
    except RuntimeError as error:
        raise EngineError(f"PyTorch cannot put the model on device {str(device)!r}: {first_line(error)}") from error
    laid_out: TorchGenerator = module.to(memory_format=torch.channels_last)
    return laid_out


def _compiled(module: TorchGenerator, device: torch.device) -> CompiledModule:
    try:
        try_compiler(device)
    except RuntimeError as error:
        raise EngineUnavailable(
            f"mode='compiled' does not work here ({first_line(error)}): on a CPU it needs a C++ compiler (g++ or "
            "clang++ on the PATH, or named by CXX), on a GPU the package triton; mode=eager needs neither"
        ) from error
    return CompiledModule(module)


@contextmanager
def _settings_of_a_call(threads: int) -> Iterator[None]:
    # Not inference_mode, under which weights are not frozen into a compiled program.
    with worker_threads(threads), exact_float32, torch.no_grad():
        yield
