"""The mel front-end against a direct float64 sum, the original's float32 code, librosa's filters and torch.stft."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tolerances
from effort import examples
from hifigan_rt.config import PRESETS, MelConfig
from hifigan_rt.errors import AudioError, AudioTooShort, ConfigError
from hifigan_rt.mel import analysis as mel_module
from hifigan_rt.mel.analysis import (
    bands_above_nyquist,
    compute_mel,
    frame_count,
    mel_filterbank,
    minimum_samples,
    silence_mel_value,
)

ORIGINAL = PRESETS["v1"].mel
assert ORIGINAL is not None
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "mel_golden.npz", allow_pickle=False)
MEL_NAMES = [name.removeprefix("mel/") for name in GOLDEN.files if name.startswith("mel/")]
FILTERBANK_NAMES = [name.removeprefix("filterbank/") for name in GOLDEN.files if name.startswith("filterbank/")]

# Small enough for a direct transform, with every branch: fmin, a short window, other logs, paddings and norms.
TINY = MelConfig(8000, 64, 64, 16, 6, 0.0, 4000.0)
VARIANTS = [
    TINY,
    replace(TINY, win_length=40, fmin=300.0, fmax=3500.0),
    replace(TINY, win_length=39),
    replace(TINY, hop_length=15),
    replace(TINY, n_fft=63, win_length=50),
    replace(TINY, padding="center"),
    replace(TINY, n_fft=63, win_length=63, padding="center"),
    replace(TINY, padding="center", hop_length=100),
    replace(TINY, padding="center_zero", hop_length=30),
    replace(TINY, padding="zero", log="log10", floor=1e-10, magnitude_epsilon=0.0),
    replace(TINY, norm=None, fmax=None),
    replace(TINY, fmax=4500.0),
    replace(TINY, fmax=20000.0, num_mels=9, norm=None),
    replace(TINY, hop_length=100),
    replace(TINY, hop_length=99, padding="zero"),
    replace(TINY, window="symmetric_hann", win_length=40),
    replace(TINY, mel_scale="htk", fmin=300.0, ceiling=0.1, floor=0.01),
    replace(TINY, magnitude_floor=3.0, log="log2"),
    replace(TINY, gain=3.0, magnitude_floor=4.0, power=2, log="db"),
    replace(TINY, gain=0.5, magnitude_epsilon=1.0, log="log1p"),
    replace(TINY, mean=(-4.0,), scale=(2.0,)),
    replace(TINY, mean=tuple(range(6)), scale=(1.0, 2.0, -3.0, 0.5, 5.0, 6.0), log="log10"),
]


def slaney_hz(mel: float) -> float:
    return mel * 200 / 3 if mel <= 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz <= 1000 else 15 + 27 * math.log(hz / 1000, 6.4)


def htk_hz(mel: float) -> float:
    return 700 * (math.exp(mel * math.log(10) / 2595) - 1)


def htk_mel(hz: float) -> float:
    return 2595 * math.log(1 + hz / 700, 10)


def naive_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    """The recipe from its definition: sample by sample padding, sums with cosines and sines, one triangle at a time."""
    fft, hop, n = config.n_fft, config.hop_length, len(audio)
    pad = fft // 2 if config.padding.startswith("center") else int((fft - hop) / 2)
    padded = []
    for i in range(-pad, n + pad):
        if 0 <= i < n:
            padded.append(float(audio[i]))
        elif config.padding.endswith("zero"):
            padded.append(0.0)
        else:
            padded.append(float(audio[-i] if i < 0 else audio[2 * n - 2 - i]))
    shift = (fft - config.win_length) // 2
    window = np.zeros(fft)
    for i in range(config.win_length):
        window[shift + i] = math.sin(math.pi * i / (config.win_length - (config.window == "symmetric_hann"))) ** 2
    angle = 2 * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(fft)) / fft
    to_mel, to_hz = (htk_mel, htk_hz) if config.mel_scale == "htk" else (slaney_mel, slaney_hz)
    low, high = to_mel(config.fmin), to_mel(config.fmax or config.sample_rate / 2)
    edges = [to_hz(low + (high - low) * i / (config.num_mels + 1)) for i in range(config.num_mels + 2)]
    columns = []
    start = 0
    while start + fft <= len(padded):
        frame = np.array(padded[start : start + fft]) * window
        real, imaginary = np.cos(angle) @ frame, np.sin(angle) @ frame
        power = config.gain**2 * (real**2 + imaginary**2) + config.magnitude_epsilon
        magnitude = np.maximum(np.sqrt(power), config.magnitude_floor) ** config.power
        column = []
        for m, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
            total = 0.0
            for k, value in enumerate(magnitude):
                hz = k * config.sample_rate / fft
                weight = max(0.0, min((hz - left) / (centre - left), (right - hz) / (right - centre)))
                total += weight * value * (2 / (right - left) if config.norm else 1)
            kept = total + 1 if config.log == "log1p" else min(max(total, config.floor), config.ceiling or math.inf)
            # A decibel is a tenth of a bel, and a bel a factor of ten in power.
            base = {"log10": 10, "log2": 2, "db": 10 ** (config.power / 20)}.get(config.log, math.e)
            log = math.log(kept) / math.log(base)
            mean = config.mean[m % len(config.mean)] if config.mean else 0
            scale = config.scale[m % len(config.scale)] if config.scale else 1
            column.append((log - mean) / scale)
        columns.append(column)
        start += hop
    return np.array(columns).T


@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize("extra", [0, 1, 15, 16, 300])
def test_equals_the_direct_float64_sum(config, extra):
    rng = np.random.default_rng(extra)
    audio = rng.uniform(-1, 1, minimum_samples(config) + extra).astype(np.float32)
    audio[::7] = 0
    mel = compute_mel(audio, config)
    truth = naive_mel(audio, config)
    assert mel.dtype == np.float32
    assert mel.shape == truth.shape == (config.num_mels, frame_count(len(audio), config))
    assert np.abs(mel - truth).max() <= tolerances.MEL_AGAINST_FLOAT64


@pytest.mark.parametrize(("fmax", "above"), [(None, 0), (4000.0, 0), (4000.5, 0), (20000.0, 1), (1e6, 3)])
def test_bands_above_half_the_sample_rate_stay_at_the_floor(fmax, above):
    config = replace(TINY, fmax=fmax)
    deaf = (compute_mel(np.random.default_rng(0).uniform(-1, 1, 400), config) == np.float32(np.log(1e-5))).all(axis=1)
    assert (bands_above_nyquist(config), int(deaf.sum()), int(deaf[6 - above :].sum())) == (above, above, above)


def test_original_settings_equal_the_direct_float64_sum():
    rng = np.random.default_rng(7)
    audio = (0.3 * rng.standard_normal(1500) * np.linspace(1, 0, 1500) ** 8).astype(np.float32)
    assert np.abs(compute_mel(audio, ORIGINAL) - naive_mel(audio, ORIGINAL)).max() <= tolerances.MEL_AGAINST_FLOAT64


@pytest.mark.parametrize("name", MEL_NAMES)
def test_equals_the_original_code(name):
    setting, signal = name.split("/")
    sample_rate, n_fft, win, hop, num_mels, fmin, fmax = GOLDEN[f"mel_settings/{setting}"].tolist()
    config = MelConfig(int(sample_rate), int(n_fft), int(win), int(hop), int(num_mels), fmin, fmax)
    mel = compute_mel(GOLDEN[f"signal/{signal}"].astype(np.float32) / 32768, config)
    golden = GOLDEN[f"mel/{name}"]
    assert mel.shape == golden.shape
    assert np.abs(mel - golden).max() <= tolerances.MEL_AGAINST_ORIGINAL


@pytest.mark.parametrize("name", FILTERBANK_NAMES)
def test_filterbank_equals_librosa(name):
    sample_rate, n_fft, num_mels, fmin, fmax, slaney = GOLDEN[f"filterbank_settings/{name}"].tolist()
    norm = "slaney" if slaney else None
    config = MelConfig(int(sample_rate), int(n_fft), int(n_fft), 256, int(num_mels), fmin, fmax, norm=norm)
    golden = GOLDEN[f"filterbank/{name}"]
    filterbank = mel_filterbank(config)
    assert filterbank.dtype == golden.dtype == np.float32
    assert filterbank.shape == golden.shape
    # Relative to the largest weight: norm None has weights of 1, the slaney norm of about 0.03.
    assert np.abs(filterbank - golden).max() <= tolerances.FILTERBANK_AGAINST_LIBROSA * golden.max()


@pytest.mark.torch
@given(
    samples=st.integers(1, 400),
    n_fft=st.integers(2, 64),
    hop=st.integers(1, 80),
    padding=st.sampled_from(["reflect", "zero", "center", "center_zero"]),
)
@settings(max_examples=examples(300), deadline=None)
def test_frame_count_and_refusals_are_those_of_torch(samples, n_fft, hop, padding):
    torch = pytest.importorskip("torch")
    config = MelConfig(8000, n_fft, n_fft, hop, 1, 0.0, 4000.0, padding=padding)
    audio = torch.linspace(-1, 1, samples)
    pad = n_fft // 2 if padding.startswith("center") else int((n_fft - hop) / 2)
    mode = "constant" if padding.endswith("zero") else "reflect"
    try:
        padded = torch.nn.functional.pad(audio[None, None], (pad, pad), mode=mode)[0, 0]
        spectrum = torch.stft(padded, n_fft, hop, window=torch.hann_window(n_fft), center=False, return_complex=True)
    except RuntimeError:
        with pytest.raises(AudioTooShort):
            compute_mel(audio.numpy(), config)
        return
    assert compute_mel(audio.numpy(), config).shape[1] == spectrum.shape[1]


def test_even_padding_gives_floor_of_samples_over_hop():
    for samples in range(385, 385 + 600):
        assert frame_count(samples, ORIGINAL) == samples // 256
        assert frame_count(samples, replace(ORIGINAL, padding="zero")) == samples // 256
        assert frame_count(samples, replace(ORIGINAL, padding="center")) == 1 + samples // 256


def test_minimum_samples_of_the_original_settings():
    assert minimum_samples(ORIGINAL) == 385
    assert compute_mel(np.zeros(385, np.float32), ORIGINAL).shape == (80, 1)


@pytest.mark.parametrize("samples", [0, 1, 300, 384])
def test_too_short_names_both_numbers(samples):
    with pytest.raises(AudioTooShort) as caught:
        compute_mel(np.zeros(samples, np.float32), ORIGINAL)
    assert str(caught.value) == (
        f"the recording has {samples} samples and its mel needs at least 385 "
        "(n_fft=1024, hop_length=256, padding='reflect'): pad it with silence"
    )


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (
            np.array([0.0] * 500 + [np.nan, np.inf]),
            "audio holds 2 values that are NaN or infinite, the first at sample 500: every sample must be finite",
        ),
        (
            np.array([-np.inf] + [0.0] * 500),
            "audio holds 1 values that are NaN or infinite, the first at sample 0: every sample must be finite",
        ),
        (np.full(1000, 20000.0), "audio peaks at 20000, and samples must be in [-1, 1]: divide 16-bit values by 32768"),
        (np.full(1000, -1e300), "audio peaks at 1e+300, and samples must be in [-1, 1]: divide 16-bit values by 32768"),
        (
            np.zeros(1000, np.int16),
            "audio of dtype int16 is not float in [-1, 1]: divide 16-bit integers by 32768 (as float32)",
        ),
        (
            np.zeros(1000, complex),
            "audio of dtype complex128 is not float in [-1, 1]: divide 16-bit integers by 32768 (as float32)",
        ),
        (np.zeros((2, 1000)), "audio of shape [2, 1000] is not mono: one row of samples [N] is needed"),
    ],
)
def test_refused_audio(audio, text):
    with pytest.raises(AudioError) as caught:
        compute_mel(audio, ORIGINAL)
    assert str(caught.value) == text


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_any_float_dtype_and_stride(dtype):
    audio = np.random.default_rng(3).uniform(-0.5, 0.5, 4000).astype(np.float16)
    expected = compute_mel(audio.astype(np.float32), ORIGINAL)
    assert np.array_equal(compute_mel(audio.astype(dtype), ORIGINAL), expected)
    assert np.array_equal(compute_mel(np.repeat(audio.astype(dtype), 2)[::2], ORIGINAL), expected)


@pytest.mark.parametrize("config", VARIANTS)
def test_block_length_changes_nothing(config, monkeypatch):
    audio = np.random.default_rng(5).uniform(-1, 1, 2000)
    whole = compute_mel(audio, config)
    for values in (1, 3 * config.n_fft):
        monkeypatch.setattr(mel_module, "_BLOCK_VALUES", values)
        assert np.abs(compute_mel(audio, config) - whole).max() <= tolerances.MEL_AGAINST_FLOAT64


@pytest.mark.parametrize("config", [*VARIANTS, ORIGINAL, replace(ORIGINAL, padding="center")])
def test_pieces_give_the_bits_of_the_whole(config, monkeypatch):
    monkeypatch.setattr(mel_module, "_BLOCK_VALUES", 6 * config.n_fft)
    for samples in (mel_module.minimum_samples(config), 4001, 9000):
        audio = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
        for size in (97, 3000, 10000):
            analysis = mel_module.MelAnalysis(config)
            pieces = [analysis.push(audio[start : start + size]) for start in range(0, samples, size)]
            assert analysis.samples == samples
            mel = np.concatenate([*pieces, analysis.finish()], axis=1)
            assert np.array_equal(mel, compute_mel(audio, config))


def test_a_buffer_that_is_filled_again_gives_the_bits_of_the_whole():
    audio = np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32)
    analysis, buffer, pieces = mel_module.MelAnalysis(TINY), np.empty(100, np.float32), []
    for start in range(0, 4000, 100):
        buffer[:] = audio[start : start + 100]
        pieces.append(analysis.push(buffer))
    mel = np.concatenate([*pieces, analysis.finish()], axis=1)
    np.testing.assert_array_equal(mel, compute_mel(audio, TINY))


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_hop_above_the_transform_decides_no_frame_that_the_end_leaves_out(padding, monkeypatch):
    config = replace(TINY, hop_length=100, padding=padding)
    monkeypatch.setattr(mel_module, "_BLOCK_VALUES", 1)
    for samples in range(mel_module.minimum_samples(config), 320):
        audio = np.random.default_rng(samples).uniform(-1, 1, samples)
        assert compute_mel(audio, config).shape == (config.num_mels, frame_count(samples, config))


def test_pieces_name_the_sample_in_the_whole():
    analysis = mel_module.MelAnalysis(ORIGINAL)
    analysis.push(np.zeros(1000, np.float32))
    with pytest.raises(AudioError, match="the first at sample 1002"):
        analysis.push(np.array([0, 0, np.inf, 0], np.float32))
    with pytest.raises(AudioTooShort, match="the recording has 0 samples and its mel needs at least 385"):
        mel_module.MelAnalysis(ORIGINAL).finish()


def test_memory_beside_the_result_does_not_grow_with_the_length():
    def peak_bytes(seconds: int) -> int:
        audio = np.zeros(22050 * seconds, np.float32)
        compute_mel(audio[:5000], ORIGINAL)
        tracemalloc.start()
        mel = compute_mel(audio, ORIGINAL)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - mel.nbytes

    assert peak_bytes(120) < peak_bytes(15) + 100_000
    assert peak_bytes(15) < 20_000_000


@pytest.mark.parametrize("config", [*VARIANTS, ORIGINAL, replace(ORIGINAL, norm=None)])
def test_silence_value_is_the_mel_of_zeros(config):
    mel = compute_mel(np.zeros(5000, np.float32), config)
    value = silence_mel_value(config)
    assert value.shape == (config.num_mels,)
    assert value.dtype == np.float32
    assert np.abs(mel - value[:, None]).max() <= tolerances.MEL_AGAINST_FLOAT64


def test_original_silence_is_the_floor():
    assert np.all(silence_mel_value(ORIGINAL) == np.float32(math.log(1e-5)))


def test_filterbank_is_cached_by_the_whole_config_and_read_only():
    filterbank = mel_filterbank(ORIGINAL)
    assert mel_filterbank(replace(ORIGINAL)) is filterbank
    assert not np.array_equal(mel_filterbank(replace(ORIGINAL, fmin=50.0)), filterbank)
    assert not np.array_equal(mel_filterbank(replace(ORIGINAL, norm=None)), filterbank)
    assert not np.array_equal(mel_filterbank(replace(ORIGINAL, sample_rate=24000)), filterbank)
    with pytest.raises(ValueError, match="read-only"):
        filterbank[0, 0] = 1


def test_filterbank_too_large_for_memory():
    with pytest.raises(ConfigError) as caught:
        mel_filterbank(MelConfig(48000, 1 << 20, 1024, 256, 16384))
    assert str(caught.value) == ("num_mels=16384 with n_fft=1048576 needs 8589950976 filter weights: at most 67108864")
