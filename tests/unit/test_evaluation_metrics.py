"""The registry, identity, lengths and hostile input, over every metric that is here."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest

import tolerances
from hifigan_rt.config import PRESETS, MelConfig
from hifigan_rt.errors import AudioError, EvaluationError, MetricUnavailable
from hifigan_rt.tools.evaluation.metrics import (
    METRICS,
    Signal,
    available_metrics,
    cepstral,
    check_metrics,
    correlation,
    registry,
    spectral,
    why_unavailable,
)
from hifigan_rt.tools.evaluation.metrics import compute as compute_signals
from metric_values import compute

SAMPLE_RATE = 22050
MEL = PRESETS["v1"].mel
KEYS = available_metrics()


def voice(seconds: float, f0_hz: float = 200.0) -> np.ndarray:
    """A buzz of 24 harmonics with moving pitch, in syllables, over faint noise: every metric has a value of it."""
    rng = np.random.default_rng(1)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(f0_hz * (1 + 0.1 * np.sin(2 * np.pi * 1.5 * time))) / SAMPLE_RATE
    buzz = sum(np.cos(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1)
    return 0.1 * syllables * buzz + 0.003 * rng.standard_normal(len(time))


def noisy(clip: np.ndarray) -> np.ndarray:
    return clip + 0.01 * np.random.default_rng(0).standard_normal(len(clip))


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return voice(3.0)


def test_estoi_is_the_same_whenever_it_is_asked_for(clip):
    gap = clip.copy()
    gap[20000:40000] = 0  # pystoi fills silence with noise of NumPy's global generator
    np.random.seed(5)
    first = compute(["estoi"], clip, gap, SAMPLE_RATE).results["estoi"].value
    assert np.random.standard_normal() == np.random.RandomState(5).standard_normal()
    assert compute(["estoi"], clip, gap, SAMPLE_RATE).results["estoi"].value == first


def test_the_table_is_whole():
    for key, entry in METRICS.items():
        assert entry.title, key
        assert entry.definition, key
        assert entry.source, key
        assert entry.low < entry.high, key
        assert entry.identity is None or entry.low <= entry.identity <= entry.high, key
        assert importlib.util.find_spec(f"hifigan_rt.tools.evaluation.metrics.{entry.family}"), key
        assert entry.extra == "eval" or entry.packages, key


def test_everything_in_the_extra_is_here():
    missing = {key for key, entry in METRICS.items() if entry.extra == "eval"} - set(KEYS)
    assert not missing, f"the suite needs the extra eval: {missing}"


def test_against_itself_every_distance_is_0_and_every_score_at_its_maximum(clip):
    scores = compute(KEYS, clip, clip.copy(), SAMPLE_RATE, MEL)
    assert scores.notes == ()
    assert list(scores.results) == list(KEYS)
    for key, result in scores.results.items():
        identity = METRICS[key].identity
        assert result.defined, f"{key}: {result.reason}"
        assert METRICS[key].low <= result.value <= METRICS[key].high + tolerances.SCORE_IDENTITY, key
        if identity is not None and math.isinf(identity):
            assert (result.value, result.reason) == (math.inf, "identical"), key
        elif identity == 0:
            assert result.value == 0, key
        elif identity is not None:
            assert result.value == pytest.approx(identity, abs=tolerances.SCORE_IDENTITY), key


@pytest.fixture(scope="module")
def noisy_results(clip):
    return compute(KEYS, clip, noisy(clip), SAMPLE_RATE, MEL).results


@pytest.mark.parametrize("key", KEYS)
def test_alone_or_in_company_gives_the_same(clip, noisy_results, key):
    alone = compute([key], clip, noisy(clip), SAMPLE_RATE, MEL).results[key].value
    assert alone == pytest.approx(noisy_results[key].value, abs=tolerances.ESTOI_DITHER)


def test_the_longer_signal_is_cropped_and_said_so(clip):
    generated = clip * 0.9
    expected = compute(KEYS, clip[:-300], generated[:-300], SAMPLE_RATE, MEL).results
    for reference, other in ((clip, generated[:-300]), (clip[:-300], generated)):
        scores = compute(KEYS, reference, other, SAMPLE_RATE, MEL)
        longer = "reference" if len(reference) > len(other) else "generated"
        assert scores.notes == (
            f"cropped to {len(clip) - 300} samples: the {longer} signal has 300 more (13.6 ms) at its end",
        )
        for key, result in scores.results.items():
            assert result.value == pytest.approx(expected[key].value, abs=tolerances.ESTOI_DITHER), key


def test_without_a_reference_only_what_needs_none_has_a_value(clip):
    results = compute(KEYS, None, clip, SAMPLE_RATE, MEL).results
    for key, result in results.items():
        assert result.defined != METRICS[key].needs_reference, key
        if METRICS[key].needs_reference:
            assert result.reason == "there is no reference"
    assert set(available_metrics(with_reference=False)) == {key for key, result in results.items() if result.defined}


def test_mel_distances_need_the_mel_settings_of_the_signals(clip):
    assert compute(["mel_l1"], clip, clip, SAMPLE_RATE).results["mel_l1"].reason == (
        "the model's mel settings are not known"
    )
    assert compute(["mel_l1"], clip, clip, 24000, MEL).results["mel_l1"].reason == (
        "the signals have 24000 Hz and the model 22050 Hz"
    )


def test_mel_distance_ignores_the_models_normalisation(clip):
    scaled = MelConfig(22050, 1024, 1024, 256, 80, 0.0, 8000.0, log="log10", mean=(-4.0,), scale=(2.0,))
    generated = clip * 0.9
    values = [compute(["mel_l1"], clip, generated, SAMPLE_RATE, mel).results["mel_l1"].value for mel in (MEL, scaled)]
    assert values[0] == values[1] > 0


@pytest.mark.parametrize(
    ("reference_gain", "generated_gain"), [(0, 1), (1, 0), (0, 0)], ids=["reference", "generated", "both"]
)
def test_digital_silence_has_values_or_reasons(clip, reference_gain, generated_gain):
    results = compute(KEYS, reference_gain * clip, generated_gain * clip, SAMPLE_RATE, MEL).results
    for key, result in results.items():
        assert result.defined or result.reason, key
        assert result.reason == "" or not result.defined, key
    assert results["mel_l1"].defined
    assert not results["mcd"].defined
    assert results["stoi"].defined == bool(reference_gain)
    blamed = {key for key, result in results.items() if result.reason.startswith("the generated signal")}
    alone = {"dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "peak", "loudness_lufs", "loudness_difference"}
    expected = (
        alone | {"mcd", "pesq_wb", "distillmos", "f0_rmse_cents"} if reference_gain and not generated_gain else set()
    )
    assert blamed == expected & set(KEYS)
    if not reference_gain:
        for key in ("si_sdr", "snr", "mr_stft", "lsd"):
            assert results[key].reason == "the reference is digital silence"
    else:
        assert results["mr_stft"].defined
        assert results["lsd"].defined


def test_equal_digital_silence_adds_nothing_to_mcd(clip):
    generated = clip + 0.01 * np.random.default_rng(0).standard_normal(len(clip))
    pause = np.zeros(SAMPLE_RATE)

    def mcd(reference, other):
        return compute(["mcd"], reference, other, SAMPLE_RATE).results["mcd"].value

    alone = mcd(clip, generated)
    assert mcd(np.concatenate([clip, pause]), np.concatenate([generated, pause])) == pytest.approx(alone, abs=0.05)
    # Silence of one of the two counts, as before.
    noise = 1e-3 * np.random.default_rng(1).standard_normal(SAMPLE_RATE)
    assert abs(mcd(np.concatenate([clip, pause]), np.concatenate([generated, noise])) - alone) > 0.2


def test_signals_of_two_rates_are_not_compared(clip):
    with pytest.raises(AudioError, match="the reference has 22050 Hz and the generated signal 16000"):
        compute_signals(["snr"], Signal(clip, 22050), Signal(clip.copy(), 16000))


def test_a_copy_of_another_level_is_not_called_identical(clip):
    for generated, snr in ((clip, (math.inf, "identical")), (0.5 * clip, (pytest.approx(20 * math.log10(2)), ""))):
        results = compute(["snr", "si_sdr"], clip, generated, SAMPLE_RATE).results
        assert (results["snr"].value, results["snr"].reason) == snr
        assert results["si_sdr"].value == math.inf
    assert results["si_sdr"].reason == "identical but for level and offset"


@pytest.mark.parametrize("samples", [1, 2, 100, 400, 1102, 5000])
def test_short_clips_have_values_or_reasons(samples):
    clip = voice(1.0)[5000 : 5000 + samples]
    results = compute(KEYS, clip, clip * 0.9, SAMPLE_RATE, MEL).results
    for key, result in results.items():
        assert result.defined or result.reason, key
    assert not results["dnsmos_ovrl"].defined
    assert results["snr"].value == pytest.approx(20)


@pytest.mark.parametrize(("samples", "sample_rate"), [(1, 44100), (1, 48000), (2, 96000), (5, 192000)])
def test_less_than_half_a_sample_at_a_metrics_own_rate_has_values_or_reasons(samples, sample_rate):
    assert samples * 16000 / sample_rate < 0.5
    clip = np.full(samples, 0.3)
    results = compute(KEYS, clip, clip, sample_rate).results
    assert all(result.defined or result.reason for result in results.values())
    assert results["f0_rmse_cents"].reason == "no frame is voiced in both signals"
    assert results["vuv_error"].value == results["periodicity_rmse"].value == results["mcd"].value == 0
    assert results["peak"].value == pytest.approx(20 * math.log10(0.3))


def test_a_clip_of_50_ms_names_what_it_lacks():
    clip = voice(1.0)[:1102]
    results = compute(KEYS, clip, clip, SAMPLE_RATE, MEL).results
    assert results["mel_l1"].value == results["lsd"].value == results["mcd"].value == 0
    assert results["stoi"].reason == "the clip is shorter than 0.41 s"
    assert results["dnsmos_p808"].reason == "the clip is shorter than 1 s"
    assert results["loudness_lufs"].reason == "the clip is shorter than 0.4 s"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda clip: np.stack([clip, clip]), "is not mono: one row of samples [N] is needed"),
        (lambda clip: np.where(np.arange(len(clip)) == 7, np.nan, clip), "the first at sample 7: every sample must be"),
        (lambda clip: np.where(np.arange(len(clip)) == 7, -np.inf, clip), "1 values that are NaN or infinite"),
        (lambda clip: (clip * 32767).astype(np.int16), "audio of dtype int16 is not float in [-1, 1]"),
        (lambda clip: clip * 32768, "divide 16-bit values by 32768"),
        (lambda clip: clip[:0], "is empty: at least one sample is needed"),
    ],
    ids=["stereo", "nan", "infinity", "int16", "unscaled", "empty"],
)
@pytest.mark.parametrize("role", ["reference", "generated"])
def test_what_is_no_signal_is_refused_by_name(clip, damage, text, role):
    pair = {"reference": clip, "generated": clip, role: damage(clip)}
    with pytest.raises(AudioError) as caught:
        compute(["snr"], pair["reference"], pair["generated"], SAMPLE_RATE)
    assert f"the {role} signal" in str(caught.value)
    assert text in str(caught.value)


def test_signals_are_left_as_they_were(clip):
    reference, generated = clip.astype(np.float32), (clip * 0.9).astype(np.float32)
    before = reference.copy(), generated.copy()
    compute(KEYS, reference, generated, SAMPLE_RATE, MEL)
    assert np.array_equal(reference, before[0])
    assert np.array_equal(generated, before[1])


def test_offset_and_overshoot_have_values(clip):
    results = compute(KEYS, clip + 0.3, 3 * clip, SAMPLE_RATE, MEL).results
    assert all(result.defined for result in results.values())
    assert results["clipped_samples"].value == np.count_nonzero(np.abs(3 * clip) >= 32767 / 32768) > 0
    assert results["peak"].value == pytest.approx(20 * math.log10(np.abs(3 * clip).max()))


@pytest.mark.parametrize(("module", "block"), [(spectral, "_BLOCK_VALUES"), (correlation, "_BLOCK_FRAMES"),
                                               (cepstral, "_BLOCK_FRAMES")])  # fmt: skip
def test_blocks_change_nothing(clip, monkeypatch, module, block):
    keys = ("mr_stft", "lsd", "mcd", "f0_rmse_cents", "vuv_f1", "periodicity_rmse")
    whole = compute(keys, clip, noisy(clip), SAMPLE_RATE).results
    monkeypatch.setattr(module, block, 77)
    for key, result in compute(keys, clip, noisy(clip), SAMPLE_RATE).results.items():
        assert result.value == pytest.approx(whole[key].value, rel=tolerances.METRIC_AGAINST_SAME_FORMULA), key


@pytest.mark.parametrize(
    "sample_rate", [16000, *(pytest.param(rate, marks=pytest.mark.long) for rate in (8000, 24000, 48000))]
)
def test_other_sample_rates(clip, sample_rate):
    results = compute(KEYS, clip, noisy(clip), sample_rate, None).results
    assert [key for key, result in results.items() if not result.defined] == ["mel_l1", "mel_l1_full"]


@pytest.mark.parametrize("sample_rate", [0, 400, 3999, 22050.0, "22050"])
def test_rates_that_metrics_have_no_filters_for_are_refused(clip, sample_rate):
    # Below 500 Hz MCD ended the process; of 2,000 Hz loudness was said to be silence.
    with pytest.raises(AudioError) as caught:
        compute(["snr", "mcd", "loudness_lufs"], clip, noisy(clip), sample_rate)
    assert str(caught.value) == (
        f"sample_rate={sample_rate!r} must be a whole number from 4000 Hz on, for metrics of speech: resample both "
        "signals, or give their true rate"
    )


def test_unknown_metrics_are_refused_with_the_nearest():
    with pytest.raises(EvaluationError) as caught:
        check_metrics(["stoi", "pesqwb"])
    assert str(caught.value).startswith("metric 'pesqwb' is not known: choose mel_l1, mel_l1_full, ")
    assert str(caught.value).endswith("; did you mean 'pesq_wb'?")


@pytest.mark.parametrize(
    ("key", "way_out"),
    [
        ("stoi", "the package pystoi: pip install 'hifigan-rt[eval]' (from a clone: pip install '.[eval]')"),
        ("dnsmos_sig", "the packages onnxruntime, speechmos: pip install 'hifigan-rt[eval]' "),
        ("pesq_wb", "its licence keeps it out of our extras; if it allows your use, pip install pesq"),
        ("distillmos", "the packages torch, torchaudio, distillmos: pip install torch torchaudio distillmos"),
    ],
)
def test_absent_packages_are_named_with_the_way_out(monkeypatch, key, way_out):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert way_out in str(why_unavailable(key))
    with pytest.raises(MetricUnavailable, match=f"metric '{key}' needs"):
        compute([key], np.zeros(10), np.zeros(10), SAMPLE_RATE)


def test_the_registry_imports_no_metric_package():
    code = (
        "import sys, hifigan_rt.tools.evaluation.metrics as metrics\n"
        "list(map(metrics.why_unavailable, metrics.METRICS))\n"
        "print([name for name in ('scipy', 'pystoi', 'pyworld', 'onnxruntime', 'speechmos', 'torch') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_speechmos_itself_is_never_imported(clip):
    compute([key for key in KEYS if key.startswith("dnsmos")], None, clip, SAMPLE_RATE)
    assert "speechmos" not in sys.modules
