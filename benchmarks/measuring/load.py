"""What a load of a server consists of, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.tools.benchmark.mels import crops
from hifigan_rt.vocoder import Vocoder
from measuring.cases import recordings_mel
from measuring.loopback import Answer

STREAMED_SEGMENT_FRAMES = 32
"""The server's default for streamed responses."""


@dataclass(frozen=True)
class Utterance:
    """A mel, as it is sent, and the audio that must come back."""

    mel: np.ndarray
    """float32 `[M, T]`."""
    seconds: float
    """Of its audio."""
    whole: bytes | None
    """float32 samples; None if they are not to be compared."""
    streamed: bytes | None
    """The same, computed in segments as a stream."""

    @property
    def headers(self) -> dict[str, str]:
        bands, frames = self.mel.shape
        return {"Content-Type": "application/octet-stream", "X-Mel-Shape": f"{bands},{frames}"}


@dataclass
class Tally:
    """What came of a load."""

    answers: Counter[str] = field(default_factory=Counter)
    """By status, or by what else became of a request."""
    wrong: int = 0
    """Answers whose samples are not the vocoder's."""
    audio_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of accepted requests, to the last byte, in seconds."""
    settled_latencies: list[float] = field(default_factory=list)
    """Of those that came when an open loop had gone on for a while."""
    first_audio: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    """How long a refusal took."""
    without_retry_after: int = 0
    """Refusals that do not say when to come back."""
    underruns: int = 0
    streams_with_underruns: int = 0
    seconds: float = 0.0

    def count(self, answer: Answer, utterance: Utterance, expected: bytes | None, *, streamed: bool = False) -> None:
        self.answers[str(answer.status)] += 1
        if answer.status == 200:
            self.wrong += expected is not None and answer.body != expected
            self.audio_seconds += utterance.seconds
            self.latencies.append(answer.seconds)
            if streamed:
                self.first_audio.append(answer.first_byte_seconds)
        elif answer.status in (429, 503):
            self.refusals.append(answer.seconds)
            self.without_retry_after += "retry-after" not in answer.headers

    def summary(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "answers": dict(self.answers),
            "wrong": self.wrong,
            "audio_seconds": self.audio_seconds,
            "x_real_time": self.audio_seconds / self.seconds if self.seconds else None,
            "latency_ms": percentiles(self.latencies),
            "settled_latency_ms": percentiles(self.settled_latencies),
            "first_audio_ms": percentiles(self.first_audio),
            "refusal_ms": percentiles(self.refusals),
            "refusals_without_retry_after": self.without_retry_after,
            "underruns": self.underruns,
            "streams_with_underruns": self.streams_with_underruns,
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th, 99th percentile and largest, in milliseconds."""
    if not seconds:
        return None
    values = 1000 * np.quantile(seconds, [0.5, 0.95, 0.99, 1.0])
    return dict(zip(("median", "p95", "p99", "max"), map(float, values), strict=True))


def utterances(vocoder: Vocoder, frames: Sequence[int], wavs: Path, *, checked: bool = True) -> list[Utterance]:
    """Excerpts of recordings, one of each length, and their audio."""
    assert vocoder.mel_config is not None
    mel = recordings_mel(wavs, vocoder.mel_config, max(frames))
    made = []
    for length in frames:
        excerpt = np.ascontiguousarray(crops(mel, 1, length)[0])
        whole = vocoder(excerpt).tobytes() if checked else None
        streamed = vocoder(excerpt, segment_frames=STREAMED_SEGMENT_FRAMES).tobytes() if checked else None
        made.append(Utterance(excerpt, vocoder.output_length(length) / vocoder.sample_rate, whole, streamed))
    return made
