"""Makes parallel_wavegan.npz: HiFiGANGenerator with config and statistics as ParallelWaveGAN's training leaves them.

The package lies on sys.path, unpacked: its setup.py does not run with today's tools. Files are written as its
Trainer.save_checkpoint and compute_statistics.py do it, by torch.save, yaml.dump and its own write_hdf5.
"""

# needs: parallel-wavegan==0.6.1 kaldiio tqdm filelock
# needs: librosa==0.11.0 lazy-loader joblib scikit-learn narwhals threadpoolctl decorator pooch msgpack numba llvmlite
# needs: audioread cloudpickle platformdirs soxr

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
import yaml

# parallel-wavegan 0.6.1 takes it from where SciPy had it before version 1.13.
scipy.signal.kaiser = scipy.signal.windows.kaiser

from parallel_wavegan.bin.preprocess import logmelfilterbank  # noqa: E402
from parallel_wavegan.models import HiFiGANGenerator  # noqa: E402
from parallel_wavegan.utils import write_hdf5  # noqa: E402
from recording import Case, fill, record  # noqa: E402

SMALL = {
    "in_channels": 10, "out_channels": 1, "channels": 4, "kernel_size": 7, "resblock_kernel_sizes": [3],
    "resblock_dilations": [[1, 3]], "use_additional_convs": True, "bias": True,
    "nonlinear_activation": "LeakyReLU", "nonlinear_activation_params": {"negative_slope": 0.1},
}  # fmt: skip
MEL = {
    "sampling_rate": 8000, "fft_size": 64, "win_length": 48, "window": "hann", "num_mels": 10, "fmin": 80, "fmax": 3800,
}  # fmt: skip
RNG = np.random.default_rng(11)
MEAN, SCALE = RNG.uniform(-4, -1, 10).astype(np.float32), RNG.uniform(0.5, 1.5, 10).astype(np.float32)


def case(name: str, seed: int, statistics: str | None = None, *, typo: bool = False, **params: Any) -> Case:
    params = SMALL | params
    module = HiFiGANGenerator(**params)
    fill(module, seed)
    with torch.no_grad():
        for key, tensor in module.named_parameters():
            tensor.mul_(0.5 if key in ("input_conv.weight", "input_conv.weight_g", "input_conv.conv.weight_g") else 1)
    hop = int(np.prod(params["upsample_scales"]))
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    old = {"upsample_kernel_sizes": "upsample_kernal_sizes"} if typo else {}
    told = {old.get(key, key): value for key, value in params.items()}
    config = MEL | {"hop_size": hop, "generator_type": "HiFiGANGenerator", "generator_params": told, "format": "hdf5"}
    config |= {"discriminator_params": {"scales": 3, "log_base": None}, "batch_size": 16, "distributed": False}

    def write(folder: Path) -> None:
        content = {
            "model": {"generator": state, "discriminator": {"scale.0.weight": torch.zeros(2)}},
            "optimizer": {"generator": {"state": {}, "param_groups": [{"lr": 2e-4}]}}, "scheduler": {},
            "steps": 5, "epochs": 1,
        }  # fmt: skip
        if statistics == "buffers":
            content["model"]["generator"] = state | {"mean": torch.from_numpy(MEAN), "scale": torch.from_numpy(SCALE)}
        torch.save(content, folder / "checkpoint-5steps.pkl")
        (folder / "config.yml").write_text(yaml.dump(config, Dumper=yaml.Dumper))
        if statistics == "stats.h5":
            write_hdf5(str(folder / "stats.h5"), "mean", MEAN)
            write_hdf5(str(folder / "stats.h5"), "scale", SCALE)
        if statistics == "stats.npy":
            np.save(folder / "stats.npy", np.stack([MEAN, SCALE]))

    audio = np.random.default_rng(seed).integers(-30, 30, 480).astype(np.float32) / 64
    audio[100:300] = 0
    mel = (logmelfilterbank(audio.astype(np.float64), hop_size=hop, **MEL) - MEAN) / SCALE
    features = (audio, mel.T.astype(np.float32)) if statistics else None
    return Case(name, "checkpoint-5steps.pkl", write, module, lambda module, mel: module(mel), features=features)


def make() -> Iterator[Case]:
    yield case("even", 1, "stats.h5", typo=True, upsample_scales=[4, 2], upsample_kernel_sizes=[8, 4])
    yield case(
        "odd", 2, "stats.npy", upsample_scales=[5, 3], upsample_kernel_sizes=[10, 6], use_additional_convs=False,
        resblock_dilations=[[1, 3, 5]],
    )  # fmt: skip
    yield case(
        "causal",
        3,
        "buffers",
        upsample_scales=[3, 2],
        upsample_kernel_sizes=[6, 4],
        use_causal_conv=True,
        resblock_dilations=[[3]],
    )
    yield case(
        "plain", 4, None, upsample_scales=[2, 3], upsample_kernel_sizes=[4, 6], kernel_size=5, bias=False,
        resblock_dilations=[[2]],
        nonlinear_activation="ReLU", nonlinear_activation_params={}, use_weight_norm=False,
    )  # fmt: skip


if __name__ == "__main__":
    record("parallel_wavegan", "parallel-wavegan 0.6.1", make())
