"""Which mels are refused, with the exact text, and which conventions are named, without a false warning."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.audio import read_audio
from hifigan_rt.config import PRESETS, MelConfig
from hifigan_rt.errors import MelConventionWarning, MelError
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.arrays import is_on_device
from hifigan_rt.mel.check import check_mel, diagnose, likely_other_convention, warn_if_other_convention

ORIGINAL = PRESETS["v1"].mel
assert ORIGINAL is not None
DOCUMENT = Path(__file__).parents[2] / "docs" / "mel-conventions.md"


SAMPLES = Path(__file__).parents[2] / "samples"
CLIPS = [read_audio(path).samples.astype(np.float64) for path in sorted(SAMPLES.glob("*.flac"))]


def magnitudes(audio: np.ndarray, config: MelConfig = ORIGINAL) -> np.ndarray:
    without_floor = replace(config, floor=1e-300, log="ln", mean=None, scale=None)
    return np.exp(compute_mel(np.clip(audio, -1, 1).astype(np.float32), without_floor).astype(np.float64))


def smoothed(mel: np.ndarray) -> np.ndarray:
    """Averaged over neighbouring frames, as an acoustic model's prediction is."""
    padded = np.pad(mel, ((0, 0), (3, 3)), mode="edge")
    weights = np.array([1, 2, 4, 6, 4, 2, 1]) / 20
    return sum(w * padded[:, i : i + mel.shape[1]] for i, w in enumerate(weights))


def valid_mels():
    for seed, clean in enumerate(CLIPS):
        noise = np.random.default_rng(seed).standard_normal(len(clean))
        for gain_db in (-60, -40, -20, -10, 0, 6):
            for noise_db in (None, -60, -40, -30, -20, -10):
                audio = clean * 10 ** (gain_db / 20) + (0 if noise_db is None else noise * 10 ** (noise_db / 20))
                mel = np.log(np.maximum(magnitudes(audio), 1e-5))
                name = f"speech {seed}, {gain_db} dB, noise {noise_db}"
                yield name, mel
                yield f"{name}, smoothed and a little low", smoothed(mel) - 0.7
                yield f"{name}, smoothed, 120 frames", smoothed(mel)[:, 40 + seed : 160 + seed]
                for frames in (1, 5, 20, 101, 150):
                    start = (seed * 37 + frames * 13) % (mel.shape[1] - frames)
                    yield f"{name}, {frames} frames", mel[:, start : start + frames]
    t = np.arange(44100) / 22050
    rng = np.random.default_rng(9)
    signals = {
        "silence": np.zeros_like(t),
        "constant": np.ones_like(t),
        "sine": np.sin(2 * np.pi * 440 * t),
        "full-scale square": np.sign(np.sin(2 * np.pi * 220 * t)),
        "low square": np.sign(np.sin(2 * np.pi * 50 * t)),
        "full-scale noise": np.sign(rng.standard_normal(len(t))),
        "noise": rng.uniform(-1, 1, len(t)),
        "quiet noise": 1e-4 * rng.standard_normal(len(t)),
        "dither": rng.integers(-1, 2, len(t)) / 32768,
        "pulsed noise": 0.3 * rng.standard_normal(len(t)) * (0.55 + 0.45 * np.sin(8 * np.pi * t)),
        "clipped pulsed noise": 2 * rng.standard_normal(len(t)) * (0.5 + 0.5 * np.sin(8 * np.pi * t)),
        "clicks": (np.arange(len(t)) % 2000 == 0) * 1.0,
        "dense clicks": (np.arange(len(t)) % 200 == 0) * 1.0,
        "sweep": np.sin(2 * np.pi * (50 * t + 2000 * t * t)),
    }
    for name, audio in signals.items():
        mel = np.log(np.maximum(magnitudes(audio), 1e-5))
        yield name, mel
        yield f"{name}, smoothed", smoothed(mel)
        yield f"{name}, one frame", mel[:, 60:61]


def test_no_valid_mel_is_warned_about():
    wrong, count = [], 0
    for name, mel in valid_mels():
        count += 1
        likely = likely_other_convention(mel.astype(np.float32), ORIGINAL)
        if likely is not None:
            wrong.append((name, likely))
    assert wrong == []
    assert count > 700


@pytest.mark.parametrize(
    "config",
    [
        MelConfig(16000, 1024, 1024, 256, 80, 80.0, 7600.0),
        MelConfig(24000, 2048, 1200, 300, 80, 80.0, 7600.0),
        MelConfig(44100, 2048, 2048, 512, 128, 40.0, 16000.0),
        replace(ORIGINAL, norm=None, fmax=None),
        replace(ORIGINAL, padding="center", log="log10", floor=1e-10, magnitude_epsilon=0.0),
        replace(ORIGINAL, log="log10", floor=1e-10, mean=(-2.0,), scale=(0.9,)),
        replace(ORIGINAL, mean=(-5.0,), scale=(2.0,)),
    ],
)
def test_no_model_warns_about_its_own_mels(config):
    clip = CLIPS[0]
    noise = np.random.default_rng(0).standard_normal(len(clip))
    for gain in (1e-3, 0.1, 1, 2):
        for noise_gain in (0, 0.01, 0.2):
            audio = clip * gain + noise_gain * noise
            mel = compute_mel(np.clip(audio, -1, 1).astype(np.float32), config)
            for part in (mel, mel[:, 50:51], mel[:, 30:60]):
                assert likely_other_convention(part, config) is None


def decibels(x: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(x, 1e-5))


def unit_range(x: np.ndarray) -> np.ndarray:
    return np.clip((decibels(x) + 80) / 100, 0, 1)


def standardised(mel: np.ndarray) -> np.ndarray:
    return (mel - mel.mean(axis=1, keepdims=True)) / mel.std(axis=1, keepdims=True)


OTHERS = {
    "log10, floor 1e-5": (lambda x: np.log10(np.maximum(x, 1e-5)), "log10"),
    "log10, floor 1e-10": (lambda x: np.log10(np.maximum(x, 1e-10)), "log10"),
    "decibels": (decibels, "decibels"),
    "decibels below the peak": (lambda x: np.maximum(decibels(x) - decibels(x).max(), -80), "decibels"),
    "linear": (lambda x: x, "linear magnitudes"),
    "ln(1 + x)": (np.log1p, r"linear magnitudes or ln\(1 \+ x\)"),
    "squared": (lambda x: 2 * np.log(np.maximum(x, 1e-5)), "floor 1e-10|squared magnitudes"),
    "0 to 1": (unit_range, "range that starts at 0"),
    "0 to 4": (lambda x: 4 * unit_range(x), "range that starts at 0"),
    "-1 to 1": (lambda x: 2 * unit_range(x) - 1, "range -1 to 1"),
    "-4 to 4": (lambda x: 8 * unit_range(x) - 4, "-4 to 4"),
    "standardised": (lambda x: standardised(np.log(x)), "standardised|mean 0"),
    "16-bit audio": (lambda x: np.log(np.maximum(x * 32768, 1e-5)), "not divided by 32768"),
}  # fmt: skip


@pytest.mark.parametrize("convention", OTHERS)
@pytest.mark.parametrize("gain", [0.1, 0.5, 1.0])
def test_other_conventions_are_named(convention, gain):
    convert, named = OTHERS[convention]
    for clip in CLIPS:
        likely = likely_other_convention(convert(magnitudes(clip * gain)).astype(np.float32), ORIGINAL)
        assert likely is not None
        assert re.search(named, likely)


@pytest.mark.parametrize("floor", [1e-8, 1e-9, 1e-10, 1e-12])
def test_lower_floors_are_named(floor):
    no_epsilon = replace(ORIGINAL, magnitude_epsilon=0.0, floor=floor)
    audio = CLIPS[0].copy()
    audio[20000:26000] = 0
    mel = compute_mel(audio.astype(np.float32), no_epsilon)
    assert likely_other_convention(mel, ORIGINAL) == f"a logarithm with the floor {floor:g}"


def test_zeros_are_no_silence():
    assert "loud, not silent" in str(diagnose(np.zeros((80, 50), np.float32), ORIGINAL))


def test_ln_given_to_a_log10_model():
    config = replace(ORIGINAL, log="log10", floor=1e-10)
    mel = np.log(np.maximum(magnitudes(CLIPS[0]), 1e-5)).astype(np.float32)
    assert likely_other_convention(mel, config) == "a natural logarithm instead of log10, or a lower floor"
    assert likely_other_convention(np.maximum(mel, -9) + 3, config) == "a natural logarithm instead of log10"


def test_the_warning():
    mel = np.linspace(-80, 0, 8000, dtype=np.float32).reshape(80, 100)
    with pytest.warns(MelConventionWarning) as caught:
        checked = check_mel(mel, 80, ORIGINAL)
    assert str(caught[0].message) == (
        "the mel's values, -80 to 0, look like decibels (20 log10); this model expects ln of magnitudes with the floor "
        "1e-05: see docs/mel-conventions.md"
    )
    assert np.array_equal(checked, mel)
    with pytest.warns(MelConventionWarning, match="with the floor 1e-05, then mean and scale"):
        warn_if_other_convention(mel, replace(ORIGINAL, mean=(1.0,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_mel(mel, 80)
        check_mel(np.full((80, 3), -11.5), 80, ORIGINAL)


@pytest.mark.parametrize("shape", [(80, 1), (80, 7), (1, 80, 7), (3, 80, 1), (80, 80)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", np.longdouble])
def test_accepted(shape, dtype):
    mel = np.random.default_rng(0).uniform(-11, 1, shape).astype(dtype)
    for given in (mel, np.asfortranarray(mel), mel.tolist()):
        checked = check_mel(given, 80)
        assert checked.dtype == np.float32
        assert checked.dtype.isnative
        assert checked.flags.c_contiguous
        assert np.array_equal(checked, mel.astype(np.float32))


class Foreign:
    """An object of another library, which gives its array, or raises."""

    def __init__(self, answer: np.ndarray | Exception) -> None:
        self._answer = answer

    def __array__(self, dtype=None, copy=None):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.torch
def test_tensors():
    torch = pytest.importorskip("torch")
    mel = torch.zeros(80, 5)
    assert check_mel(mel, 80).shape == (80, 5)
    assert check_mel(mel.clone().requires_grad_() + 0, 80).shape == (80, 5)
    for unfit in (mel.bfloat16(), mel.to_sparse(), torch.empty(80, 5, device="meta")):
        with pytest.raises(MelError, match=r"^the mel, a Tensor, cannot be made an array \(.*\): pass mel\.detach\(\)"):
            check_mel(unfit, 80)
        assert not is_on_device(unfit) or unfit.is_meta


@pytest.mark.parametrize(
    ("mel", "text"),
    [
        (np.zeros(80), "the mel has shape [80], and [80, T] or [B, 80, T] is needed (bands before frames)"),
        (1.5, "the mel has shape [], and [80, T] or [B, 80, T] is needed (bands before frames)"),
        (np.zeros((2, 2, 80, 5)), "the mel has shape [2, 2, 80, 5], and [80, T] or [B, 80, T] is needed "
         "(bands before frames)"),
        (np.zeros((5, 80)), "the mel has shape [5, 80]; this looks time-major: pass mel.T"),
        (np.zeros((2, 5, 80)), "the mel has shape [2, 5, 80]; this looks time-major: pass mel.transpose(0, 2, 1)"),
        (np.zeros((128, 5)), "the mel has 128 bands (shape [128, 5]), and this model takes 80"),
        (np.zeros((80, 0)), "the mel has shape [80, 0]: it holds no frames; leave it out"),
        (np.zeros((0, 80, 4)), "the mel has shape [0, 80, 4]: it holds no items; leave it out"),
        (np.zeros((80, 5), int), "the mel has dtype int64, and its values must be floats: pass mel.astype('float32')"),
        (np.zeros((80, 5), bool), "the mel has dtype bool, and its values must be floats: pass mel.astype('float32')"),
        (np.ones((80, 5), "c8"), "the mel has dtype complex64, and its values must be float16, float32 or float64"),
        (np.full((80, 5), None), "the mel has dtype object, and its values must be float16, float32 or float64"),
        ("mel.npy", "the mel is text, 'mel.npy': pass an array; hifigan_rt.mel.files.read_mel_file reads that of a "
         "file"),
        (b"\x93NUMPY", "the mel is text, b'\\x93NUMPY': pass an array; hifigan_rt.mel.files.read_mel_file reads that "
         "of a file"),
        (None, "the mel is a NoneType: pass a NumPy array of float32"),
        ({"mel": np.zeros((80, 5))}, "the mel is a dict with the keys 'mel': pass one of its arrays"),
        ({1, 2}, "the mel is a set, which has no order: pass a list"),
        ((row for row in np.zeros((80, 5))), "the mel is a generator, which gives its items once: pass list(...) of "
         "it"),
        (map(float, "12"), "the mel is a map, which gives its items once: pass list(...) of it"),
        ([[1, 2]] * 80, "the mel has dtype int64, and its values must be floats: pass np.asarray(mel, 'float32')"),
        (np.ma.masked_less(np.zeros((80, 5)), 1), "the mel has 400 masked values: pass mel.filled(VALUE)"),
        (Foreign(RuntimeError("a stranger's\n  words")), "the mel, a Foreign, cannot be made an array (a stranger's "
         "words): pass a NumPy array of float32"),
        (Foreign(AssertionError()), "the mel, a Foreign, cannot be made an array (AssertionError): pass a NumPy array "
         "of float32"),
        (
            np.where(np.arange(400).reshape(80, 5) == 7, np.nan, 0.0),
            "the mel holds 1 values that are NaN, infinite or beyond float32, the first at [1, 2] of shape [80, 5]: "
            "every value must be finite",
        ),
        (
            np.full((1, 80, 2), -np.inf),
            "the mel holds 160 values that are NaN, infinite or beyond float32, the first at [0, 0, 0] of shape "
            "[1, 80, 2]: every value must be finite",
        ),
        (
            np.full((80, 1), 1e39),
            "the mel holds 80 values that are NaN, infinite or beyond float32, the first at [0, 0] of shape [80, 1]: "
            "every value must be finite",
        ),
        (
            np.full((80, 1), -3e38),
            "the mel holds values up to 3e+38 in size, and no convention has any beyond 1e+10: see "
            "docs/mel-conventions.md",
        ),
    ],
)  # fmt: skip
def test_refused(mel, text):
    with pytest.raises(MelError) as caught:
        check_mel(mel, 80)
    assert str(caught.value) == text


def test_bfloat16_is_told_what_to_pass():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    with pytest.raises(
        MelError, match=r"dtype bfloat16, .* float16, float32 or float64: pass mel.astype\('float32'\)$"
    ):
        check_mel(np.zeros((80, 5), bfloat16), 80)


class OnlyDlpack:
    """An array of a library that knows DLPack and not NumPy."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_arrays_of_other_libraries_are_taken():
    mel = np.random.default_rng(0).uniform(-11, 1, (80, 5)).astype(np.float32)
    for given in (OnlyDlpack(mel), Foreign(mel), np.ma.array(mel), memoryview(mel), list(mel), tuple(mel)):
        assert np.array_equal(check_mel(given, 80), mel)


def test_ragged_lists_are_refused():
    with pytest.raises(MelError, match=r"^the mel, a list, cannot be made an array \(.*pass a NumPy array of float32$"):
        check_mel([[1.0], [1.0, 2.0]], 2)


def test_the_documents_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), {})  # noqa: S102 - our own document
