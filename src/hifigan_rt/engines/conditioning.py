"""What a generator takes beside the mel: a vector, or a speaker of its table, for each item."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.errors import EngineError
from hifigan_rt.graph import Generator


@dataclass(frozen=True)
class ConditioningRule:
    """What an engine takes beside the mel; by default nothing."""

    channels: int = 0
    """Length G of a vector; 0 where none is taken."""
    speakers: int = 0
    """Speakers of the table, which are named by their rows; 0 where there is none, or nobody knows how many."""
    takes_speakers: bool = False
    """Whether rows of a table are taken."""
    takes_vectors: bool = False
    """Whether vectors are taken: a converted file with a table takes rows alone."""
    table: np.ndarray | None = field(default=None, repr=False, compare=False)
    """The table, float32 `[S, G]`, where rows become vectors before the engine; None leaves them to the file."""

    @classmethod
    def of_generator(cls, generator: Generator) -> ConditioningRule:
        """The rule of an engine that has the weights: its `_run` gets vectors."""
        config = generator.graph.config
        return cls(
            config.conditioning_channels,
            config.num_speakers,
            takes_speakers=config.num_speakers > 0,
            takes_vectors=config.conditioning_channels > 0,
            table=generator.speaker_table,
        )

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to give."""
        return self.takes_speakers or self.takes_vectors

    def check(self, conditioning: np.ndarray | None, batch: int) -> np.ndarray | None:
        """Check what comes with a batch; that vectors are finite `SpeakerChoice` has checked, which makes them.

        Args:
            conditioning: float `[B, G]`, vectors, or integers `[B]`, rows of the table of speakers.
            batch: B of the mel.

        Returns:
            float32 `[B, G]`, or int64 `[B]` where the file has the table; C-contiguous. None if nothing is taken.

        Raises:
            EngineError: it is missing, not taken, of another shape, or no row of the table.
        """
        if conditioning is None and not self.is_needed:
            return None
        if conditioning is not None:
            if self.takes_speakers and conditioning.dtype.kind in "iu" and conditioning.shape == (batch,):
                rows = conditioning.astype(np.int64)
                # One below 0 would be another speaker's, without a word.
                if wrong := [row for row in rows.tolist() if not 0 <= row < (self.speakers or math.inf)]:
                    last = f"to {self.speakers - 1}" if self.speakers else "on"
                    raise EngineError(f"speaker {wrong[0]}: rows are from 0 {last}")
                return rows if self.table is None else np.ascontiguousarray(self.table[rows])
            if self.takes_vectors and conditioning.dtype.kind == "f" and conditioning.shape == (batch, self.channels):
                return np.ascontiguousarray(conditioning, np.float32)
        forms = {
            f"integers [{batch}]": self.takes_speakers,
            f"float32 [{batch}, {self.channels}]": self.takes_vectors,
            "nothing": not self.is_needed,
        }
        given = "nothing" if conditioning is None else f"{conditioning.dtype} {list(conditioning.shape)}"
        raise EngineError(
            f"{given} is given beside the mel, and this model takes {' or '.join(filter(forms.get, forms))}: "
            "Vocoder.speaker_choice makes it"
        )

    def check_one(self, conditioning: np.ndarray | None) -> np.ndarray | None:
        """Check what comes with a stream: `[G]`, or an integer `[]`; returns it for a batch of one."""
        return self.check(None if conditioning is None else np.asarray(conditioning)[None], 1)

    def example(self, batch: int) -> np.ndarray | None:
        """Something that `check` accepts: the first speaker or random vectors; None if nothing is taken."""
        if not self.is_needed:
            return None
        if self.takes_speakers:
            return np.zeros(batch, np.int64)
        return np.random.default_rng(0).standard_normal((batch, self.channels)).astype(np.float32)
