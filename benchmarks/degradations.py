"""What each metric hears and misses: known degradations of the samples, and how far they move every metric.

    python benchmarks/degradations.py                        # the table, as Markdown
    python benchmarks/degradations.py --write docs/metrics.md  # into the page, between its markers

The mean over the clips is shown; `-` where a metric is not defined. tests/unit/test_evaluation_degradations.py holds
the order and the size of what must be heard.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hifigan_rt.audio import read_audio, resample
from hifigan_rt.config import PRESETS
from hifigan_rt.evaluation.metrics import METRICS, available_metrics, compute
from hifigan_rt.evaluation.metrics.pitch import track_pitch
from hifigan_rt.evaluation.statistics import summarize
from hifigan_rt.files import atomic_writer

ROOT = Path(__file__).parents[1]
SAMPLE_RATE = 22050
MARKED = re.compile(r"(<!-- degradations -->\n).*?(<!-- end of degradations -->)", re.DOTALL)

Degradation = Callable[[np.ndarray], np.ndarray]


def noise(snr_db: float) -> Degradation:
    """White noise at an SNR over the whole clip."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        white = np.random.default_rng(0).standard_normal(len(samples))
        return samples + white * np.sqrt(np.mean(samples**2) / np.mean(white**2)) * 10 ** (-snr_db / 20)

    return degrade


def low_pass(hz: float) -> Degradation:
    """A Butterworth filter of order 8, forwards and backwards: steep, and no delay."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        import scipy.signal

        return scipy.signal.sosfiltfilt(scipy.signal.butter(8, hz, fs=SAMPLE_RATE, output="sos"), samples)

    return degrade


def late(milliseconds: float) -> Degradation:
    """The clip later by some time, silence before it, its end cut off."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        shift = round(SAMPLE_RATE * milliseconds / 1000)
        return np.concatenate([np.zeros(shift), samples[:-shift]])

    return degrade


def resynthesised(pitch: float) -> Degradation:
    """Taken apart and put together again by WORLD, with its F0 times `pitch`.

    WORLD alone is heard too: what the pitch adds is the difference to the same with a factor of 1.
    """

    def degrade(samples: np.ndarray) -> np.ndarray:
        import pyworld

        track = track_pitch(resample(samples.astype(np.float32), SAMPLE_RATE, 16000).astype(np.float64))
        envelope = pyworld.cheaptrick(samples, track.f0_hz, track.seconds, SAMPLE_RATE)
        aperiodicity = pyworld.d4c(samples, track.f0_hz, track.seconds, SAMPLE_RATE, threshold=0)
        return pyworld.synthesize(track.f0_hz * pitch, envelope, aperiodicity, SAMPLE_RATE)[: len(samples)]

    return degrade


def border_clicks(chunk_samples: int) -> Degradation:
    """A step at every border of chunks, gone after 2 ms: what chunks synthesised without their context leave."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        degraded = samples.copy()
        decay = 0.1 * np.exp(-np.arange(200) / (0.002 * SAMPLE_RATE))
        for border in range(chunk_samples, len(samples) - 200, chunk_samples):
            degraded[border : border + 200] += decay
        return degraded

    return degrade


def wrapped(peak: float) -> Degradation:
    """Amplified to a peak beyond full scale and wrapped round, as a careless int16 cast does, then scaled back."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        gain = peak / np.abs(samples).max()
        return ((samples * gain + 1) % 2 - 1) / gain

    return degrade


def clipped(peak: float) -> Degradation:
    """Amplified to a peak beyond full scale and clipped, then scaled back."""

    def degrade(samples: np.ndarray) -> np.ndarray:
        gain = peak / np.abs(samples).max()
        return np.clip(samples * gain, -1, 1) / gain

    return degrade


DEGRADATIONS: dict[str, Degradation] = {
    "none": lambda samples: samples,
    "noise, 30 dB": noise(30),
    "noise, 20 dB": noise(20),
    "noise, 10 dB": noise(10),
    "low-pass 7 kHz": low_pass(7000),
    "low-pass 4 kHz": low_pass(4000),
    "low-pass 2 kHz": low_pass(2000),
    "10 ms late": late(10),
    "WORLD, same pitch": resynthesised(1.0),
    "WORLD, pitch + 5 %": resynthesised(1.05),
    "click every 16 frames": border_clicks(16 * 256),
    "click every 4 frames": border_clicks(4 * 256),
    "int16 wrap, peak 1.1": wrapped(1.1),
    "int16 wrap, peak 1.4": wrapped(1.4),
    "clipping, peak 1.4": clipped(1.4),
    "6 dB quieter": lambda samples: samples / 2,
    "polarity inverted": lambda samples: -samples,
    "offset 0.05": lambda samples: samples + 0.05,
}


def sample_clips() -> list[np.ndarray]:
    """The repository's own samples, float64 `[N]` at `SAMPLE_RATE`."""
    return [read_audio(path).samples.astype(np.float64) for path in sorted((ROOT / "samples").glob("*.flac"))]


def measure(degradation: Degradation, clips: Sequence[np.ndarray], keys: Sequence[str]) -> dict[str, float]:
    """Mean over the clips of each metric, the clip itself being the reference."""
    mel = PRESETS["v1"].mel
    scores = [compute(keys, clip, degradation(clip), SAMPLE_RATE, mel).results for clip in clips]
    return {key: summarize([score[key].value for score in scores]).interval.mean for key in keys}


def table(keys: Sequence[str]) -> str:
    """All degradations by all metrics, as Markdown, the metrics in columns."""
    clips = sample_clips()
    lines = ["|  | " + " | ".join(METRICS[key].title for key in keys) + " |", "|---|" + "--:|" * len(keys)]
    for name, degradation in DEGRADATIONS.items():
        values = measure(degradation, clips, keys)
        lines.append(f"| {name} | " + " | ".join(_shown(values[key]) for key in keys) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "identical" if value > 0 else "-∞"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="page to write the table into")
    arguments = parser.parse_args()
    keys = [key for key in available_metrics() if key != "loudness_lufs"]
    text = table(keys)
    if arguments.write is None:
        print(text, end="")
        return
    page = arguments.write.read_text(encoding="utf-8")
    if not MARKED.search(page):
        raise SystemExit(f"{arguments.write} has no <!-- degradations --> to write between")
    with atomic_writer(arguments.write) as file:
        file.write(MARKED.sub(rf"\g<1>{text}\g<2>", page).encode())


if __name__ == "__main__":
    main()
