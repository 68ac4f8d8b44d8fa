"""The pair of signals that metrics are taken of, checked, cropped, and analysed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import AudioError
from hifigan_rt.mel.analysis import check_samples

Analysis = TypeVar("Analysis")

CROPPED = "cropped"
"""How the note of a cropped pair begins."""


class Clips:
    """A generated signal with its reference, of one length, and whatever several metrics need of them.

    Attributes:
        reference: float64 `[N]`, or None.
        generated: float64 `[N]`.
        sample_rate: of both, in Hz.
        mel: the model's mel settings, or None.
        notes: what was changed before measuring, for people.

    Raises:
        AudioError: a signal is not one row of finite floats (see `check_samples`), or there is nothing in it.
    """

    def __init__(
        self, reference: np.ndarray | None, generated: np.ndarray, sample_rate: int, mel: MelConfig | None
    ) -> None:
        if sample_rate < 1:
            raise AudioError(f"sample_rate={sample_rate} must be at least 1 Hz")
        self.notes: tuple[str, ...] = ()
        _check("generated", generated)
        if reference is not None:
            _check("reference", reference)
            if len(reference) != len(generated):
                common = min(len(reference), len(generated))
                longer = "reference" if len(reference) > common else "generated"
                dropped = max(len(reference), len(generated)) - common
                self.notes = (
                    f"{CROPPED} to {common} samples: the {longer} signal has {dropped} more "
                    f"({1000 * dropped / sample_rate:.1f} ms) at its end",
                )
                reference, generated = reference[:common], generated[:common]
        self.reference = None if reference is None else reference.astype(np.float64)
        self.generated = generated.astype(np.float64)
        self.sample_rate = sample_rate
        self.mel = mel
        self._analyses: dict[Hashable, object] = {}

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference and generated signal; only metrics that need a reference ask for it."""
        if self.reference is None:
            raise AudioError("this metric compares with a reference, and there is none")
        return self.reference, self.generated

    @property
    def seconds(self) -> float:
        return len(self.generated) / self.sample_rate

    def analysed(self, name: Hashable, analyse: Callable[[], Analysis]) -> Analysis:
        """What `analyse` returns, computed at the first call under this name."""
        if name not in self._analyses:
            self._analyses[name] = analyse()
        return self._analyses[name]  # type: ignore[return-value]

    def pair_at(self, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair at another sample rate."""
        reference = self.pair[0]
        resampled = self.analysed(("reference", sample_rate), lambda: self._resampled(reference, sample_rate))
        return resampled, self.generated_at(sample_rate)

    def generated_at(self, sample_rate: int) -> np.ndarray:
        """The generated signal at another sample rate."""
        return self.analysed(("generated", sample_rate), lambda: self._resampled(self.generated, sample_rate))

    def _resampled(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        if sample_rate == self.sample_rate:
            return samples
        import soxr

        # soxr takes what lies beyond the ends for 0, and at the step to it an offset would ring.
        offset = samples.mean()
        resampled: np.ndarray = soxr.resample(samples - offset, self.sample_rate, sample_rate, quality="HQ") + offset
        return resampled


def _check(role: str, samples: np.ndarray) -> None:
    try:
        check_samples(samples)
    except AudioError as error:
        raise AudioError(f"the {role} signal: {error}") from error
    if len(samples) == 0:
        raise AudioError(f"the {role} signal is empty: at least one sample is needed")
