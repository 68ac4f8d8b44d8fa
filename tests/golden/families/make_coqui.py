"""Makes coqui.npz: Coqui TTS's HiFi-GAN generator, as its trainer saves it, and the mels of its AudioProcessor.

The generator's `forward` is recorded. The package wants torchcodec and a trainer at import: modules are imported alone.
"""

# needs: coqui-tts==0.28.0 coqpit-config==0.2.5 librosa==0.11.0 numba llvmlite joblib cloudpickle threadpoolctl
# needs: lazy_loader audioread scikit-learn decorator pooch platformdirs soxr msgpack soundfile

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coqpit import Coqpit
from imports import bare_package, stub, version
from recording import Case, fill, record, seeded_recording, spell_weight_norm

from golden.seeded import seeded_vector

bare_package("TTS", "TTS.vocoder", "TTS.vocoder.models", "TTS.utils", "TTS.utils.audio", "TTS.config")
stub("trainer", TrainerConfig=Coqpit)
stub("trainer.io", "TTS.tts.utils.helpers")

from TTS.config.shared_configs import BaseAudioConfig  # noqa: E402
from TTS.utils.audio.processor import AudioProcessor  # noqa: E402
from TTS.vocoder.models.hifigan_generator import HifiganGenerator  # noqa: E402

PARAMETERS: dict[str, Any] = {
    "upsample_factors": [4, 2], "upsample_kernel_sizes": [8, 4], "upsample_initial_channel": 4,
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]], "resblock_type": "1",
}  # fmt: skip
SECOND = PARAMETERS | {
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 2]], "resblock_type": "2",
}  # fmt: skip
AUDIO: dict[str, Any] = {
    "fft_size": 128, "win_length": 96, "hop_length": 8, "sample_rate": 8000, "num_mels": 10, "mel_fmin": 50.0,
    "mel_fmax": 3500.0, "frame_shift_ms": None, "frame_length_ms": None, "preemphasis": 0.0, "stats_path": None,
    "do_trim_silence": False, "signal_norm": True, "symmetric_norm": True, "max_norm": 4.0, "clip_norm": True,
    "min_level_db": -60, "ref_level_db": 10, "spec_gain": 20, "log_func": "np.log10", "stft_pad_mode": "reflect",
    "do_amp_to_db_mel": True,
}  # fmt: skip
PLAIN_AUDIO = AUDIO | {"signal_norm": False, "spec_gain": 1, "log_func": "np.log"}


def processor_mel(audio: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    samples = seeded_recording(300)
    mel = AudioProcessor(BaseAudioConfig(**audio)).melspectrogram(samples)
    return samples, np.asarray(mel, np.float32)


def saved(
    state: dict[str, torch.Tensor], parameters: dict[str, Any], audio: dict[str, Any], **beside: Any
) -> Callable[[Path], None]:
    config = {
        "model": "hifigan", "generator_model": "hifigan_generator", "generator_model_params": parameters,
        "discriminator_model": "hifigan_discriminator", "audio": audio,
    }  # fmt: skip

    def write(folder: Path) -> None:
        torch.save({"model": state, "step": 5, "epoch": 1, **beside}, folder / "best_model.pth")
        (folder / "config.json").write_text(json.dumps(config))

    return write


def build(parameters: dict[str, Any], seed: int, **more: Any) -> tuple[HifiganGenerator, dict[str, torch.Tensor]]:
    generator = HifiganGenerator(in_channels=10, out_channels=1, **parameters, **more)
    fill(generator, seed, np.float16)
    return generator, {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def conditioned(module: torch.nn.Module, mel: torch.Tensor) -> torch.Tensor:
    return module(mel, g=torch.from_numpy(seeded_vector(6))[None, :, None])


def make() -> Iterator[Case]:
    generator, state = build(PARAMETERS, 1)
    wrapped = {f"model_g.{name}": tensor for name, tensor in state.items()}
    wrapped["model_d.mpd.discriminators.0.conv_post.bias"] = torch.zeros(1)
    yield Case(
        "gan", "best_model.pth", saved(wrapped, PARAMETERS, AUDIO), generator, torch.nn.Module.__call__,
        features=processor_mel(AUDIO),
    )  # fmt: skip

    generator, state = build(SECOND, 2)
    old = {spell_weight_norm(name): tensor for name, tensor in state.items()}
    yield Case(
        "old", "best_model.pth", saved(old, SECOND, PLAIN_AUDIO, model_disc={}), generator, torch.nn.Module.__call__,
        features=processor_mel(PLAIN_AUDIO),
    )  # fmt: skip

    generator, state = build(SECOND, 3, cond_channels=6)
    yield Case(
        "conditioned", "best_model.pth", saved(state, SECOND, AUDIO), generator, conditioned, conditioning=6
    )  # fmt: skip

    generator, state = build(SECOND, 4, pre_linear=7)
    yield Case(
        "pre_linear", "best_model.pth", saved(state, SECOND | {"pre_linear": 7}, AUDIO | {"num_mels": 7}), generator,
        lambda module, mel: module(mel.transpose(1, 2)), num_mels=7,
    )  # fmt: skip


def make_xtts() -> Iterator[Case]:
    # The decoder of XTTS (tts/layers/xtts/hifigan_decoder.py), whose config does not tell its rates: its defaults.
    rates = {"upsample_factors": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4], "upsample_initial_channel": 16}
    blocks = {"resblock_kernel_sizes": [3, 1, 1], "resblock_dilation_sizes": [[1, 3, 5]] * 3, "resblock_type": "1"}
    generator, state = build(
        rates | blocks, 5, cond_channels=6, conv_pre_weight_norm=False, conv_post_weight_norm=False,
        conv_post_bias=False, cond_in_each_up_layer=True, inference_padding=0,
    )  # fmt: skip
    whole = {f"hifigan_decoder.waveform_decoder.{name}": tensor for name, tensor in state.items()}
    whole["gpt.text_embedding.weight"] = torch.zeros(2, 2)
    whole["hifigan_decoder.speaker_encoder.conv1.weight"] = torch.zeros(2, 1, 3, 3)

    def write_xtts(folder: Path) -> None:
        # The older of its two formats, which takes less room.
        torch.save({"model": whole}, folder / "model.pth", _use_new_zipfile_serialization=False)
        arguments = {"output_sample_rate": 24000, "decoder_input_dim": 10, "d_vector_dim": 6}
        (folder / "config.json").write_text(json.dumps({"model": "xtts", "model_args": arguments}))

    yield Case("xtts", "model.pth", write_xtts, generator, conditioned, conditioning=6, frames=1)  # fmt: skip


if __name__ == "__main__":
    record("coqui", version("coqui-tts"), make())
    record("coqui_xtts", version("coqui-tts"), make_xtts())
