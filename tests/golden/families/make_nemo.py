"""Makes nemo.npz: NeMo's HiFi-GAN generator in .nemo files, and the mels of its FilterbankFeatures.

Its package wants Lightning and much more at import; generator and features are imported from their own files.
"""

# needs: nemo-toolkit==3.0.0 omegaconf==2.4.0 librosa==0.11.0 numba llvmlite joblib cloudpickle threadpoolctl
# needs: lazy_loader audioread scikit-learn decorator pooch platformdirs soxr msgpack pyyaml

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imports import bare_package, stub, version
from omegaconf import OmegaConf
from recording import Case, fill, record, seeded_recording

bare_package("nemo", "nemo.collections", "nemo.collections.tts", "nemo.collections.tts.modules")
stub("nemo.core.classes.common", typecheck=lambda: lambda function: function)
stub("nemo.core.classes.module", NeuralModule=torch.nn.Module)
stub("nemo.core.neural_types.elements", "nemo.core.neural_types.neural_type")
stub("nemo.collections.asr.parts.preprocessing.perturb", "nemo.collections.asr.parts.preprocessing.segment")
stub("nemo.utils", logging=logging)
bare_package("nemo.collections.asr", "nemo.collections.asr.parts", "nemo.collections.asr.parts.preprocessing")

from nemo.collections.asr.parts.preprocessing.features import FilterbankFeatures  # noqa: E402
from nemo.collections.tts.modules.hifigan_modules import Generator  # noqa: E402

CONFIG = """
target: nemo.collections.tts.models.hifigan.HifiGanModel
nemo_version: 3.0.0
sample_rate: 8000
mel_dim: 10
preprocessor:
  _target_: nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures
  nfilt: ${mel_dim}
  lowfreq: 0
  highfreq: 3500
  n_fft: 64
  n_window_size: 48
  n_window_stride: 8
  pad_to: 0
  pad_value: -11.52
  sample_rate: ${sample_rate}
  window: hann
  normalize: null
  preemph: null
  dither: 0.0
  frame_splicing: 1
  log: true
  log_zero_guard_type: clamp
  log_zero_guard_value: 1e-05
  mag_power: 1.0
  exact_pad: true
  use_grads: false
generator:
  _target_: nemo.collections.tts.modules.hifigan_modules.Generator
  resblock: 1
  upsample_rates: [4, 2]
  upsample_kernel_sizes: [4, 4]
  upsample_initial_channel: 8
  resblock_kernel_sizes: [3, 5]
  resblock_dilation_sizes: [[1, 3, 5], [1, 2, 3]]
  initial_input_size: ${mel_dim}
"""
TYPE_2 = {
    "resblock": 2, "upsample_rates": [2, 4], "upsample_kernel_sizes": [4, 8],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
}  # fmt: skip
LOG_1P = {"log_zero_guard_type": "add", "log_zero_guard_value": 1.0, "mel_norm": None, "highfreq": None}


def pack(config: Any, state: dict[str, torch.Tensor], mode: str, prefix: str) -> Callable[[Path], None]:
    """What writes model.nemo as NeMo's save_restore_connector does: the two files, added to a tar archive."""

    def write(folder: Path) -> None:
        weights = io.BytesIO()
        torch.save(state, weights)
        with tarfile.open(folder / "model.nemo", mode) as archive:
            entries = {
                "model_config.yaml": OmegaConf.to_yaml(config).encode(),
                "model_weights.ckpt": weights.getvalue(),
            }
            if prefix:
                folder_entry = tarfile.TarInfo(".")
                folder_entry.type = tarfile.DIRTYPE
                archive.addfile(folder_entry)
            for name, data in entries.items():
                entry = tarfile.TarInfo(prefix + name)
                entry.size, entry.mtime = len(data), 0.5  # a time that PAX headers hold
                archive.addfile(entry, io.BytesIO(data))

    return write


def flatten(name: str, n_blocks: int) -> str:
    """The name in older files, whose residual blocks are numbered through."""
    if not name.startswith("resblocks."):
        return name
    _, stage, block, rest = name.split(".", 3)
    return f"resblocks.{int(stage) * n_blocks + int(block)}.{rest}"


def nest(name: str, n_blocks: int) -> str:
    if not name.startswith("resblocks."):
        return name
    _, block, rest = name.split(".", 2)
    return f"resblocks.{int(block) // n_blocks}.{int(block) % n_blocks}.{rest}"


def make_case(name: str, config: Any, seed: int, mode: str, prefix: str, *, flat: bool) -> Case:
    values = OmegaConf.to_container(config, resolve=True)
    generator = Generator(**{key: value for key, value in values["generator"].items() if key != "_target_"})
    fill(generator, seed, np.float16)
    features = FilterbankFeatures(**{key: value for key, value in values["preprocessor"].items() if key != "_target_"})
    state = {f"audio_to_melspec_precessor.{key}": value for key, value in features.state_dict().items()}
    n_blocks = len(values["generator"]["resblock_kernel_sizes"])
    for key, value in generator.state_dict().items():
        state[f"generator.{flatten(key, n_blocks) if flat else key}"] = value.clone()
    state["mpd.discriminators.0.conv_post.weight_g"] = torch.zeros(1, 1, 1, 1)
    audio = seeded_recording(400)
    mel, length = features(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
    # Its own count of frames is one too small (get_seq_len): the last one is overwritten with pad_value.
    mel[:, :, int(length) :] = features_without_mask(features, audio)[:, :, int(length) :]
    return Case(
        name, "model.nemo", pack(config, state, mode, prefix), generator, lambda module, mel: module(x=mel),
        features=(audio, mel[0].numpy()), inner=(lambda key: nest(key, n_blocks)) if flat else str,
    )  # fmt: skip


def features_without_mask(features: FilterbankFeatures, audio: np.ndarray) -> torch.Tensor:
    longer = torch.tensor([len(audio) + features.hop_length])
    return features(torch.from_numpy(audio)[None], longer)[0]


def make() -> Iterator[Case]:
    config = OmegaConf.create(CONFIG)
    yield make_case("nested", config, 1, "w:", "./", flat=False)
    second = OmegaConf.merge(config, {"generator": TYPE_2, "preprocessor": LOG_1P})
    yield make_case("flat_gz", second, 2, "w:gz", "", flat=True)


if __name__ == "__main__":
    record("nemo", version("nemo-toolkit"), make())
