"""PESQ and DistillMOS with stand-ins for the packages that no extra installs, and DNSMOS without its model files.

PESQ is tried with the true package as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tolerances
from hifigan_rt.errors import MetricUnavailable
from hifigan_rt.tools.evaluation.metrics import METRICS, distillmos, dnsmos, why_unavailable
from metric_values import compute

SAMPLES = Path(__file__).parents[2] / "samples"

PESQ = """
class PesqError(RuntimeError):
    pass

def pesq(fs, ref, deg, mode):
    assert (fs, mode, ref.dtype.name, deg.dtype.name) == (16000, "wb", "float32", "float32")
    if len(ref) < 4000:
        raise PesqError(b"Buffer needs to be at least 1/4 of a second long")
    return 1 + len(ref) / 16000 + float(abs(ref - deg).max())
"""

DISTILLMOS = """
import torch
class ConvTransformerSQAModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        print("weights loaded from: somewhere")
    def forward(self, samples):
        assert samples.dtype == torch.float32 and not torch.is_grad_enabled() and not self.training
        return samples.abs().amax(1, keepdim=True) + samples.shape[1] / 16000
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    for name in ("pesq", "distillmos", "torchaudio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "pesq.py").write_text(PESQ)
    (tmp_path / "distillmos.py").write_text(DISTILLMOS)
    (tmp_path / "torchaudio.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    distillmos._model.cache_clear()
    yield tmp_path
    distillmos._model.cache_clear()
    for name in ("pesq", "distillmos", "torchaudio"):
        sys.modules.pop(name, None)


@pytest.fixture(params=["stand-in", pytest.param("installed", marks=pytest.mark.pesq)])
def any_pesq(request):
    if request.param == "stand-in":
        request.getfixturevalue("packages")


def tone(seconds: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * 22050)) / 22050)


def test_pesq_is_given_both_signals_at_16_khz(packages):
    assert why_unavailable("pesq_wb") is None
    result = compute(["pesq_wb"], tone(2), tone(2), 22050).results["pesq_wb"]
    assert result.value == pytest.approx(3)


@pytest.mark.pesq
def test_pesq_of_speech_is_at_its_maximum_for_itself_and_falls_with_noise():
    speech, rate = soundfile.read(SAMPLES / "question.flac")
    noise = np.random.default_rng(0).standard_normal(len(speech))
    signals = [speech, *(speech + level * noise for level in (0.001, 0.01, 0.1))]
    values = [compute(["pesq_wb"], speech, signal, rate).results["pesq_wb"].value for signal in signals]
    assert values[0] == pytest.approx(METRICS["pesq_wb"].identity, abs=tolerances.SCORE_IDENTITY)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(1.0, abs=0.2), "the bottom of the scale"


def test_what_pesq_refuses_has_no_value(any_pesq):
    result = compute(["pesq_wb"], tone(0.2), tone(0.2), 22050).results["pesq_wb"]
    assert not result.defined
    assert result.reason == "PESQ refuses the clip: Buffer needs to be at least 1/4 of a second long"


@pytest.mark.parametrize(("role", "text"), [(0, "the reference"), (1, "the generated signal")])
def test_pesq_is_not_asked_about_silence(any_pesq, role, text):
    pair = [tone(2), tone(2)]
    pair[role] = np.zeros_like(pair[role])
    assert compute(["pesq_wb"], *pair, 22050).results["pesq_wb"].reason == f"{text} is digital silence"


def test_pesq_is_not_asked_about_more_utterances_than_it_has_room_for(any_pesq):
    """The package's own code then ends the process."""
    syllable = tone(0.5) * np.hanning(11025)
    words = np.tile(np.concatenate([syllable, np.zeros(11025)]), 70)
    result = compute(["pesq_wb"], words, words, 22050).results["pesq_wb"]
    assert result.reason == "the clip is longer than 30 s, the most that PESQ is meant for"
    assert compute(["pesq_wb"], words[: 30 * 22050], words[: 30 * 22050], 22050).results["pesq_wb"].defined


@pytest.mark.torch
def test_distillmos_is_given_the_generated_signal_and_prints_nothing(packages, capsys):
    result = compute(["distillmos"], None, tone(2), 22050).results["distillmos"]
    assert result.value == pytest.approx(2.5, abs=0.01)
    assert capsys.readouterr().out == ""


@pytest.mark.torch
@pytest.mark.parametrize(
    ("signal", "reason"),
    [(np.zeros(44100), "the generated signal is digital silence"), (tone(0.9), "the clip is shorter than 1 s")],
)
def test_distillmos_of_nothing(packages, signal, reason):
    assert compute(["distillmos"], None, signal, 22050).results["distillmos"].reason == reason


@pytest.mark.torch
def test_distillmos_that_cannot_be_imported(packages):
    (packages / "distillmos.py").write_text("import a_package_that_it_needs")
    with pytest.raises(MetricUnavailable, match=r"cannot be imported \(No module named 'a_package_that_it_needs'"):
        compute(["distillmos"], None, tone(2), 22050)


def test_dnsmos_without_its_model_files():
    with pytest.raises(MetricUnavailable, match=r"has no dnsmos_models/absent.onnx: pip install speechmos==0\.0\.1\.1"):
        dnsmos._session("absent.onnx")
