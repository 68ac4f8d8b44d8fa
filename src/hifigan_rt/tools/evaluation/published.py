"""Figures that others published for HiFi-GAN in copy-synthesis of LJSpeech, to stand beside ours.

Only metrics whose definition is ours too, or near enough to say how it differs. Mel-cepstral distortion is left out:
for models alike 0.66, 10.9 and 18.8 dB are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """What one source says of one model."""

    source: str
    model: str
    values: Mapping[str, float]
    """Values by metric."""
    in_band: bool = False
    """Whether it is a HiFi-GAN V1, whose rows make the band that stands beside a result."""
    note: str = ""


ROWS = (
    PublishedRow(
        "PeriodWave, table 1", "HiFi-GAN V1",
        {"pesq_wb": 3.646, "mr_stft": 1.0341, "f0_rmse_cents": 26.84, "periodicity_rmse": 0.1064, "vuv_f1": 0.9584},
        in_band=True,
    ),
    PublishedRow(
        "VOCODE repository", "HiFi-GAN V1",
        {
            "mel_l1_full": 0.2704, "pesq_wb": 3.305, "stoi": 0.974, "mr_stft": 1.085, "f0_rmse_cents": 32.4,
            "periodicity_rmse": 0.130, "vuv_f1": 0.952,
        },
        in_band=True, note="trained again with about half the steps; 525 utterances",
    ),
    PublishedRow(
        "thesis repository, 48 h of training", "HiFi-GAN V1", {"pesq_wb": 3.244, "stoi": 0.960}, in_band=True
    ),
    PublishedRow(
        "PRISM-V leaderboard", "HiFi-GAN UNIVERSAL_V1", {"pesq_wb": 3.147, "stoi": 0.968}, in_band=True,
        note="the original's weights",
    ),
    PublishedRow(
        "NVIDIA DeepLearningExamples, README", "HiFi-GAN V1", {"mel_l1_full": 0.214}, in_band=True,
        note="own weights; the loss of 9.65 over its weight of 45",
    ),
    PublishedRow("FastDiff-type summary", "HiFi-GAN", {"pesq_wb": 3.28, "stoi": 0.956}, in_band=True),
    PublishedRow(
        "VOCODE repository", "HiFi-GAN V2", {"mel_l1_full": 0.394, "pesq_wb": 2.400, "stoi": 0.942},
    ),
    PublishedRow(
        "VOCODE repository", "HiFi-GAN V3", {"mel_l1_full": 0.361, "pesq_wb": 2.550, "stoi": 0.949},
    ),
    PublishedRow(
        "PeriodWave, table 1", "BigVGAN",
        {"pesq_wb": 4.210, "mr_stft": 0.9369, "f0_rmse_cents": 19.02, "periodicity_rmse": 0.0782, "vuv_f1": 0.9713},
    ),
)  # fmt: skip
"""V1 first; a figure that its source defines in its own way is not here."""

OTHER_TRACKER = frozenset({"f0_rmse_cents", "periodicity_rmse", "vuv_f1"})
"""Published with torchcrepe, measured here with another tracker: near, not equal."""


@dataclass(frozen=True)
class Band:
    """Range from the least to the greatest of what is published for HiFi-GAN V1."""

    low: float
    high: float
    sources: int


def band(metric: str) -> Band | None:
    """None for a metric that nobody published in our definition."""
    values = [row.values[metric] for row in ROWS if row.in_band and metric in row.values]
    return Band(min(values), max(values), len(values)) if values else None
