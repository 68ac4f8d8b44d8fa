"""Metrics against independent implementations, textbook formulas, and signals whose answer is known."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import pyworld
import scipy.signal
import scipy.special

import tolerances
from hifigan_rt.tools.evaluation.metrics import cepstral, dnsmos, pitch, spectral, waveform
from metric_values import compute

SAMPLE_RATE = 22050


@pytest.fixture(scope="module")
def pair():
    """Coloured noise with a tone, and a disturbed copy; float64 [2, 30000]."""
    rng = np.random.default_rng(3)
    first = scipy.signal.lfilter([0.2], [1, -0.8], rng.standard_normal(30000)) * np.linspace(0.02, 1, 30000)
    first += 0.1 * np.sin(2 * np.pi * 440 * np.arange(30000) / SAMPLE_RATE)
    return np.stack([first, 0.9 * first + 0.01 * rng.standard_normal(30000)])


def scipy_power(signal: np.ndarray, n_fft: int, hop: int, win: int) -> np.ndarray:
    """[bins, frames], from scipy.signal.stft with its own scaling undone."""
    left = (n_fft - win) // 2
    window = np.pad(scipy.signal.get_window("hann", win), (left, n_fft - win - left))
    padded = np.pad(signal, n_fft // 2, mode="reflect")
    _, _, spectrum = scipy.signal.stft(
        padded, nperseg=n_fft, noverlap=n_fft - hop, window=window, boundary=None, padded=False
    )
    return np.maximum(np.abs(spectrum * window.sum()) ** 2, 1e-8)


def test_multi_resolution_stft_against_scipy(pair):
    distances = []
    for n_fft, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        truth, other = (np.sqrt(scipy_power(signal, n_fft, hop, win)) for signal in pair)
        convergence = np.linalg.norm(truth - other) / np.linalg.norm(truth)
        distances.append(convergence + np.mean(np.abs(np.log(truth) - np.log(other))))
    assert spectral.multi_resolution_stft(*pair) == pytest.approx(
        np.mean(distances), rel=tolerances.METRIC_AGAINST_SAME_FORMULA
    )


def test_log_spectral_distance_against_scipy(pair):
    truth, other = (scipy_power(signal, 2048, 512, 2048) for signal in pair)
    expected = np.mean(np.sqrt(np.mean((10 * np.log10(truth / other)) ** 2, axis=0)))
    assert spectral.log_spectral_distance_db(*pair) == pytest.approx(
        expected, rel=tolerances.METRIC_AGAINST_SAME_FORMULA
    )


@pytest.mark.torch
def test_multi_resolution_stft_against_torch(pair):
    torch = pytest.importorskip("torch")
    distances = []
    for n_fft, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        truth, other = (
            torch.stft(torch.from_numpy(s), n_fft, hop, win, torch.hann_window(win, dtype=torch.float64),
                       return_complex=True).abs().square().clamp(min=1e-8).sqrt() for s in pair
        )  # fmt: skip
        convergence = torch.linalg.norm(truth - other) / torch.linalg.norm(truth)
        distances.append(float(convergence + (truth.log() - other.log()).abs().mean()))
    assert spectral.multi_resolution_stft(*pair) == pytest.approx(
        np.mean(distances), rel=tolerances.METRIC_AGAINST_SAME_FORMULA
    )


def test_a_gain_moves_the_spectral_distances_by_what_it_is(pair):
    quieter = pair[0] / 2
    assert spectral.log_spectral_distance_db(pair[0], quieter) == pytest.approx(
        20 * math.log10(2), rel=tolerances.SPECTRAL_FLOOR_EFFECT
    )
    assert spectral.multi_resolution_stft(pair[0], quieter) == pytest.approx(
        0.5 + math.log(2), rel=tolerances.SPECTRAL_FLOOR_EFFECT
    )


def frequency_transform(cepstrum: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """The recursion as signal processing toolkits write it: one delay line, fed from the last coefficient on."""
    state = np.zeros(order + 1)
    for value in cepstrum[::-1]:
        last = state.copy()
        state[0] = value + alpha * last[0]
        state[1] = (1 - alpha**2) * last[0] + alpha * last[1]
        for m in range(2, order + 1):
            state[m] = last[m - 1] + alpha * (last[m] - state[m - 1])
    return state


def warped_cosine_series(power: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """The definition: the cosine series of the log magnitude over the warped frequency axis, by numeric integration."""
    cepstrum = np.fft.irfft(np.log(power))
    warped = (np.arange(20000) + 0.5) * np.pi / 20000
    omega = warped - 2 * np.arctan2(alpha * np.sin(warped), 1 + alpha * np.cos(warped))
    half = len(power) - 1
    log_magnitude = cepstrum[0] / 2 + sum(cepstrum[n] * np.cos(n * omega) for n in range(1, half))
    log_magnitude += cepstrum[half] / 2 * np.cos(half * omega)
    series = [2 * np.mean(log_magnitude * np.cos(m * warped)) for m in range(order + 1)]
    return np.array([series[0] / 2, *series[1:]])


@pytest.mark.parametrize("alpha", [0.0, 0.41, 0.455, 0.554])
def test_mel_cepstrum_against_the_recursion_and_the_definition(alpha):
    rng = np.random.default_rng(5)
    power = np.exp(scipy.signal.lfilter([0.3], [1, -0.7], rng.standard_normal((3, 257)), axis=1))
    result = cepstral.mel_cepstrum(power, 24, alpha)
    for frame, spectrum in zip(result, power, strict=True):
        cepstrum = np.fft.irfft(np.log(spectrum))[:257]
        cepstrum[[0, -1]] /= 2
        assert frame == pytest.approx(
            frequency_transform(cepstrum, 24, alpha), abs=tolerances.METRIC_AGAINST_SAME_FORMULA
        )
        assert frame == pytest.approx(warped_cosine_series(spectrum, 24, alpha), abs=tolerances.NUMERIC_INTEGRATION)


@pytest.mark.parametrize(
    ("sample_rate", "published"),
    # The values in common use with SPTK and its wrappers.
    [(8000, 0.312), (11025, 0.357), (16000, 0.410), (22050, 0.455), (32000, 0.504), (44100, 0.544), (48000, 0.554)],
)
def test_all_pass_constant_is_the_published_one(sample_rate, published):
    assert cepstral.all_pass_constant(sample_rate) == pytest.approx(published, abs=tolerances.ALL_PASS_DECIMALS)


def test_mel_cepstral_distortion_against_the_textbook(pair):
    """All but the F0 again by other means: SciPy's resampler, the whole transform, the recursion, plain loops."""
    cepstra = []
    for signal in pair:
        track = pitch.track_pitch(scipy.signal.resample_poly(signal, 320, 441))
        envelope = pyworld.cheaptrick(signal, track.f0_hz, np.arange(len(track.f0_hz)) * 0.005, SAMPLE_RATE)
        rows = []
        for spectrum in envelope:
            cepstrum = np.fft.ifft(np.log(np.concatenate([spectrum, spectrum[-2:0:-1]]))).real[:513]
            cepstrum[[0, -1]] /= 2
            rows.append(frequency_transform(cepstrum, 24, 0.455))
        cepstra.append(rows)
    distances = []
    for truth, other in zip(*cepstra, strict=True):
        total = sum((truth[m] - other[m]) ** 2 for m in range(1, 25))
        distances.append(10 / math.log(10) * math.sqrt(2 * total))
    result = compute(["mcd"], pair[0], pair[1], SAMPLE_RATE).results["mcd"]
    assert result.value == pytest.approx(np.mean(distances), rel=tolerances.METRIC_AGAINST_OTHER)


def buzz(f0_hz: np.ndarray, sample_rate: int = 16000) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    return 0.05 * sum(np.cos(k * phase) / k for k in range(1, 11))


@pytest.mark.parametrize("f0_hz", [52, 80, 123.4, 200, 317, 440, 540])
def test_pitch_of_tones_is_known(f0_hz):
    track = pitch.track_pitch(buzz(np.full(16000, float(f0_hz))))
    inside = slice(15, -15)
    assert track.voiced[inside].all()
    assert track.f0_hz[inside] == pytest.approx(f0_hz, rel=tolerances.METRIC_AGAINST_OTHER / 4)
    assert track.periodicity[inside].min() > 0.98


def test_pitch_of_a_glide_is_that_of_harvest():
    f0_hz = np.geomspace(100, 300, 32000)
    signal = buzz(f0_hz)
    track = pitch.track_pitch(signal)
    harvest, seconds = pyworld.harvest(signal, 16000, f0_floor=50.0, f0_ceil=550.0, frame_period=5.0)
    inside = slice(20, len(track.f0_hz) - 20)
    assert track.seconds == pytest.approx(seconds[: len(track.seconds)])
    assert track.f0_hz[inside] == pytest.approx(
        harvest[: len(track.f0_hz)][inside], rel=tolerances.METRIC_AGAINST_OTHER
    )
    # What a frame looks at is centred for 200 Hz; at 100 and 300 Hz it is 2.5 ms off, 0.14 % of this glide.
    assert track.f0_hz[inside] == pytest.approx(f0_hz[::80][inside], rel=tolerances.METRIC_AGAINST_OTHER / 2)


def test_noise_and_silence_are_unvoiced():
    rng = np.random.default_rng(0)
    for signal in (0.1 * rng.standard_normal(32000), np.zeros(32000), 1e-4 * buzz(np.full(32000, 200.0))):
        track = pitch.track_pitch(signal)
        assert not track.voiced.any()
    assert pitch.track_pitch(0.1 * rng.standard_normal(32000)).periodicity.mean() < 0.2
    assert not pitch.track_pitch(np.zeros(32000)).periodicity.any()


def test_voicing_is_where_the_tone_is():
    signal = np.concatenate([np.zeros(8000), buzz(np.full(16000, 150.0)), np.zeros(8000)])
    signal += 1e-5 * np.random.default_rng(0).standard_normal(len(signal))
    voiced = np.flatnonzero(pitch.track_pitch(signal).voiced)
    assert abs(voiced[0] - 100) <= 4
    assert abs(voiced[-1] - 300) <= 4
    assert len(voiced) == voiced[-1] - voiced[0] + 1


@pytest.mark.parametrize("factor", [1.01, 1.05, 0.9])
def test_f0_distance_of_a_known_shift(factor):
    f0_hz = np.full(32000, 180.0)
    result = compute(["f0_rmse_cents"], buzz(f0_hz), buzz(f0_hz * factor), 16000).results["f0_rmse_cents"]
    assert result.value == pytest.approx(abs(1200 * math.log2(factor)), rel=tolerances.METRIC_AGAINST_OTHER)


def test_voicing_scores_by_hand():
    def track(*f0: float) -> pitch.PitchTrack:
        return pitch.PitchTrack(np.array(f0), np.array(f0) / 1000)

    reference, generated = track(0, 100, 100, 100, 0), track(0, 200, 100, 0, 100)
    assert pitch.voicing_f1(reference, generated).value == pytest.approx(2 * 2 / (3 + 3))
    assert pitch.voicing_error(reference, generated).value == pytest.approx(2 / 5)
    assert pitch.f0_rmse_cents(reference, generated).value == pytest.approx(math.sqrt((1200**2 + 0) / 2))
    assert pitch.periodicity_rmse(reference, generated).value == pytest.approx(math.sqrt(3 * 0.1**2 / 5))
    assert pitch.voicing_f1(track(0, 0), track(0, 0)).reason == "no frame is voiced in either signal"
    assert pitch.f0_rmse_cents(track(0, 1), track(1, 0)).reason == "no frame is voiced in both signals"


def test_si_sdr_by_hand():
    reference, rest = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])
    for gain in (1, -3, 0.01):
        value = waveform.si_sdr_db(reference, gain * (reference + 0.1 * rest) + 5)
        assert value == pytest.approx(20)
    assert waveform.si_sdr_db(reference, rest) == -math.inf
    assert waveform.si_sdr_db(reference, 0 * reference) == -math.inf
    assert waveform.si_sdr_db(reference, reference) == math.inf


def test_p808_mel_against_the_definition():
    """One frame of librosa's recipe from sums of cosines and its filters from their corner frequencies."""
    rng = np.random.default_rng(2)
    samples = 0.1 * rng.standard_normal(2000)
    frame = np.concatenate([np.zeros(160), samples, np.zeros(160)])[5 * 160 : 5 * 160 + 321]
    frame = frame * np.sin(np.pi * np.arange(321) / 321) ** 2
    power = np.abs([np.sum(frame * np.exp(-2j * np.pi * k * np.arange(321) / 321)) for k in range(161)]) ** 2
    hz = np.arange(161) * 16000 / 321

    def to_hz(mel: float) -> float:
        return mel * 200 / 3 if mel <= 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * math.log(8, 6.4)
    corners = [to_hz(top * i / 121) for i in range(122)]
    bands = []
    for low, centre, high in zip(corners, corners[1:], corners[2:], strict=False):
        weights = np.clip(np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)), 0, None)
        bands.append(max(1e-10, float(np.sum(weights * 2 / (high - low) * power))))
    result = dnsmos.p808_mel(samples)
    assert result.shape == (13, 120)
    assert result.max() == 1
    assert result.min() >= -1
    decibels = 10 * np.log10(bands)
    # All frames share one reference, so only differences within the frame are known here.
    inside = result[5] > -1
    assert np.ptp((40 * result[5] - decibels)[inside]) < tolerances.P808_MEL_DB


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        # 1 and 6.3 s are repeated to 16 and 12.6 s; of whole seconds, 9.01 s fit 16 - 9 and 12 - 9 times.
        (1.0, range(7)), (6.3, range(3)),
        (9.5, range(1)), (10.0, range(1)), (10.5, range(1)), (11.0, range(2)), (12.5, range(3)), (13.0, range(4)),
        # Windows 7 to 23 of the original end a sample early, since 16.01 * 16000 rounds to below 256160.
        (20.9, range(7)), (34.0, [*range(7), 24]),
    ],
)  # fmt: skip
def test_dnsmos_windows_start_where_the_originals_do(seconds, starts):
    samples = np.arange(round(seconds * dnsmos.SAMPLE_RATE), dtype=float)
    windows = dnsmos._windows(samples)
    assert [window[0] for window in windows] == [start * 16000 % len(samples) for start in starts]
    assert {len(window) for window in windows} == {144160}


@pytest.fixture(scope="module")
def original_dnsmos():
    """The class of speechmos around our sessions and mel; librosa, which it imports, is not among its requirements."""
    place = Path(importlib.util.find_spec("speechmos").submodule_search_locations[0], "dnsmos.py")
    specification = importlib.util.spec_from_file_location("original_dnsmos", place)
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("librosa", "requests"):
            patch.setitem(sys.modules, name, types.SimpleNamespace(session=None))
        specification.loader.exec_module(module)
    made = object.__new__(module.DNSMOS)
    made.onnx_sess, made.p808_onnx_sess = dnsmos._session("sig_bak_ovr.onnx"), dnsmos._session("model_v8.onnx")
    made.audio_melspec = lambda audio: dnsmos.p808_mel(audio)
    return made


@pytest.mark.parametrize(
    "seconds", [6.3, 9.5, 10.5, *(pytest.param(value, marks=pytest.mark.long) for value in (12.5, 13.0, 20.9))]
)
def test_dnsmos_against_the_original(original_dnsmos, seconds):
    time = np.arange(round(seconds * 16000)) / 16000
    # Ever louder, so that each window has a score of its own.
    samples = time / seconds * np.sin(2 * np.pi * 150 * time) * np.sin(2 * np.pi * 1.5 * time)
    expected = original_dnsmos(samples, 16000, is_personalized_MOS=False)
    keys = ("sig", "bak", "ovrl", "p808")
    results = compute([f"dnsmos_{key}" for key in keys], None, samples, 16000).results
    for key in keys:
        assert results[f"dnsmos_{key}"].value == pytest.approx(
            expected[f"{key}_mos"], rel=tolerances.DNSMOS_MEAN_IN_FLOAT32
        ), key
