"""Known degradations of real speech: every metric that should hear one does, in the order of its strength."""

from __future__ import annotations

import importlib.util
import math

import pytest
from degradations import DEGRADATIONS, GROUPS, ROOT, definition_table, measure, sample_clips

import tolerances
from hifigan_rt.tools.evaluation.metrics import METRICS, available_metrics

KEYS = tuple(key for key in available_metrics() if METRICS[key].family != "distillmos")

SPECTRAL = ("mel_l1", "mel_l1_full", "mr_stft", "lsd")
DNSMOS = ("dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
PESQ = ("pesq_wb",) if importlib.util.find_spec("pesq") else ()

HEARD = {
    "noise, 20 dB": (*SPECTRAL, *DNSMOS, *PESQ, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "estoi", "snr"),
    "low-pass 4 kHz": (*SPECTRAL, *PESQ, "mcd", "dnsmos_p808", "snr"),
    "10 ms late": (*SPECTRAL, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr"),
    "WORLD, pitch + 5 %": (*SPECTRAL, *PESQ, "mcd", "f0_rmse_cents", "stoi", "estoi", "snr", "dnsmos_ovrl"),
    "click every 16 frames": (*SPECTRAL, *DNSMOS, *PESQ, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "snr"),
    "int16 wrap, peak 1.4": (*SPECTRAL, *PESQ, "mcd", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr", "peak"),
    "6 dB quieter": (*SPECTRAL, "snr", "loudness_difference", "peak"),
    "offset 0.05": ("mr_stft", "lsd", "snr"),
}

DEAF = {
    "low-pass 7 kHz": ("stoi", "estoi", "vuv_f1", "f0_rmse_cents", "dnsmos_ovrl"),
    "10 ms late": (*PESQ, "dnsmos_ovrl", "loudness_difference"),
    "6 dB quieter": (*PESQ, "mcd", "stoi", "estoi", "f0_rmse_cents", "si_sdr"),
    "polarity inverted": (*SPECTRAL, "mcd", "stoi", "estoi", "vuv_f1", "f0_rmse_cents", "si_sdr"),
    "offset 0.05": ("mcd", "stoi", "estoi", "si_sdr", "loudness_difference", "f0_rmse_cents"),
}

ORDERED = {
    ("none", "noise, 30 dB", "noise, 20 dB", "noise, 10 dB"): (
        *SPECTRAL, *DNSMOS, *PESQ, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr",
    ),
    ("none", "low-pass 7 kHz", "low-pass 4 kHz", "low-pass 2 kHz"): (
        *SPECTRAL, *PESQ, "mcd", "dnsmos_p808", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr",
    ),
    ("none", "click every 16 frames", "click every 4 frames"): (
        *SPECTRAL, *DNSMOS, *PESQ, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr",
    ),
    ("none", "int16 wrap, peak 1.1", "int16 wrap, peak 1.4"): (
        *SPECTRAL, *PESQ, "mcd", "vuv_f1", "vuv_error", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr",
    ),
    ("none", "clipping, peak 1.4", "int16 wrap, peak 1.4"): (
        *SPECTRAL, *PESQ, "mcd", "periodicity_rmse", "stoi", "estoi", "si_sdr", "snr",
    ),
    ("none", "WORLD, same pitch", "WORLD, pitch + 5 %"): (
        *SPECTRAL, *PESQ, "mcd", "f0_rmse_cents", "stoi", "estoi",  # no SNR: WORLD does not keep the phase
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, float]]:
    # Two of the three clips: DNSMOS takes most of the time.
    clips = sample_clips()[:2]
    return {name: measure(degradation, clips, KEYS) for name, degradation in DEGRADATIONS.items()}


def movement(table: dict[str, dict[str, float]], name: str, key: str) -> float:
    """How far a degradation moves a metric from its value for the clip itself; from "identical", down from 100 dB."""
    start = table["none"][key]
    start = tolerances.INAUDIBLE_SNR_DB if math.isinf(start) else start
    return abs(min(table[name][key], tolerances.INAUDIBLE_SNR_DB) - start)


@pytest.mark.long
@pytest.mark.parametrize(("name", "keys"), HEARD.items(), ids=HEARD)
def test_what_should_be_heard_is(table, name, keys):
    deaf = {key: movement(table, name, key) for key in keys if movement(table, name, key) < tolerances.HEARD[key]}
    assert not deaf


@pytest.mark.long
@pytest.mark.parametrize(("name", "keys"), DEAF.items(), ids=DEAF)
def test_what_a_metric_is_said_to_miss_it_misses(table, name, keys):
    heard = {key: movement(table, name, key) for key in keys if movement(table, name, key) >= tolerances.HEARD[key]}
    assert not heard


@pytest.mark.long
@pytest.mark.parametrize(("names", "keys"), ORDERED.items(), ids=lambda value: value[-1])
def test_stronger_is_worse(table, names, keys):
    for key in keys:
        values = [table[name][key] for name in names]
        worse = sorted(values, reverse=METRICS[key].direction == "higher")
        # The first step may be too small to hear (STOI and a low-pass at 7 kHz), but never the wrong way round.
        assert values == worse, key
        assert values[-1] != values[0], key


def test_the_page_holds_the_registry():
    page = (ROOT / "benchmarks/results/metrics.md").read_text(encoding="utf-8")
    assert definition_table() in page, "python benchmarks/degradations.py --write benchmarks/results/metrics.md"


def test_the_document_names_every_metric():
    document = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    assert not [key for key in METRICS if f"`{key}`" not in document]


def test_every_metric_is_in_a_group_of_the_page():
    assert {key for group in GROUPS.values() for key in group} == set(METRICS) - {"loudness_lufs"}
