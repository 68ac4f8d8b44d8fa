"""Makes amphion.npz: Amphion's HiFi-GAN as a step of its GANVocoder is saved, with its recipe's config and its mel.

    AMPHION_SOURCE=amphion python tests/golden/families/make_amphion.py [--check]

AMPHION_SOURCE is a copy of a repository that has no package. Its trainer saves by Accelerate.
"""

# source: AMPHION_SOURCE https://github.com/open-mmlab/Amphion d3de90f02e7f1c7dbc24b04d52fe1b8ef438effe
# needs: librosa==0.11.0 numba llvmlite joblib cloudpickle threadpoolctl lazy_loader audioread scikit-learn decorator
# needs: pooch platformdirs soxr msgpack soundfile scipy json5==0.17.3 accelerate==1.15.0 einops psutil packaging pyyaml
# needs: huggingface-hub tqdm filelock fsspec requests ruamel.yaml six

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from imports import version
from recording import Case, fill, record, seeded_recording

sys.path.insert(0, os.environ["AMPHION_SOURCE"])
from models.vocoders.gan.generator.hifigan import HiFiGAN
from utils.mel import extract_mel_features
from utils.util import JsonHParams, load_config, save_config


def make() -> Iterator[Case]:
    with contextlib.chdir(os.environ["AMPHION_SOURCE"]):
        config = load_config("egs/vocoder/gan/hifigan/exp_config.json")
    config.preprocess.n_mel = 10
    config.preprocess.hop_size = 8
    config.model.hifigan = JsonHParams(
        resblock="2", upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4], upsample_initial_channel=4,
        resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 2], [2, 6]],
    )  # fmt: skip
    generator = HiFiGAN(config)
    fill(generator, 1)

    def write(folder: Path) -> None:
        accelerator = Accelerator(cpu=True)
        accelerator.prepare(generator, torch.nn.Conv1d(1, 1, 1))
        accelerator.save_state(str(folder / "step"))
        # Beside it lie the discriminators and states of the training.
        (folder / "step" / "model.safetensors").rename(folder / "model.safetensors")
        shutil.rmtree(folder / "step")
        save_config(str(folder / "args.json"), config)

    samples = seeded_recording(2000)
    mel = extract_mel_features(torch.from_numpy(samples)[None], config.preprocess).numpy()
    yield Case(
        "hifigan", "model.safetensors", write, generator, torch.nn.Module.__call__, config="args.json",
        features=(samples, np.asarray(mel, np.float32)),
    )  # fmt: skip


if __name__ == "__main__":
    record("amphion", f"Amphion d3de90f, {version('accelerate')}", make())
