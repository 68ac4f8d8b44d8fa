"""The pair to hear in samples/ is what README says that it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hifigan_rt
from hifigan_rt.audio import read_audio

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.mark.pretrained
def test_the_resynthesis_is_what_the_model_makes_of_the_recording():
    vocoder = hifigan_rt.load("ljspeech-v1", engine="native")
    audio = vocoder(vocoder.mel(read_audio(SAMPLES / "harbour.flac").samples))
    stored = read_audio(SAMPLES / "ljspeech-v1/harbour.flac").samples
    # Instruction sets differ by float32's rounding, which may move a 16-bit sample to its neighbour.
    assert np.abs(stored - audio).max() <= 1.5 / 32768
