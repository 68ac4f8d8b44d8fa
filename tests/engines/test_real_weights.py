"""Every engine on real weights and speech, the native one on each instruction set of this machine."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tolerances
from hifigan_rt._native import supported_isas
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.engines.reference import generate
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.resolve import resolve_model

pytestmark = pytest.mark.pretrained

SAMPLE = Path(__file__).parents[2] / "samples/harbour.flac"


@cache
def speech():
    """A model, a mel of speech and its audio in float64, which takes longer than all engines."""
    model = resolve_model("ljspeech-v1")
    # From where the voice has begun: in the quiet before, the same rounding weighs more (docs/figures.md).
    mel = np.ascontiguousarray(compute_mel(read_audio(SAMPLE).samples, model.mel)[:, 40:104])
    return model, mel, generate(model.generator, mel)


def check(engine_name):
    model, mel, truth = speech()
    engine = create_engine(engine_name, model, EngineOptions())
    audio = engine.run(mel[None])[0]
    engine.close()
    assert np.abs(audio).max() > 0.02  # it sounds
    assert snr_db(truth, audio) >= tolerances.PRETRAINED_SNR_DB


@pytest.mark.parametrize("isa", supported_isas())
def test_native_is_100_db_from_float64(monkeypatch, isa):
    monkeypatch.setenv(ISA_VARIABLE, isa)
    check("native")


@pytest.mark.parametrize("engine_name", ["onnxruntime", "openvino", pytest.param("torch", marks=pytest.mark.torch)])
def test_other_runtimes_are_100_db_from_float64(engine_name):
    check(engine_name)
