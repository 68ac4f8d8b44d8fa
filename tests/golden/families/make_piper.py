"""Makes piper.npz: a voice of Piper, laid out as its training saves it by Lightning."""

# needs: piper-tts==1.8.0

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from imports import bare_package, stub, version
from recording import VOICE, Case, fill_parts, record

bare_package("piper", "piper.train", "piper.train.vits")
stub("piper.train.vits.monotonic_align")
from piper.train.vits import models  # noqa: E402


def make() -> Iterator[Case]:
    # Lists are texts where they came from a command line. The discriminators, larger by far, are left out.
    own = VOICE | {
        "resblock": "2",
        "resblock_kernel_sizes": (3, 5),
        "resblock_dilation_sizes": ((1, 2), (2, 6)),
        "upsample_rates": (4, 3),
        "upsample_kernel_sizes": (8, 7),
    }
    medium = models.SynthesizerTrn(5, 3, 4, **own, n_speakers=1, gin_channels=0, use_sdp=False)
    fill_parts(medium, (medium.dec,), 2)
    parameters = own | {name: str(value) for name, value in own.items() if isinstance(value, (list, tuple))}
    checkpoint = {
        "epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.5.0", "loops": {}, "optimizer_states": [],
        "state_dict": {f"model_g.{name}": tensor for name, tensor in medium.state_dict().items()},
        "hparams_name": "kwargs",
        "hyper_parameters": {"num_symbols": 5, "num_speakers": 1, "sample_rate": 22050, "dataset_dir": Path("x")}
        | parameters,
    }  # fmt: skip
    voice_config = {
        "audio": {"sample_rate": 22050, "quality": "medium"}, "espeak": {"voice": "en-us"}, "num_symbols": 5,
        "num_speakers": 1, "speaker_id_map": {}, "phoneme_id_map": {"_": [0]}, "phoneme_type": "espeak",
    }  # fmt: skip

    def write_lightning(folder: Path) -> None:
        torch.save(checkpoint, folder / "epoch=3.ckpt")
        (folder / "config.json").write_text(json.dumps(voice_config))

    yield Case("medium", "epoch=3.ckpt", write_lightning, medium.dec, lambda dec, z: dec(z), num_mels=6)


if __name__ == "__main__":
    record("piper", version("piper-tts"), make())
