"""Makes vits.npz: whole voices of VITS and of transformers' VitsModel, saved as their own programs save them.

    VITS_SOURCE=vits python tests/golden/families/make_vits.py [--check]

VITS_SOURCE is a copy of jaywalnut310/vits at commit 2e561ba58618d021b5b8323d3765880f7e0ecfdb, which has no package.
"""

# source: VITS_SOURCE https://github.com/jaywalnut310/vits 2e561ba58618d021b5b8323d3765880f7e0ecfdb
# needs: transformers==5.24.0 huggingface-hub==2.4.0 tokenizers==0.23.3 regex tqdm filelock fsspec packaging pyyaml
# needs: typer-slim hf-xet httpx scipy

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from imports import stub, version
from recording import VOICE, Case, fill_parts, record
from transformers import VitsConfig, VitsModel

stub("monotonic_align", "librosa", "librosa.util", "librosa.filters")
sys.path.insert(0, os.environ["VITS_SOURCE"])
import models as vits_models  # noqa: E402
import utils as vits_utils  # noqa: E402


def make() -> Iterator[Case]:
    voice = vits_models.SynthesizerTrn(5, 3, 4, **VOICE, n_speakers=3, gin_channels=5, use_sdp=False)
    fill_parts(voice, (voice.dec, voice.emb_g), 1)
    optimizer = torch.optim.AdamW(voice.dec.conv_post.parameters())
    config = {
        "train": {"segment_size": 32, "batch_size": 64},
        "data": {"sampling_rate": 16000, "filter_length": 64, "hop_length": 8, "win_length": 64, "n_mel_channels": 80,
                 "mel_fmin": 0.0, "mel_fmax": None, "n_speakers": 3},
        "model": VOICE | {"gin_channels": 5},
        "speakers": ["anna", "ben", "cleo"],
    }  # fmt: skip

    def write(folder: Path) -> None:
        vits_utils.save_checkpoint(voice, optimizer, 2e-4, 7, str(folder / "G_7.pth"))
        (folder / "config.json").write_text(json.dumps(config))

    row = voice.emb_g.weight[1].detach().clone().double()[None, :, None]
    yield Case("vits", "G_7.pth", write, voice.dec, lambda dec, z: dec(z, g=row), num_mels=6, speaker=1)

    sizes = VitsConfig(
        vocab_size=5, hidden_size=6, num_hidden_layers=1, num_attention_heads=1, window_size=1, ffn_dim=4,
        flow_size=6, spectrogram_bins=3, wavenet_dilation_rate=1, posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=1, duration_predictor_num_flows=1,
        depth_separable_num_layers=1, upsample_initial_channel=8, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4],
        resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 3, 5], [1, 2, 4]], leaky_relu_slope=0.2,
        num_speakers=3, speaker_embedding_size=5, sampling_rate=16000, use_stochastic_duration_prediction=False,
        duration_predictor_filter_channels=4,
    )  # fmt: skip
    mms = VitsModel(sizes)
    fill_parts(mms, (mms.decoder, mms.embed_speaker), 3)
    vector = mms.embed_speaker.weight[2].detach().clone().double()[None, :, None]
    yield Case(
        "vits_model", "model.safetensors", mms.save_pretrained, mms.decoder, lambda dec, z: dec(z, vector),
        num_mels=6, speaker=2,
    )  # fmt: skip


if __name__ == "__main__":
    record("vits", f"jaywalnut310/vits 2e561ba, {version('transformers')}", make())
