"""Makes espnet.npz: HiFiGANGenerator of ESPnet, alone and within a model of text and vocoder trained together.

The package lies on sys.path, unpacked. Of the whole model the parts around the vocoder are a few tensors under their
names in espnet2.gan_tts.joint.JointText2Wav.
"""

# needs: espnet==202511 humanfriendly typeguard torch-complex packaging
# needs: librosa==0.11.0 lazy-loader joblib scikit-learn narwhals threadpoolctl decorator pooch msgpack numba llvmlite
# needs: audioread cloudpickle platformdirs soxr

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from espnet2.gan_tts.hifigan.hifigan import HiFiGANGenerator
from espnet2.layers.global_mvn import GlobalMVN
from espnet2.tts.feats_extract.log_mel_fbank import LogMelFbank
from recording import Case, fill, record

from golden.seeded import seeded_vector

SMALL = {
    "in_channels": 10, "out_channels": 1, "channels": 8, "kernel_size": 7, "resblock_kernel_sizes": [3],
    "resblock_dilations": [[1, 3]], "use_additional_convs": True, "nonlinear_activation": "LeakyReLU",
    "nonlinear_activation_params": {"negative_slope": 0.2}, "use_weight_norm": True,
}  # fmt: skip


def forward(module: torch.nn.Module, mel: torch.Tensor) -> torch.Tensor:
    return module(mel)


def make() -> Iterator[Case]:
    joint = SMALL | {"upsample_scales": [5, 3], "upsample_kernel_sizes": [10, 6], "global_channels": 6}
    module = HiFiGANGenerator(**joint)
    fill(module, 21)
    rng = np.random.default_rng(22)
    frames = rng.uniform(-5, 0, (50, 10)).astype(np.float32)
    statistics = {"count": len(frames), "sum": frames.sum(0), "sum_square": (frames**2).sum(0)}
    extract = {"n_fft": 64, "hop_length": 15, "win_length": None, "fs": 8000, "fmin": 80, "fmax": 3800, "n_mels": 10}
    config = {
        "tts": "joint_text2wav", "tts_conf": {
            "text2mel_type": "fastspeech2", "text2mel_params": {"adim": 4}, "vocoder_type": "hifigan_generator",
            "vocoder_params": {key: value for key, value in joint.items() if key != "in_channels"},
        },
        "feats_extract": "fbank", "feats_extract_conf": extract,
        "normalize": "global_mvn", "normalize_conf": {"stats_file": "exp/tts_stats/train/feats_stats.npz"},
        "token_list": ["<blank>", "<unk>", "a", "<sos/eos>"], "odim": None,
    }  # fmt: skip
    state = {f"tts.generator.vocoder.{key}": tensor.clone() for key, tensor in module.state_dict().items()}

    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "feats_stats.npz", **statistics)
        normalize = GlobalMVN(str(Path(folder) / "feats_stats.npz"))

    def write(folder: Path) -> None:
        around = {f"normalize.{key}": tensor for key, tensor in normalize.state_dict().items()} | {
            "tts.generator.text2mel.encoder.embed.0.weight": torch.zeros(4, 4),
            "tts.discriminator.msd.discriminators.0.layers.0.0.weight": torch.zeros(2, 1, 3),
        }
        torch.save(state | around, folder / "train.total_count.ave_10best.pth")
        (folder / "config.yaml").write_text(yaml.dump(config))

    vector = torch.from_numpy(seeded_vector(6)).reshape(1, 6, 1)
    audio = rng.integers(-30, 30, 480).astype(np.float32) / 64
    audio[100:300] = 0
    features, _ = normalize(LogMelFbank(**extract)(torch.from_numpy(audio)[None])[0])
    yield Case(
        "joint", "train.total_count.ave_10best.pth", write, module, lambda module, mel: module(mel, vector),
        conditioning=6, features=(audio, features[0].numpy().T),
    )  # fmt: skip

    alone = SMALL | {"upsample_scales": [3, 2], "upsample_kernel_sizes": [6, 4], "bias": False}
    alone |= {"use_additional_convs": False, "nonlinear_activation_params": {"negative_slope": 0.1}}
    single = HiFiGANGenerator(**alone)
    fill(single, 23)

    def write_alone(folder: Path) -> None:
        torch.save({key: tensor.clone() for key, tensor in single.state_dict().items()}, folder / "vocoder.pth")
        (folder / "config.yaml").write_text(yaml.dump({"vocoder_type": "hifigan_generator", "vocoder_params": alone}))

    yield Case("alone", "vocoder.pth", write_alone, single, forward)


if __name__ == "__main__":
    record("espnet", "espnet 202511", make())
