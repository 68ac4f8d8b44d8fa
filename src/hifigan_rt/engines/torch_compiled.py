"""A module as compiled programs: one per shape of its input, or one for rows of any length."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hifigan_rt.engines.torch_module import TorchGenerator
from hifigan_rt.graph import MEL

MAX_PROGRAMS = 8
"""Shapes that are compiled; the first ones to come. Each costs seconds and a copy of the weights."""


class CompiledModule:
    """Runs the first `MAX_PROGRAMS` shapes compiled and all others eagerly, which gives the same up to rounding.

    On a CPU a program for any length is no faster than the eager module: weights are laid out for a shape, and loops
    unrolled, only if the shape is known (docs/torch.md).
    """

    def __init__(self, module: TorchGenerator) -> None:
        self.module = module
        self._programs: dict[tuple[int, ...], Callable[..., torch.Tensor]] = {}
        self._compiling = threading.Lock()

    @property
    def programs(self) -> int:
        """How many shapes are compiled."""
        return len(self._programs)

    def __call__(self, mel: torch.Tensor, conditioning: torch.Tensor | None = None) -> torch.Tensor:
        shape = tuple(mel.shape)
        program = self._programs.get(shape)
        if program is not None:
            return program(mel, conditioning=conditioning)
        with self._compiling:
            if shape not in self._programs and len(self._programs) < MAX_PROGRAMS:
                from torch._inductor import config as inductor_config

                compiled = torch.compile(self.module, dynamic=False)
                # PyTorch compiles in the first call. Given as an option of torch.compile, freezing reaches only a part.
                with inductor_config.patch(freezing=True):
                    compiled(mel, conditioning=conditioning)
                self._programs[shape] = compiled
        return self._programs.get(shape, self.module)(mel, conditioning=conditioning)


class CompiledRows:
    """One program for rows of any length: on a GPU it takes 3 % longer than one for each, and compiles once.

    Each chain of layers is a program of its own, so that branches run side by side.
    """

    def __init__(self, module: TorchGenerator) -> None:
        self.module = module
        self._chains = [_CompiledChain(chain, module.form.channels_last) for chain in module.chains]

    def __call__(self, mel: torch.Tensor, masks: Sequence[torch.Tensor], streams: Sequence[Any]) -> torch.Tensor:
        """Compute rows float32 `[1, M, F]`; see `TorchGenerator.forward`."""
        audio: torch.Tensor = self.module(mel, masks, streams, self._chains)
        return audio


class _CompiledChain:
    def __init__(self, chain: torch.nn.Module, channels_last: bool) -> None:
        self._program = torch.compile(chain)
        self._reads_mel = MEL in chain.inputs
        self._time = 1 if channels_last else 2

    def __call__(self, inputs: Sequence[torch.Tensor], masks: Sequence[torch.Tensor]) -> torch.Tensor:
        for x in inputs:
            torch._dynamo.mark_dynamic(x, 2 if self._reads_mel else self._time)
        for mask in masks:
            torch._dynamo.mark_dynamic(mask, self._time)
        # All chains share their code, which PyTorch would else compile for the first eight of them only.
        with torch._dynamo.config.patch({_LIMIT_OF_PROGRAMS: _MAX_CHAINS}):
            value: torch.Tensor = self._program(inputs, masks)
        return value


_MAX_CHAINS = 256

_LIMIT_OF_PROGRAMS = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
"""Its name since PyTorch 2.7, or the one before."""


def try_compiler(device: torch.device) -> None:
    """Compile next to nothing.

    Raises:
        RuntimeError: what the device's compiler lacks here.
    """
    torch.compile(_next_to_nothing)(torch.ones(64, device=device))


def _next_to_nothing(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x) + 1
