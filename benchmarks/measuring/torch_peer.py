"""PyTorch at its best settings here: 2-D convolutions, channels last, inductor with frozen weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch._inductor import config as inductor_config

from hifigan_rt.engines.torch_module import Form, TorchGenerator
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.worker import Executed
from measuring.candidates import Job, plain_name


class TorchPeer:
    """A module in channels-last layout. Compiling happens in the first inference, which the worker tells apart."""

    def __init__(self, job: Job) -> None:
        name = plain_name(job.candidate)
        torch.set_num_threads(job.threads)
        torch.set_num_interop_threads(1)
        generator = resolve_model(job.checkpoint).generator
        assert generator is not None
        dtype = torch.bfloat16 if name == "torch-bf16" else torch.float32
        module: Any = TorchGenerator(generator, Form(dtype, dtype))
        if name != "torch-eager":
            inductor_config.freezing = True
            module = torch.compile(module)
        self._module = module
        form = "eager" if name == "torch-eager" else "compiled, frozen"
        precision = str(dtype).removeprefix("torch.")
        self.executed = Executed(f"torch {torch.__version__}, {form}", precision, torch.get_num_threads())

    def run(self, mel: np.ndarray) -> np.ndarray:
        # no_grad, not inference_mode: freezing is skipped under the latter.
        with torch.no_grad():
            audio: np.ndarray = self._module(torch.from_numpy(mel)).float().numpy()
        return audio


def load(job: Job) -> TorchPeer:
    return TorchPeer(job)
