"""Makes speechbrain.npz: SpeechBrain's HifiganGenerator, made from hyperparams.yaml by HyperPyYAML, and its mels.

Its `forward` is recorded. torchaudio does not load beside every PyTorch: only the part that computes mels is needed.
"""

# needs: speechbrain==1.1.2 hyperpyyaml==1.2.3 ruamel.yaml==0.18.16 ruamel.yaml.clib huggingface-hub
# needs: joblib tqdm sentencepiece torchaudio pyyaml

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from imports import bare_package, stub, version
from recording import Case, fill, record, seeded_recording, spell_weight_norm

# The library of compiled operations, which mels do not use.
stub("torchaudio._extension", "torchaudio.functional._alignment", "torchaudio.functional.filtering")
bare_package("torchaudio", "torchaudio.functional", "torchaudio.transforms")
for package, module in (("torchaudio.functional", "functional"), ("torchaudio.transforms", "_transforms")):
    parent, _, name = package.rpartition(".")
    sys.modules[package].__dict__.update(vars(importlib.import_module(f"{package}.{module}")))
    setattr(sys.modules[parent], name, sys.modules[package])

YAML = """
sample_rate: 8000
hop_length: 8
win_length: 48
n_mel_channels: 10
n_fft: 64
mel_fmin: 50.0
mel_fmax: 3500
mel_normalized: False
power: 1
norm: "slaney"
mel_scale: "slaney"
dynamic_range_compression: True

in_channels: 10
out_channels: 1
resblock_type: "RESBLOCK"
resblock_dilation_sizes: DILATIONS
resblock_kernel_sizes: [3, 5]
upsample_kernel_sizes: [8, 4]
upsample_initial_channel: 4
upsample_factors: [4, 2]
inference_padding: 5
cond_channels: 0
conv_post_bias: True

generator: !new:speechbrain.lobes.models.HifiGAN.HifiganGenerator
    in_channels: !ref <in_channels>
    out_channels: !ref <out_channels>
    resblock_type: !ref <resblock_type>
    resblock_dilation_sizes: !ref <resblock_dilation_sizes>
    resblock_kernel_sizes: !ref <resblock_kernel_sizes>
    upsample_kernel_sizes: !ref <upsample_kernel_sizes>
    upsample_initial_channel: !ref <upsample_initial_channel>
    upsample_factors: !ref <upsample_factors>
    inference_padding: !ref <inference_padding>
    cond_channels: !ref <cond_channels>
    conv_post_bias: !ref <conv_post_bias>

modules:
    generator: !ref <generator>
"""


def saved(state: dict[str, torch.Tensor], text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        torch.save(state, folder / "generator.ckpt")
        (folder / "hyperparams.yaml").write_text(text)

    return write


def own_mel() -> tuple[np.ndarray, np.ndarray]:
    from speechbrain.lobes.models.HifiGAN import mel_spectrogram

    audio = seeded_recording(300)
    mel = mel_spectrogram(
        sample_rate=8000, hop_length=8, win_length=48, n_fft=64, n_mels=10, f_min=50.0, f_max=3500, power=1,
        normalized=False, norm="slaney", mel_scale="slaney", compression=True, audio=torch.from_numpy(audio),
    )  # fmt: skip
    return audio, mel.numpy()


def make() -> Iterator[Case]:
    for seed, (name, resblock, dilations) in enumerate(
        (("parametrized", "1", "[[1, 3, 5], [1, 2, 3]]"), ("old", "2", "[[1, 3], [1, 2]]"))
    ):
        text = YAML.replace("RESBLOCK", resblock).replace("DILATIONS", dilations)
        generator = load_hyperpyyaml(io.StringIO(text))["generator"]
        fill(generator, seed, np.float16)
        state = {key: value.clone() for key, value in generator.state_dict().items()}
        if name == "old":
            state = {spell_weight_norm(key): value for key, value in state.items()}
        yield Case(
            name, "generator.ckpt", saved(state, text), generator, torch.nn.Module.__call__,
            features=own_mel() if name == "old" else None,
        )  # fmt: skip


if __name__ == "__main__":
    record("speechbrain", version("speechbrain"), make())
