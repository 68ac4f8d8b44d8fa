"""What a look at a container says about its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class SecondCount:
    """Number of samples per channel that another place of the file states, where only decoding tells the true one."""

    place: str
    samples: int
    slack: int = 0
    """How many samples more may come: codecs of blocks fill the last one up."""

    def contradicts(self, samples: int) -> str | None:
        """Say what is wrong with the count if `samples` are there."""
        if samples - self.slack <= self.samples <= samples:
            return None
        return f"its {self.place} states {self.samples} samples and {samples} are there"


@dataclass(frozen=True)
class LengthFinding:
    """Length of a recording, as the container's own structure tells it."""

    samples: int | None = None
    """Samples per channel that decoding should give, or more; None if only libsndfile can tell."""
    promised: int | None = None
    """Samples per channel that the container states, if they are more than are there."""
    note: str | None = None
    """What else the container states wrongly, with both numbers."""
    sources: Sequence[BinaryIO] = ()
    """What is decoded one behind the other in place of the file; empty: the file itself."""
    second: SecondCount | None = None
    samples_hz: int | None = None
    """Sample rate at which `samples` and `promised` count, in Hz; None if it is the one that is decoded to."""
    if_short: BinaryIO | None = None
    """What is decoded in place of the file if libsndfile estimates fewer samples than `samples`."""
