"""Measures which conventions of mels are named, over recordings.

    python benchmarks/conventions.py samples/*.flac FOLDER/*.wav

Each convention is computed with its own band limits and with those of the original, and given to a V1 model, whose
warning is judged. A name is right alone or as one of two. "shift" is the mean distance in ln from the model's own mel:
below 1 nothing need be said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hifigan_rt.audio import prepare, read_audio
from hifigan_rt.config import PRESETS, MelConfig
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.check import diagnose

V1 = PRESETS["v1"].mel
assert isinstance(V1, MelConfig)
LIBROSA = replace(V1, padding="center", magnitude_epsilon=0.0)
Convert = Callable[[np.ndarray], np.ndarray]


def coqui(low: float, high: float, *, clipped: bool = True) -> Convert:
    def convert(decibels: np.ndarray) -> np.ndarray:
        mel = low + (high - low) * (decibels + 80) / 100
        return np.clip(mel, low, high) if clipped else mel

    return convert


def whisper(log10_power: np.ndarray) -> np.ndarray:
    return (np.maximum(log10_power, log10_power.max() - 8) + 4) / 4


def min_max(mel: np.ndarray) -> np.ndarray:
    return 2 * (mel - mel.min()) / (mel.max() - mel.min()) - 1


def by_own_bands(mel: np.ndarray) -> np.ndarray:
    return (mel - mel.mean(axis=1, keepdims=True)) / np.maximum(mel.std(axis=1, keepdims=True), 1e-3)


def same(mel: np.ndarray) -> np.ndarray:
    return mel


NYQUIST, PWG, OPENVPI = (0.0, None), (80.0, 7600.0), (40.0, 11025.0)
LOG10 = replace(LIBROSA, log="log10", floor=1e-10)
DB = replace(LIBROSA, log="db")
CONVENTIONS: dict[str, tuple[MelConfig, Convert, tuple[float, float | None], str | None]] = {
    "HiFi-GAN, NVIDIA, BigVGAN": (V1, same, (0.0, 8000.0), None),
    "SpeechBrain": (LIBROSA, same, (0.0, 8000.0), None),
    "NeMo, older": (replace(V1, padding="zero", magnitude_epsilon=0.0), same, (0.0, 8000.0), None),
    "openvpi": (V1, same, OPENVPI, None),
    "Coqui ln, floor 1e-5": (LIBROSA, same, NYQUIST, None),
    "Coqui ln, floor 1e-8": (replace(LIBROSA, floor=1e-8), same, NYQUIST, "a logarithm with"),
    "NeMo, newer: ln(1 + x)": (replace(LIBROSA, log="log1p", norm=None), same, NYQUIST, "ln(1 + x)"),
    "no area norm": (replace(V1, norm=None), same, NYQUIST, "norm=None"),
    "SpeechT5: log10": (LOG10, same, PWG, "log10"),
    "Coqui log10, floor 1e-5": (replace(LIBROSA, log="log10"), same, NYQUIST, "log10"),
    "Coqui log10, floor 1e-8": (replace(LIBROSA, log="log10", floor=1e-8), same, NYQUIST, "log10"),
    "ParallelWaveGAN: standardised log10": (LOG10, by_own_bands, PWG, "standardised"),
    "Coqui: standardised ln": (LIBROSA, by_own_bands, NYQUIST, "standardised"),
    "Coqui dB": (DB, same, NYQUIST, "decibels"),
    "Coqui -4 to 4": (DB, coqui(-4, 4), NYQUIST, "-4 to 4"),
    "Coqui -1 to 1": (DB, coqui(-1, 1), NYQUIST, "-1 to 1"),
    "Coqui 0 to 1": (DB, coqui(0, 1), NYQUIST, "starts at 0"),
    "power": (replace(LIBROSA, power=2), same, NYQUIST, "squared magnitudes"),
    "dB of powers": (replace(LIBROSA, log="db", power=2, floor=1e-10), same, NYQUIST, "decibels"),
    "Whisper": (replace(LIBROSA, log="log10", power=2, floor=1e-10), whisper, NYQUIST, "Whisper"),
    "min-max -1 to 1": (V1, min_max, NYQUIST, "-1 to 1"),
    "samples times 32768": (replace(V1, gain=32768.0), same, NYQUIST, "32768"),
}  # fmt: skip
"""Analysis, what follows, own band limits in Hz, and the name; None where the model's own may be meant."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", metavar="RECORDING")
    recordings = {
        path: prepare(read_audio(path), V1.sample_rate, resample_allowed=True, mono_allowed=True)
        for path in parser.parse_args().recordings
    }
    own = {path: compute_mel(audio, V1) for path, audio in recordings.items()}
    print(f"{len(recordings)} recordings\n\n| convention | band limits | shift | right | unnamed | wrong |")
    print("| --- | --- | --- | --- | --- | --- |")
    totals = {"right": 0, "unnamed": 0, "wrong": 0, "false alarm": 0}
    for name, (analysis, convert, limits, expected) in CONVENTIONS.items():
        for fmin, fmax in dict.fromkeys([limits, (V1.fmin, V1.fmax)]):
            counts, shifts = {"right": 0, "unnamed": 0, "wrong": 0}, []
            for path, audio in recordings.items():
                config = replace(analysis, fmin=fmin, fmax=fmax)
                mel = np.asarray(convert(compute_mel(audio, config).astype(np.float64)), np.float32)
                frames = min(mel.shape[1], own[path].shape[1])
                shifts.append(float(np.abs(mel[:, :frames] - own[path][:, :frames]).mean()))
                named = diagnose(mel, V1)
                if named is None or "another scale" in named:
                    counts["unnamed"] += 1
                elif expected is not None and expected in named:
                    counts["right"] += 1
                else:
                    counts["wrong"] += 1
                    print(f"{Path(path).name}: {name} is named {named}", file=sys.stderr)
            shift = float(np.mean(shifts))
            if expected is None:
                totals["false alarm"] += counts["wrong"]
                counts["wrong"] = 0
            if shift >= 1:
                for key, value in counts.items():
                    totals[key] += value
            band = f"{fmin:g} to {fmax or V1.sample_rate / 2:g}"
            print(f"| {name} | {band} | {shift:.2f} | {counts['right']} | {counts['unnamed']} | {counts['wrong']} |")
    judged = totals["right"] + totals["unnamed"] + totals["wrong"]
    print(f"\nright {totals['right'] / judged:.1%}, wrong {totals['wrong']}, false alarms {totals['false alarm']}")


if __name__ == "__main__":
    main()
