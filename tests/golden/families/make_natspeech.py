"""Makes natspeech.npz: the HiFi-GANs of NATSpeech and DiffSinger with their own configs, and the mels of both.

    NATSPEECH_SOURCE=natspeech DIFFSINGER_SOURCE=diffsinger python tests/golden/families/make_natspeech.py [--check]

Both are copies of repositories that have no package, and name their modules alike: single files of them are run.
"""

# source: NATSPEECH_SOURCE https://github.com/NATSpeech/NATSpeech 2e7084e4c76ee165de8d6ff7dacf6011514fbe7c
# source: DIFFSINGER_SOURCE https://github.com/MoonInTheRiver/DiffSinger ce7789f1427ddcdec647b3ab2bf2d1b12134e51e
# needs: librosa==0.11.0 numba llvmlite joblib cloudpickle threadpoolctl lazy_loader audioread scikit-learn decorator
# needs: pooch platformdirs soxr msgpack soundfile scipy pyyaml

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import librosa
import numpy as np
import scipy.ndimage  # noqa: F401 - what is stubbed of it lies within the true one
import torch
import yaml
from imports import stub
from recording import Case, fill, record, seeded_recording

SMALL: dict[str, Any] = {
    "upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8], "upsample_initial_channel": 4, "hop_size": 16,
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]], "fft_size": 1024, "win_size": 1024,
}  # fmt: skip
stub("skimage.transform", "scipy.ndimage.morphology", "pyloudnorm", "parselmouth", "webrtcvad", "tqdm")
stub("matplotlib", use=lambda _: None)
stub("utils.audio.vad", "utils.text_encoder", "utils.pitch_utils", "utils.commons.ckpt_utils", "utils.os_utils")
stub("utils.commons.ddp_utils", "utils.commons.hparams", "utils.commons.tensor_utils")
stub("modules.parallel_wavegan.layers", "modules.parallel_wavegan.models.source")
named_filters = librosa.filters.mel
# Both pass by place what librosa takes by name alone since 0.10.
librosa.filters.mel = lambda sr, n_fft, n_mels, fmin, fmax: named_filters(
    sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax
)


def run(source: str, file: str) -> Any:
    """Run one file of a copy as a module of its own."""
    spec = importlib.util.spec_from_file_location(file.replace("/", "_"), Path(os.environ[source]) / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_config(source: str, hparams: str, config: str) -> dict[str, Any]:
    """The config as the project joins it from its files, with a small network."""
    with contextlib.chdir(os.environ[source]):
        return dict(run(source, hparams).set_hparams(config, print_hparams=False)) | SMALL


def case(name: str, source: str, generator_file: str, config: dict[str, Any], seed: int, save: Any, mel: Any) -> Case:
    generator = run(source, generator_file).HifiGanGenerator(config)
    fill(generator, seed, np.float16)
    state = {key: tensor.clone() for key, tensor in generator.state_dict().items()}

    def write(folder: Path) -> None:
        save(state, folder / "model_ckpt_steps_5.ckpt")
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    samples = seeded_recording(300)
    return Case(
        name, "model_ckpt_steps_5.ckpt", write, generator, torch.nn.Module.__call__, num_mels=80, frames=5,
        config="config.yaml", features=(samples, np.asarray(mel(samples), np.float32)),
    )  # fmt: skip


def make() -> Iterator[Case]:
    natspeech = read_config("NATSPEECH_SOURCE", "utils/commons/hparams.py", "egs/datasets/audio/lj/hifigan.yaml")
    names = {"fft_size": "fft_size", "hop_size": "hop_size", "win_length": "win_size", "fmin": "fmin", "fmax": "fmax",
             "num_mels": "audio_num_mel_bins", "sample_rate": "audio_sample_rate"}  # fmt: skip
    frames = {theirs: natspeech[stated] for theirs, stated in names.items()}
    trainer = run("NATSPEECH_SOURCE", "utils/commons/trainer.py").Trainer
    audio = run("NATSPEECH_SOURCE", "utils/audio/__init__.py")

    def save_as_trained(state: dict[str, torch.Tensor], path: Path) -> None:
        part = SimpleNamespace(parameters=lambda: [state], state_dict=lambda: state)
        task = SimpleNamespace(named_children=lambda: [("model_gen", part)])
        own = SimpleNamespace(
            current_epoch=1, global_step=5, best_val_results=None, optimizers=[], get_task_ref=lambda: task
        )
        own.dump_checkpoint = lambda: trainer.dump_checkpoint(own)
        trainer._atomic_save(own, path)

    yield case(
        "natspeech", "NATSPEECH_SOURCE", "modules/vocoder/hifigan/hifigan.py", natspeech, 1, save_as_trained,
        lambda samples: audio.librosa_wav2spec(samples, **frames)["mel"].T,
    )  # fmt: skip

    diffsinger = read_config("DIFFSINGER_SOURCE", "utils/hparams.py", "configs/tts/lj/hifigan.yaml")
    diffsinger |= {"use_pitch_embed": False}
    stub("utils", audio=run("DIFFSINGER_SOURCE", "utils/audio.py"))
    frames = {theirs: diffsinger[stated] for theirs, stated in names.items()}
    frames["eps"] = float(diffsinger.get("wav2spec_eps", 1e-10))  # as vocoders/pwg.py has it
    analysis = run("DIFFSINGER_SOURCE", "data_gen/tts/data_gen_utils.py")
    yield case(
        # As vocoders/hifigan.py reads it; the program that trained it is not in the repository.
        "diffsinger", "DIFFSINGER_SOURCE", "modules/hifigan/hifigan.py", diffsinger, 2,
        lambda state, path: torch.save({"state_dict": {"model_gen": state}}, path),
        lambda samples: analysis.process_utterance(samples, **frames)[1],
    )  # fmt: skip


if __name__ == "__main__":
    record("natspeech", "NATSpeech 2e7084e, DiffSinger ce7789f", make())
