"""Makes transformers.npz: SpeechT5HifiGan and FastSpeech2ConformerHifiGan, saved by transformers itself."""

# needs: transformers==5.24.0 huggingface-hub==2.4.0 tokenizers==0.23.3 regex tqdm filelock fsspec packaging pyyaml
# needs: typer-slim hf-xet httpx

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import transformers
from recording import Case, fill, record, seeded_recording
from transformers import (
    FastSpeech2ConformerConfig,
    FastSpeech2ConformerHifiGan,
    FastSpeech2ConformerHifiGanConfig,
    FastSpeech2ConformerWithHifiGan,
    FastSpeech2ConformerWithHifiGanConfig,
    SpeechT5FeatureExtractor,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

SMALL = {
    "model_in_dim": 10, "upsample_initial_channel": 8, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4],
    "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2, 5]],
}  # fmt: skip


def forward(module: torch.nn.Module, mel: torch.Tensor) -> torch.Tensor:
    return module(mel.transpose(1, 2))


def feature_extractor_mel() -> tuple[np.ndarray, np.ndarray]:
    """The mel of SpeechT5's vocoder by its feature extractor."""
    audio = seeded_recording(1200)
    features = SpeechT5FeatureExtractor()(audio_target=audio, sampling_rate=16000)
    return audio, np.asarray(features["input_values"][0], np.float32).T


def make() -> Iterator[Case]:
    speecht5 = SpeechT5HifiGan(SpeechT5HifiGanConfig(**SMALL, leaky_relu_slope=0.2))
    fill(speecht5, 1, np.float16)
    yield Case("speecht5", "model.safetensors", speecht5.save_pretrained, speecht5, forward)

    # normalize_before=False leaves mean and scale in the file; the .bin is what torch.save gives.
    alone = FastSpeech2ConformerHifiGan(FastSpeech2ConformerHifiGanConfig(**SMALL, normalize_before=False))
    fill(alone, 2, np.float16)
    state = {name: tensor.clone() for name, tensor in alone.state_dict().items()}

    def write_bin(folder):
        alone.config.save_pretrained(folder)
        torch.save(state, folder / "pytorch_model.bin")

    yield Case("fastspeech2", "pytorch_model.bin", write_bin, alone, forward)

    vocoder = FastSpeech2ConformerHifiGanConfig(**SMALL)
    model = FastSpeech2ConformerConfig(
        hidden_size=4, vocab_size=5, num_mel_bins=10, encoder_num_attention_heads=1, encoder_layers=1,
        encoder_linear_units=4, decoder_layers=1, decoder_linear_units=4, decoder_num_attention_heads=1,
        speech_decoder_postnet_layers=1, speech_decoder_postnet_units=4, speech_decoder_postnet_kernel=3,
        positionwise_conv_kernel_size=1, duration_predictor_layers=1, duration_predictor_channels=4,
        energy_predictor_layers=1, energy_predictor_channels=4, pitch_predictor_layers=1, pitch_predictor_channels=4,
        conformer_depthwise_kernel_size=3, encoder_kernel_size=3, decoder_kernel_size=3,
    )  # fmt: skip
    config = FastSpeech2ConformerWithHifiGanConfig(model_config=model.to_dict(), vocoder_config=vocoder.to_dict())
    whole = FastSpeech2ConformerWithHifiGan(config)
    for parameter in whole.model.parameters():
        torch.nn.init.zeros_(parameter)  # nothing of it is looked at but its names, and zeros take no room
    fill(whole.vocoder, 3, np.float16)
    yield Case(
        "with_hifigan", "model.safetensors", whole.save_pretrained, whole.vocoder, forward, frames=5,
        features=feature_extractor_mel(), features_config=SpeechT5HifiGanConfig().to_dict(),
    )  # fmt: skip


if __name__ == "__main__":
    record("transformers", f"transformers {transformers.__version__}", make())
