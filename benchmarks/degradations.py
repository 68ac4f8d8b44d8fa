"""What each metric hears and misses: known degradations of the samples, and how far they move every metric.

    python benchmarks/degradations.py                                        # the tables, as Markdown
    python benchmarks/degradations.py --write benchmarks/results/metrics.md  # and the definitions of the metrics

The mean over the clips is shown. tests/unit/test_evaluation_degradations.py holds the order and the size of what must
be heard.
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
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.tools.evaluation.metrics import METRICS, Signal, available_metrics, compute
from hifigan_rt.tools.evaluation.metrics.pitch import track_pitch
from hifigan_rt.tools.evaluation.statistics import summarize

ROOT = Path(__file__).parents[1]
SAMPLE_RATE = 22050
MARKED = re.compile(r"(<!-- (?P<name>definitions|degradations) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)

GROUPS = {
    "Spectrum and waveform": ("mel_l1", "mel_l1_full", "mr_stft", "lsd", "mcd", "si_sdr", "snr"),
    "Pitch and level": (
        "f0_rmse_cents", "vuv_f1", "vuv_error", "periodicity_rmse", "loudness_difference", "peak", "clipped_samples",
    ),
    "Perception": (
        "stoi", "estoi", "pesq_wb", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "distillmos",
    ),
}  # fmt: skip

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


def sample_clips() -> list[Signal]:
    """The repository's own samples at `SAMPLE_RATE`."""
    return [Signal(read_audio(path).samples, SAMPLE_RATE) for path in sorted((ROOT / "samples").glob("*.flac"))]


def measure(degradation: Degradation, clips: Sequence[Signal], keys: Sequence[str]) -> dict[str, float]:
    """Mean over the clips of each metric, the clip itself being the reference."""
    mel = PRESETS["v1"].mel
    scores = [compute(keys, clip, Signal(degradation(clip.samples), SAMPLE_RATE), mel).results for clip in clips]
    return {key: summarize([score[key].value for score in scores]).interval.mean for key in keys}


def degradation_tables() -> str:
    """All degradations by all metrics that are here, as Markdown, one table per group."""
    clips = sample_clips()
    here = set(available_metrics())
    keys = [key for group in GROUPS.values() for key in group if key in here]
    values = {name: measure(degradation, clips, keys) for name, degradation in DEGRADATIONS.items()}
    text = ""
    for title, members in GROUPS.items():
        shown = [key for key in members if key in here]
        text += f"\n| {title} | " + " | ".join(f"`{key}`" for key in shown) + " |\n|---|" + "--:|" * len(shown) + "\n"
        for name, row in values.items():
            text += f"| {name} | " + " | ".join(_shown(row[key]) for key in shown) + " |\n"
    return text + "\n"


def definition_table() -> str:
    """The registry, as Markdown."""
    lines = [
        "| key | metric | better | unit | range | definition | source | needs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, entry in METRICS.items():
        reach = f"{_limit(entry.low)} to {_limit(entry.high)}"
        needs = ", ".join(entry.packages) or "nothing"
        better = entry.direction if entry.direction != "neither" else "-"
        cells = (f"`{key}`", entry.title, better, entry.unit, reach, entry.definition, entry.source, needs)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _limit(value: float) -> str:
    return f"{value:g}".replace("inf", "∞")


def _shown(value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="page to write the tables into")
    arguments = parser.parse_args()
    tables = {"definitions": definition_table(), "degradations": degradation_tables()}
    if arguments.write is None:
        print(tables["degradations"], end="")
        return
    page = MARKED.sub(
        lambda match: match[1] + tables[match["name"]] + match[3], arguments.write.read_text(encoding="utf-8")
    )
    with atomic_writer(arguments.write) as file:
        file.write(page.encode())


if __name__ == "__main__":
    main()
