"""Conversions of mels against float64 formulas, and files of statistics that are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.audio import read_audio
from hifigan_rt.config import PRESETS, MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError, MelError
from hifigan_rt.formats.config_json import config_to_dict, parse_config
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.conventions import convert_mel, named_convention

ROOT = Path(__file__).parents[2]
V1 = PRESETS["v1"].mel
assert isinstance(V1, MelConfig)
RNG = np.random.default_rng(0)
LN = RNG.uniform(-11.4, 1.5, (80, 40))
MEAN, SCALE = RNG.uniform(-6, -4, (80, 1)), RNG.uniform(0.5, 2, (80, 1))
AUDIO = (0.2 * RNG.standard_normal(9000) * np.linspace(0, 1, 9000)).astype(np.float32)


@pytest.fixture
def statistics(tmp_path):
    path = tmp_path / "stats.npy"
    np.save(path, np.stack([MEAN[:, 0], SCALE[:, 0]]))
    return path


@pytest.mark.parametrize(
    ("name", "mel"),
    [
        ("ln", LN),
        ("log10", LN / np.log(10)),
        ("log1p", np.log1p(np.exp(LN))),
        ("db", 20 * LN / np.log(10)),
        ("int16-gain", LN + np.log(32768)),
    ],
)
def test_exact_conversions(name, mel):
    converted = convert_mel(mel.astype(np.float32), named_convention(name, V1), V1)
    assert converted.dtype == np.float32
    np.testing.assert_allclose(converted, LN, atol=2e-5 if name != "log1p" else 1e-4)
    batch = convert_mel(np.stack([mel] * 2).astype(np.float32), named_convention(name, V1), V1)
    np.testing.assert_array_equal(batch[1], converted)


def test_statistics_are_undone_before_the_logarithm(statistics):
    given = named_convention("standardised", V1, statistics)
    np.testing.assert_allclose(convert_mel((LN - MEAN) / SCALE, given, V1), LN, atol=1e-5)
    given = named_convention("log10", V1, statistics)
    np.testing.assert_allclose(convert_mel((LN / np.log(10) - MEAN) / SCALE, given, V1), LN, atol=1e-5)


def test_what_lies_below_the_floor_is_the_floor():
    low = np.full((80, 3), -10.0)
    np.testing.assert_allclose(convert_mel(low, named_convention("log10", V1), V1), np.log(1e-5), atol=1e-6)
    np.testing.assert_allclose(convert_mel(low * 0, named_convention("log1p", V1), V1), np.log(1e-5), atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        replace(V1, log="log10"),
        replace(V1, log="db", gain=32768.0),
        replace(V1, log="log1p", norm=None, magnitude_epsilon=1e-9),
        replace(V1, norm=None, mean=tuple(MEAN[:, 0]), scale=(2.0,)),
    ],
)
def test_a_described_analysis_is_converted_to_the_models_and_back(given):
    """With the floor out of the way, from recordings: what the analysis of either gives."""
    wanted = replace(V1, floor=1e-12)
    given = replace(given, floor=1e-12)
    expected = compute_mel(AUDIO, wanted)
    np.testing.assert_allclose(convert_mel(compute_mel(AUDIO, given), given, wanted), expected, atol=2e-4)
    back = convert_mel(expected, wanted, given)
    np.testing.assert_allclose(back, compute_mel(AUDIO, given), rtol=1e-4, atol=2e-4)


def test_powers_are_converted_but_for_what_differs_within_a_band():
    for log in ("ln", "db"):
        given = replace(V1, power=2, log=log, floor=1e-20)
        difference = convert_mel(compute_mel(AUDIO, given), given, V1) - compute_mel(AUDIO, V1)
        assert difference[:, 3:].min() > -1e-3
        assert difference[:, 3:].mean() < 0.15


def test_what_powers_lose_on_speech_is_what_the_document_says():
    speech = read_audio(ROOT / "samples/numbers.flac").samples
    given = replace(V1, power=2, floor=1e-20)
    difference = convert_mel(compute_mel(speech, given), given, V1) - compute_mel(speech, V1)
    assert difference.mean() == pytest.approx(0.1, abs=0.01)
    assert difference.max() > 1


def test_another_analysis_is_refused():
    with pytest.raises(
        ConfigError, match=r"^fmax is 11025.0 for the mel and 8000.0 for the model: only a mel of the same"
    ):
        convert_mel(LN, replace(V1, fmax=None), V1)
    with pytest.raises(MelError, match=r"has shape \[40, 80\], and \[80, T\] is needed"):
        convert_mel(LN.T, V1, V1)
    with pytest.raises(
        ConfigError, match=r"^mel convention 'log2' is not known: ln, log10, log1p, db, power, int16-gain, "
    ):
        named_convention("log2", V1)
    with pytest.raises(ConfigError, match="needs the mean and scale"):
        named_convention("standardised", V1)


def test_the_fields_survive_the_way_through_json():
    config = ModelConfig(PRESETS["v1"].generator, replace(V1, log="log1p", power=2, gain=32768.0, norm=None))
    assert parse_config(config_to_dict(config)) == config
    for field, value in (("log", "log3"), ("power", 3), ("gain", 0)):
        with pytest.raises(ConfigError, match=field):
            parse_config(config_to_dict(config) | {field: value})
