"""A signal that metrics are taken of, and the pair that most of them compare; analysed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

import numpy as np

from hifigan_rt.audio.conversion import as_samples
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import AudioError
from hifigan_rt.mel.analysis import check_samples
from hifigan_rt.tools.evaluation.metrics.results import GENERATED

Analysis = TypeVar("Analysis")

MINIMUM_HZ = 4000
"""Lowest sample rate. BS.1770's shelf lies at 1,682 Hz, and has no stable form below 3,364 Hz; CheapTrick, which MCD
takes, writes beyond its memory at 400 Hz."""

CROPPED = "cropped"
"""How the note of a cropped pair begins."""


class Signal:
    """One signal with what several metrics, or several pairs, need of it.

    Attributes:
        given: float `[N]`, as it was given.
        sample_rate: in Hz.

    Raises:
        AudioError: the samples are no array.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int) -> None:
        self.given = as_samples(samples)
        self.sample_rate = sample_rate
        self._analyses: dict[Hashable, object] = {}
        self._beginnings: dict[int, Signal] = {}

    def __len__(self) -> int:
        return len(self.given)

    @property
    def samples(self) -> np.ndarray:
        """The samples as float64."""
        return self.analysed("samples", lambda: self.given.astype(np.float64))

    def analysed(self, name: Hashable, analyse: Callable[[], Analysis]) -> Analysis:
        """What `analyse` returns, computed at the first call under this name."""
        if name not in self._analyses:
            self._analyses[name] = analyse()
        return self._analyses[name]  # type: ignore[return-value]

    def is_analysed(self, name: Hashable) -> bool:
        """Whether `analysed` was called under this name."""
        return name in self._analyses

    def beginning(self, length: int) -> Signal:
        """The first samples as a signal of its own; all of them are the signal itself."""
        if length == len(self):
            return self
        if length not in self._beginnings:
            self._beginnings[length] = Signal(self.given[:length], self.sample_rate)
        return self._beginnings[length]

    def beginnings(self) -> Iterator[Signal]:
        """This signal, then the beginnings that were asked for, the longest first."""
        yield self
        yield from sorted(self._beginnings.values(), key=len, reverse=True)

    def at(self, sample_rate: int) -> np.ndarray:
        """The samples at another rate, float64, one at least."""
        return self.analysed(("samples", sample_rate), lambda: self._resampled(sample_rate))

    def _resampled(self, sample_rate: int) -> np.ndarray:
        if sample_rate == self.sample_rate:
            return self.samples
        import soxr

        # soxr takes what lies beyond the ends for 0, and at the step to it an offset would ring.
        offset = self.samples.mean()
        centred = self.samples - offset
        resampled: np.ndarray = soxr.resample(centred, self.sample_rate, sample_rate, quality="HQ") + offset
        # Of less than half a sample at the new rate soxr leaves nothing.
        return resampled if len(resampled) else np.array([offset])


class SignalPair:
    """A generated signal with its reference, of one length.

    Attributes:
        reference: None if there is none.
        generated: the signal that is measured.
        sample_rate: of both, in Hz.
        mel: the model's mel settings, or None.
        notes: what was changed before measuring, for people.

    Raises:
        AudioError: a signal is not one row of finite floats (see `check_samples`), there is nothing in it, or the
            sample rates differ, or are below `MINIMUM_HZ`.
    """

    def __init__(self, reference: Signal | None, generated: Signal, mel: MelConfig | None) -> None:
        rate: object = generated.sample_rate  # a caller may give anything
        if not isinstance(rate, (int, np.integer)) or rate < MINIMUM_HZ:
            raise AudioError(
                f"sample_rate={rate!r} must be a whole number from {MINIMUM_HZ} Hz on, for metrics of speech: resample "
                "both signals, or give their true rate"
            )
        self.notes: tuple[str, ...] = ()
        _check("generated", generated)
        if reference is not None:
            _check("reference", reference)
            if reference.sample_rate != generated.sample_rate:
                raise AudioError(
                    f"the reference has {reference.sample_rate} Hz and the generated signal {generated.sample_rate}: "
                    "resample one of them"
                )
            if len(reference) != len(generated):
                common = min(len(reference), len(generated))
                longer = "reference" if len(reference) > common else "generated"
                dropped = max(len(reference), len(generated)) - common
                self.notes = (
                    f"{CROPPED} to {common} samples: the {longer} signal has {dropped} more "
                    f"({1000 * dropped / generated.sample_rate:.1f} ms) at its end",
                )
                reference, generated = reference.beginning(common), generated.beginning(common)
        self.reference = reference
        self.generated = generated
        self.sample_rate = generated.sample_rate
        self.mel = mel

    @property
    def both(self) -> tuple[Signal, Signal]:
        """Reference and generated signal; only metrics that need a reference ask for it."""
        if self.reference is None:
            raise AudioError("this metric compares with a reference, and there is none")
        return self.reference, self.generated

    @property
    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples of `both`, float64 `[N]` each."""
        reference, generated = self.both
        return reference.samples, generated.samples

    @property
    def silence(self) -> str | None:
        """Why a generated signal that is digital silence has no value: of a silent reference, because of that."""
        if self.generated.given.any():
            return None
        followed = self.reference is not None and not self.reference.given.any()
        return f"{'the reference' if followed else GENERATED} is digital silence"

    @property
    def seconds(self) -> float:
        """Length of each."""
        return len(self.generated) / self.sample_rate


def _check(role: str, signal: Signal) -> None:
    try:
        check_samples(signal.given)
    except AudioError as error:
        raise AudioError(f"the {role} signal: {error}") from error
    if len(signal) == 0:
        raise AudioError(f"the {role} signal is empty: at least one sample is needed")
