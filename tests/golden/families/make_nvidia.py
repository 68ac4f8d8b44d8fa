"""Makes nvidia.npz: the HiFi-GAN generator of NVIDIA's DeepLearningExamples, as its training saves it.

    NVIDIA_SOURCE=DeepLearningExamples python tests/golden/families/make_nvidia.py [--check]

NVIDIA_SOURCE is a checkout of the commit below: it has no package.
"""

# needs: librosa==0.11.0 numba llvmlite joblib cloudpickle threadpoolctl lazy_loader audioread scikit-learn decorator
# needs: pooch platformdirs soxr msgpack
# source: NVIDIA_SOURCE https://github.com/NVIDIA/DeepLearningExamples 729963dd47e7c8bd462ad10bfac7a7b0b604e6dd

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imports import stub
from recording import Case, fill, record, seeded_recording

stub("common.tb_dllogger", "common.gpu_affinity", "matplotlib", "dllogger", "amp_C")
for name in [name for name in sys.modules if name.partition(".")[0] == "common"]:
    del sys.modules[name]
sys.path.insert(0, str(Path(os.environ["NVIDIA_SOURCE"], "PyTorch", "SpeechSynthesis", "HiFiGAN")))

from hifigan.data_function import mel_spectrogram  # noqa: E402
from hifigan.models import Generator  # noqa: E402

CONFIG: dict[str, Any] = {
    "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4], "upsample_initial_channel": 4, "resblock": "1",
    "resblock_kernel_sizes": [5, 3], "resblock_dilation_sizes": [[1, 3, 5], [1, 2, 3]],
}  # fmt: skip
SETUP: dict[str, Any] = {
    "segment_size": 64, "filter_length": 64, "num_mels": 80, "hop_length": 8, "win_length": 48, "sampling_rate": 8000,
    "mel_fmin": 50.0, "mel_fmax": 3500.0, "mel_fmax_loss": None, "max_wav_value": 32768.0, "seed": 1234,
}  # fmt: skip


def saved(state: dict[str, torch.Tensor], config: dict[str, Any]) -> Callable[[Path], None]:
    """What common/utils.py writes, with its default of no averaged weights."""

    def write(folder: Path) -> None:
        torch.save(
            {
                "generator": state, "gen_ema": None, "config": config, "train_setup": SETUP,
                "train_state": {"epoch": 1, "iters_all": 5},
            },
            folder / "hifigan_gen_checkpoint_1.pt",
        )  # fmt: skip

    return write


def build(config: dict[str, Any], seed: int) -> tuple[Generator, dict[str, torch.Tensor]]:
    generator = Generator(config)
    fill(generator, seed, np.float16)
    return generator, {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def own_mel() -> tuple[np.ndarray, np.ndarray]:
    audio = seeded_recording(56)
    mel = mel_spectrogram(torch.from_numpy(audio)[None], 64, 80, 8000, 8, 48, 50.0, 3500.0)
    return audio, mel[0].numpy()


def make() -> Iterator[Case]:
    generator, state = build(CONFIG, 1)
    yield Case(
        "nested", "hifigan_gen_checkpoint_1.pt", saved(state, CONFIG), generator, torch.nn.Module.__call__,
        num_mels=80, frames=9, features=own_mel(),
    )  # fmt: skip

    # Older ones number residual blocks through, always by 3; DistributedDataParallel adds its prefix.
    second = CONFIG | {"resblock_kernel_sizes": [3, 3, 1], "resblock_dilation_sizes": [[1, 2, 3]] * 3}
    generator, state = build(second, 2)

    def older(name: str) -> str:
        parts = name.split(".")
        if parts[0] == "resblocks":
            parts[1:3] = [str(int(parts[1]) * 3 + int(parts[2]))]
        return ".".join(("module", *parts))

    def inner(name: str) -> str:
        parts = name.split(".")
        if parts[0] == "resblocks":
            parts[1:2] = [str(int(parts[1]) // 3), str(int(parts[1]) % 3)]
        return ".".join(parts)

    yield Case(
        "flat_ddp", "hifigan_gen_checkpoint_1.pt", saved({older(name): state[name] for name in state}, second),
        generator, torch.nn.Module.__call__, num_mels=80, frames=9, inner=inner,
    )  # fmt: skip


if __name__ == "__main__":
    record("nvidia", "DeepLearningExamples 729963dd", make())
