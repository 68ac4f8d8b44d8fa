"""Padding and conventions of whole recordings: what is named, and what is let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.audio import read_audio
from hifigan_rt.config import PRESETS, MelConfig
from hifigan_rt.mel.analysis import compute_mel, mel_filterbank, silence_mel_value
from hifigan_rt.mel.check import diagnose, likely_other_convention
from hifigan_rt.mel.watch import MelWatch

ORIGINAL = PRESETS["v1"].mel
assert isinstance(ORIGINAL, MelConfig)
SAMPLES = Path(__file__).parents[2] / "samples"
CLIPS = [read_audio(path).samples.astype(np.float64) for path in sorted(SAMPLES.glob("*.flac"))]
MEL = compute_mel(CLIPS[0].astype(np.float32), ORIGINAL)
NO_NORM = replace(ORIGINAL, norm=None, fmax=None)


def power_mel(audio: np.ndarray) -> np.ndarray:
    """The filters over squared magnitudes, as librosa's melspectrogram has them."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    padded = np.pad(audio, 384, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256] * window
    return mel_filterbank(ORIGINAL).astype(np.float64) @ np.abs(np.fft.rfft(frames)).T ** 2


def whisper(audio: np.ndarray) -> np.ndarray:
    log = np.log10(np.maximum(power_mel(audio), 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def min_max(audio: np.ndarray) -> np.ndarray:
    mel = compute_mel(audio.astype(np.float32), ORIGINAL)
    return 2 * (mel - mel.min()) / (mel.max() - mel.min()) - 1


def coqui(audio: np.ndarray) -> np.ndarray:
    decibels = 20 * np.log10(np.exp(compute_mel(audio.astype(np.float32), ORIGINAL).astype(np.float64))) - 20
    return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)


OTHERS = {
    "norm=None": lambda x: compute_mel(x.astype(np.float32), NO_NORM),
    "ln(1 + x)": lambda x: np.log1p(np.exp(compute_mel(x.astype(np.float32), NO_NORM).astype(np.float64))),
    "squared magnitudes": lambda x: np.log(np.maximum(power_mel(x), 1e-5)),
    "32768": lambda x: compute_mel(x.astype(np.float32), ORIGINAL) + np.log(32768),
    "log10": lambda x: compute_mel(
        x.astype(np.float32),
        replace(ORIGINAL, log="log10", floor=1e-10, padding="center", magnitude_epsilon=0.0, fmin=80.0, fmax=7600.0),
    ),
    "Whisper": whisper,
    "-1 to 1": min_max,
    "-4 to 4": coqui,
}  # fmt: skip


@pytest.mark.parametrize("named", OTHERS)
def test_whole_recordings_name_their_convention(named):
    for clip in CLIPS:
        mel = np.asarray(OTHERS[named](clip), np.float32)
        likely = likely_other_convention(mel, ORIGINAL)
        assert likely is not None
        assert named in likely
        assert likely.count(" or ") <= 3
        finding = str(diagnose(mel, ORIGINAL))
        assert named in finding
        assert "padding" not in finding


@pytest.mark.parametrize("value", [0.0, -4.0, 1.5, -0.5, -100.0, -5.0])
@pytest.mark.parametrize("place", ["start", "middle", "end", "apart"])
def test_padding_is_told_with_its_frames(value, place):
    mel = MEL.copy()
    frames = {"start": slice(0, 30), "middle": slice(80, 110), "end": slice(-30, None), "apart": slice(1, None, 20)}
    mel[:, frames[place]] = value
    finding = diagnose(mel.astype(np.float16).astype(np.float32), ORIGINAL)
    assert finding is not None
    told = np.arange(mel.shape[1])[frames[place]]
    assert f"from {told[0]} to {told[-1]} are all" in finding or f"frames {told[0]} to {told[-1]} are all" in finding
    assert "this model's silence is -11.51" in finding
    assert ("is loud, not silent" in finding) == (value > -11)


@pytest.mark.parametrize("value", [-14.0, -18.42, -30.0])
def test_what_lies_below_silence_in_a_mel_that_reaches_it_is_padding(value):
    padded = np.concatenate([MEL, np.full((80, 30), value, np.float32)], axis=1)
    assert "look like" not in str(diagnose(padded, ORIGINAL))
    assert "looks like padding" in str(diagnose(padded, ORIGINAL))


def test_silence_of_a_mel_that_nothing_else_tells_is_named_beside_padding():
    noise = np.random.default_rng(0).normal(0, 0.01, len(CLIPS[0]))
    noisy = compute_mel((CLIPS[0] + noise).astype(np.float32), ORIGINAL)
    finding = str(diagnose(np.concatenate([noisy, np.full((80, 40), -8, np.float32)], axis=1), ORIGINAL))
    assert "are all -8 in every band, which looks like padding" in finding
    assert "or they are silence, and the mel's values look like log10 with the floor 1e-8" in finding


def test_padding_in_a_batch_names_the_item():
    batch = np.stack([MEL[:, :100], MEL[:, 100:200]])
    assert diagnose(batch, ORIGINAL) is None
    batch[1, :, 60:] = 0
    assert str(diagnose(batch, ORIGINAL)).startswith("item 1 of the batch: the mel's frames 60 to 99 are all 0")


@pytest.mark.parametrize(
    "config",
    [
        ORIGINAL,
        NO_NORM,
        MelConfig(16000, 1024, 1024, 256, 80, 80.0, 7600.0),
        MelConfig(44100, 2048, 2048, 512, 128, 40.0, 16000.0),
        MelConfig(24000, 1024, 1024, 256, 100),
        replace(ORIGINAL, log="log10", floor=1e-10, magnitude_epsilon=0.0, padding="center"),
        replace(ORIGINAL, mean=tuple(np.linspace(-6, -4, 80)), scale=(2.0,)),
    ],
)
def test_silence_and_single_flat_frames_are_no_padding(config):
    for audio in (np.zeros(30000), np.concatenate([np.zeros(20000), CLIPS[0], np.zeros(20000)])):
        mel = compute_mel(audio.astype(np.float32), config)
        assert diagnose(mel, config) is None
        assert diagnose(mel.astype(np.float16).astype(np.float32), config) is None
    padded = np.concatenate([mel, np.repeat(silence_mel_value(config)[:, None], 40, axis=1)], axis=1)
    assert diagnose(padded, config) is None
    mel[:, 50] = 0
    assert diagnose(mel, config) is None


def test_a_standardised_models_zeros_are_padding():
    config = replace(ORIGINAL, mean=tuple(np.linspace(-6, -4, 80)), scale=(2.0,))
    mel = compute_mel(CLIPS[0].astype(np.float32), config)
    mel[:, -9:] = 0
    assert "are all 0 in every band" in str(diagnose(mel, config))


def test_another_conventions_own_silence_is_no_padding():
    clip = np.concatenate([CLIPS[0], np.zeros(8000)])
    decibels = 20 * np.log10(np.exp(compute_mel(clip.astype(np.float32), ORIGINAL)))
    assert "decibels" in str(diagnose(decibels, ORIGINAL))
    for named in ("ln(1 + x)", "32768", "log10", "Whisper", "-4 to 4"):
        finding = str(diagnose(np.asarray(OTHERS[named](clip), np.float32), ORIGINAL))
        assert named in finding, named


@pytest.mark.parametrize("size", [1, 7, 16, 90, 1000])
def test_a_stream_is_watched_whatever_the_sizes_of_its_pushes(size):
    def told(mel: np.ndarray) -> list[str]:
        watch = MelWatch(ORIGINAL)
        pushes = [mel[:, start : start + size] for start in range(0, mel.shape[1], size)]
        return [finding for finding in [*map(watch.push, pushes), watch.finish()] if finding is not None]

    assert told(MEL) == []
    padded = np.concatenate([MEL, np.zeros((80, 40), np.float32)], axis=1)
    (finding,) = told(padded)
    assert "0 in every band" in finding
    (finding,) = told((MEL / np.log(10)).astype(np.float32))
    assert "log10" in finding
    (finding,) = told((MEL / np.log(10)).astype(np.float32)[:, 40:160])
    assert "log10" in finding
    magnitudes = np.exp(MEL)
    (finding,) = told(np.log1p(np.concatenate([magnitudes, np.full((80, 40), 1e-5, np.float32), magnitudes], axis=1)))
    assert "padding" not in finding
    (finding,) = told(np.concatenate([np.zeros((80, 40), np.float32), MEL], axis=1))
    assert "to 39 are all 0 in every band" in finding
    (finding,) = told(np.concatenate([np.zeros((80, 40), np.float32), padded], axis=1))
    assert "all 0 in every band" in finding


def test_a_square_mel_is_told_from_its_transpose():
    for clip in CLIPS:
        whole = compute_mel(clip.astype(np.float32), ORIGINAL)
        for start in (40, 100, 160):
            square = whole[:, start : start + 80]
            assert diagnose(square, ORIGINAL) is None
            assert "looks time-major by its content: pass mel.T" in str(diagnose(square.T.copy(), ORIGINAL))
    assert diagnose(np.full((80, 80), np.log(1e-5), np.float32), ORIGINAL) is None
    assert diagnose(np.random.default_rng(0).uniform(-11, 1, (80, 80)).astype(np.float32), ORIGINAL) is None
