"""Makes espnet_vits.npz: a VITS of ESPnet with three speakers, under the names of espnet2.gan_tts.vits.VITS.

The discriminator, larger by far, is left out.
"""

# needs: espnet==202511 humanfriendly packaging pyyaml

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from imports import stub, version
from recording import Case, fill_parts, record
from small_vits import SMALL_VITS

for missing in ("librosa", "numba", "torchaudio", "torch_complex.tensor", "torch_complex.functional"):
    stub(missing)


def keep(*functions, **_):
    """A decorator that changes nothing, with arguments or without."""
    return functions[0] if functions else keep


stub("numba", jit=keep, njit=keep, prange=range)
stub("typeguard", typechecked=keep)
from espnet2.gan_tts.vits.generator import VITSGenerator  # noqa: E402


def make() -> Iterator[Case]:
    voice = VITSGenerator(5, 3, **SMALL_VITS)
    fill_parts(voice, (voice.decoder, voice.global_emb), 31)
    config = {
        "tts": "vits",
        "tts_conf": {"generator_type": "vits_generator", "generator_params": SMALL_VITS, "sampling_rate": 24000},
        "feats_extract": "linear_spectrogram", "token_list": ["<blank>", "<unk>", "a", "<sos/eos>"],
    }  # fmt: skip

    def write(folder: Path) -> None:
        state = {f"tts.generator.{name}": tensor.clone() for name, tensor in voice.state_dict().items()}
        torch.save(state, folder / "train.total_count.ave_10best.pth")
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    row = voice.global_emb.weight[2].detach().clone().double()[None, :, None]
    yield Case(
        "vits", "train.total_count.ave_10best.pth", write, voice.decoder, lambda dec, z: dec(z, row), num_mels=6,
        frames=9, speaker=2,
    )  # fmt: skip


if __name__ == "__main__":
    record("espnet_vits", version("espnet"), make())
