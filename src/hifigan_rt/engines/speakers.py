"""Makes of what a user says of a voice, a speaker's number or name or a vector, what engines take beside the mel."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.errors import ConditioningError, did_you_mean
from hifigan_rt.model.kinds import Weights
from hifigan_rt.system.arrays import Expected

SpeakerLike: TypeAlias = int | str | Sequence[int | str] | np.ndarray | None
"""Who speaks: a number or a name for all mels, or one for each; None is not given."""
VectorLike: TypeAlias = npt.ArrayLike | None
"""A conditioning vector `[G]` for all mels, or `[B, G]`, one for each; None is not given."""

_SHOWN = 5
"""Speakers that a text lists."""
_SHOWN_CHARACTERS = 60
_MOST_SPEAKERS = 1 << 31
"""Numbers below it are let pass where the size of the table is not known."""

_VECTOR = Expected("conditioning", "numpy.load", ConditioningError)


@dataclass(frozen=True)
class SpeakerChoice:
    """What a model can be asked to speak as."""

    model: str
    """Name of the model, for texts."""
    rule: ConditioningRule
    """What its engine takes."""
    names: Mapping[str, int] = field(default_factory=dict)
    """Names of speakers, with their rows in the table."""

    @classmethod
    def of_weights(cls, model: Weights) -> SpeakerChoice:
        """The choice of a checkpoint, whatever engine will run it."""
        return cls(model.name, ConditioningRule.of_generator(model.generator), model.speakers)

    def conditioning(self, speaker: object, conditioning: object, items: int) -> np.ndarray | None:
        """Make what `Engine.run` takes.

        Args:
            speaker: number or name for all mels, or a sequence of as many as there are mels; None is not given.
            conditioning: `[G]` for all mels, or `[B, G]`, one for each; None is not given.
            items: B, number of mels.

        Returns:
            int64 `[B]`, float32 `[B, G]`, or None if the model takes its input alone.

        Raises:
            ConditioningError: it is not what the model takes, or missing; a table of one speaker needs no choice.
        """
        if speaker is not None and conditioning is not None:
            raise ConditioningError("speaker and conditioning are both given, and each names a voice: give one of them")
        if not self.rule.is_needed:
            if speaker is None and conditioning is None:
                return None
            given = "conditioning is" if speaker is None else f"speaker={_shown(speaker)} is"
            raise ConditioningError(f"{given} given, and {self.model} has one voice and takes neither: leave it out")
        if conditioning is not None:
            return self._vectors(conditioning, items)
        if speaker is not None:
            return self._rows(speaker, items)
        if self.rule.takes_speakers and self.rule.speakers == 1:
            return np.zeros(items, np.int64)
        raise ConditioningError(f"no speaker is named, and {self.model} needs one: {self._ways()}")

    def one(self, speaker: object, conditioning: object) -> np.ndarray | None:
        """Make what `Engine.stream` takes: int64 `[]`, float32 `[G]`, or None; else as `conditioning`."""
        made = self.conditioning(speaker, conditioning, 1)
        return None if made is None else np.asarray(made[0])

    def _rows(self, speaker: object, items: int) -> np.ndarray:
        if not self.rule.takes_speakers:
            raise ConditioningError(
                f"speaker={_shown(speaker)} is given, and {self.model} has no table of speakers: {self._ways()}"
            )
        if 0 < getattr(speaker, "ndim", 0) <= 2 and speaker.shape[1:] in ((), (1,)):  # type: ignore[attr-defined]
            speaker = list(np.asarray(speaker).reshape(-1))
        if isinstance(speaker, (str, bytes)) or not isinstance(speaker, Sequence):
            return np.full(items, self._row(speaker), np.int64)
        if len(speaker) != items:
            given = f"{len(speaker)} speakers are" if len(speaker) != 1 else "1 speaker is"
            raise ConditioningError(
                f"{given} given for {items} mel{'s' if items != 1 else ''}: give one for all, or one for each"
            )
        return np.array([self._row(one) for one in speaker], np.int64)

    def _row(self, speaker: object) -> int:
        if isinstance(speaker, str) and speaker in self.names:
            return self.names[speaker]
        row = _number(speaker)
        if row is not None and 0 <= row < (self.rule.speakers or _MOST_SPEAKERS):
            return row
        hint = did_you_mean(str(speaker), self.names)
        if row is not None and str(row) in self.names:
            hint = f"; speaker={str(row)!r}, a text, is a name"
        raise ConditioningError(f"speaker={_shown(speaker)} is not known to {self.model}: {self._ways()}{hint}")

    def _vectors(self, conditioning: object, items: int) -> np.ndarray:
        if not self.rule.takes_vectors:
            raise ConditioningError(
                f"conditioning is given, and {self.model} has its table of speakers inside: {self._ways()}"
            )
        array, length = _VECTOR.array(conditioning), self.rule.channels
        if array.dtype.kind not in "fiu":
            raise ConditioningError(f"conditioning has dtype {array.dtype}, and its values must be floats")
        taken = ((length,), (1, length), (items, length))
        if array.shape not in taken and np.squeeze(array).shape in taken:
            array = np.squeeze(array)  # [B, G, 1], as VITS has them, and [B, 1, G], as SpeechBrain's encoders give them
        if array.shape not in taken:
            for_each = f", or [{items}, {length}], one for each mel," if items > 1 else ""
            raise ConditioningError(
                f"conditioning has shape {list(array.shape)}, and {self.model} takes a vector [{length}]{for_each} "
                "of float32"
            )
        with np.errstate(over="ignore"):
            vectors = np.array(np.broadcast_to(array, (items, length)), np.float32)
        if not np.isfinite(vectors).all():
            raise ConditioningError("conditioning holds values that are NaN, infinite or beyond float32")
        return vectors

    def _ways(self) -> str:
        ways = [f"speaker={self._listed()}"] if self.rule.takes_speakers else []
        if self.rule.takes_vectors:
            ways.append(f"conditioning=VECTOR of {self.rule.channels} values")
        return f"give {', or '.join(ways)}"

    def _listed(self) -> str:
        count = self.rule.speakers
        number = f"NUMBER from 0 to {count - 1}" if count else "NUMBER"
        if not self.names:
            return number
        by_row = sorted(self.names.items(), key=operator.itemgetter(1))
        names = ", ".join(_shown(name) for name, _ in by_row[:_SHOWN])
        more = f" and {len(by_row) - _SHOWN} more" if len(by_row) > _SHOWN else ""
        return f"{number} or NAME, one of {names}{more}"


def _number(speaker: object) -> int | None:
    """A whole number, or text of one; None if it is neither. True would be 1."""
    if isinstance(speaker, (bool, np.bool_)):
        return None
    if isinstance(speaker, str):
        return int(speaker) if re.fullmatch(r"\d{1,9}", speaker, re.ASCII) else None
    try:
        return operator.index(speaker)  # type: ignore[arg-type]
    except TypeError:
        return None


def _shown(value: object) -> str:
    plain = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    text = " ".join(repr(plain).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
