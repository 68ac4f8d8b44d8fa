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

for missing in ("librosa", "numba", "torchaudio", "torch_complex.tensor", "torch_complex.functional"):
    stub(missing)


def keep(*functions, **_):
    """A decorator that changes nothing, with arguments or without."""
    return functions[0] if functions else keep


stub("numba", jit=keep, njit=keep, prange=range)
stub("typeguard", typechecked=keep)
from espnet2.gan_tts.vits.generator import VITSGenerator  # noqa: E402

SMALL = {
    "hidden_channels": 6, "spks": 3, "global_channels": 5, "segment_size": 4, "text_encoder_attention_heads": 1,
    "text_encoder_ffn_expand": 1, "text_encoder_blocks": 1, "text_encoder_conformer_kernel_size": 1,
    "use_conformer_conv_in_text_encoder": False, "use_macaron_style_in_text_encoder": False, "decoder_channels": 8,
    "decoder_upsample_scales": [5, 2], "decoder_upsample_kernel_sizes": [10, 4],
    "decoder_resblock_kernel_sizes": [3, 5], "decoder_resblock_dilations": [[1, 3], [1, 2]],
    "posterior_encoder_layers": 1, "flow_flows": 1, "flow_layers": 1, "stochastic_duration_predictor_flows": 1,
    "stochastic_duration_predictor_dds_conv_layers": 1,
}  # fmt: skip


def make() -> Iterator[Case]:
    voice = VITSGenerator(5, 3, **SMALL)
    fill_parts(voice, (voice.decoder, voice.global_emb), 31)
    config = {
        "tts": "vits",
        "tts_conf": {"generator_type": "vits_generator", "generator_params": SMALL, "sampling_rate": 24000},
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
