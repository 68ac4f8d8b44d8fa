"""The native engine on real weights and speech, on every instruction set of this machine."""

from pathlib import Path

import numpy as np
import pytest

import tolerances
from hifigan_rt._native import supported_isas
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import ISA_VARIABLE, create
from hifigan_rt.engines.reference import generate
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.resolve import resolve_model

SAMPLE = Path(__file__).parents[2] / "samples/harbour.flac"


@pytest.mark.pretrained
def test_real_weights_on_speech(monkeypatch):
    model = resolve_model("ljspeech-v1")
    # From where the voice has begun: in the quiet before, the same rounding weighs more (docs/figures.md).
    mel = np.ascontiguousarray(compute_mel(read_audio(SAMPLE).samples, model.mel)[:, 40:104])
    truth = generate(model.generator, mel)
    for isa in supported_isas():
        monkeypatch.setenv(ISA_VARIABLE, isa)
        engine = create(model, EngineOptions())
        assert engine.isa == isa
        assert snr_db(truth, engine.run(mel[None])[0]) >= tolerances.PRETRAINED_SNR_DB
        engine.close()
