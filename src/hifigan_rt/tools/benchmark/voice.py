"""Who speaks in a benchmark: the speaker or vector that the user names, else the first speaker or a vector of a seed.

Nobody listens, and the arithmetic is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifigan_rt.engines.speakers import SpeakerChoice


@dataclass(frozen=True)
class VoiceOfRun:
    """What a candidate, or the reference, gets beside the mels."""

    choice: SpeakerChoice
    speaker: str | None = None
    vector: Sequence[float] | None = None
    """Conditioning vector in the place of a speaker, `[G]`."""

    def conditioning(self, batch: int) -> np.ndarray | None:
        """Make what `Engine.run` takes for a batch.

        Raises:
            ConditioningError: the model does not take what is named.
        """
        if self.speaker is None and self.vector is None:
            example = self.choice.rule.example(1)
            return None if example is None else np.repeat(example, batch, axis=0)
        return self.choice.conditioning(self.speaker, self.vector, batch)
