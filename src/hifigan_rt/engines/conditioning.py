"""What a generator takes beside the mel: a vector, or a speaker of its table, for each item."""

from __future__ import annotations

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
        """Check what comes with a batch.

        Args:
            conditioning: float `[B, G]`, vectors, or integers `[B]`, rows of the table of speakers.
            batch: B of the mel.

        Returns:
            float32 `[B, G]`, or int64 `[B]` where the file has the table; C-contiguous. None if nothing is taken.

        Raises:
            EngineError: it is missing, not taken, of another shape, not finite, or no row of the table.
        """
        if conditioning is None:
            if self.is_needed:
                raise EngineError(f"this model needs {self._wanted()} beside the mel: give it")
            return None
        if not self.is_needed:
            raise EngineError("this model takes a mel alone: give neither a speaker nor a conditioning vector")
        if conditioning.dtype.kind in "iu":
            return self._check_rows(conditioning, batch)
        return self._check_vectors(conditioning, batch)

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

    def _check_rows(self, rows: np.ndarray, batch: int) -> np.ndarray:
        if not self.takes_speakers:
            raise EngineError(f"this model has no table of speakers: it takes {self._wanted()}")
        if rows.shape != (batch,):
            raise EngineError(f"speakers are of shape {list(rows.shape)}: one for each of {batch} mels is needed")
        if rows.min(initial=0) < 0 or (self.speakers and rows.max(initial=0) >= self.speakers):
            raise EngineError(f"speaker {_outside(rows, self.speakers)}: rows are from 0 to {self.speakers - 1}")
        return rows.astype(np.int64) if self.table is None else np.ascontiguousarray(self.table[rows])

    def _check_vectors(self, vectors: np.ndarray, batch: int) -> np.ndarray:
        if not self.takes_vectors:
            raise EngineError("this converted model has its table of speakers inside: it takes speakers, no vectors")
        if vectors.dtype.kind != "f" or vectors.shape != (batch, self.channels):
            raise EngineError(
                f"conditioning is {vectors.dtype} {list(vectors.shape)}: float32 [{batch}, {self.channels}] is needed"
            )
        with np.errstate(over="ignore"):
            checked = np.ascontiguousarray(vectors, np.float32)
        if not np.isfinite(checked).all():
            raise EngineError("conditioning holds values that are not finite in float32")
        return checked

    def _wanted(self) -> str:
        ways = []
        if self.takes_speakers:
            ways.append(f"a speaker from 0 to {self.speakers - 1}" if self.speakers else "a speaker")
        if self.takes_vectors:
            ways.append(f"a conditioning vector of {self.channels} values")
        return " or ".join(ways)


def _outside(rows: np.ndarray, speakers: int) -> int:
    return next(int(row) for row in rows if not 0 <= row < (speakers or np.inf))
