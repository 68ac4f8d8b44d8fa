"""Engines around other runtimes, on real weights and speech; the native engine has test_native_pretrained.py."""

from pathlib import Path

import numpy as np
import pytest

import tolerances
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.resolve import resolve_model

SAMPLE = Path(__file__).parents[2] / "samples/harbour.flac"


@pytest.mark.pretrained
@pytest.mark.parametrize("engine_name", ["onnxruntime", "openvino"])
def test_real_weights_are_100_db_from_float64(engine_name):
    model = resolve_model("ljspeech-v1")
    # From where the voice has begun: in the quiet before, the same rounding weighs more (docs/figures.md).
    mel = np.ascontiguousarray(compute_mel(read_audio(SAMPLE).samples, model.mel)[:, 40:104])
    engine = create_engine(engine_name, model, EngineOptions())
    audio = engine.run(mel[None])[0]
    assert np.abs(audio).max() > 0.02  # it sounds
    assert snr_db(generate(model.generator, mel), audio) >= tolerances.PRETRAINED_SNR_DB
