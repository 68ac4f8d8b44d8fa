"""The records of single clips, from the audio that was made and the metrics that were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hifigan_rt.tools.datasets import InputFile
from hifigan_rt.tools.evaluation.audio_files import ClipAudio
from hifigan_rt.tools.evaluation.measuring import Measured
from hifigan_rt.tools.evaluation.results import Clip, ClipScores

LENGTH_TOLERANCE_SECONDS = 0.1
"""Difference in length that the last frame and an encoder's padding explain."""


def score_row(
    system: str,
    clip: str,
    reference: Mapping[str, ClipAudio],
    audio: Mapping[str, Mapping[str, ClipAudio]],
    measured: Mapping[tuple[str, str], Measured],
) -> ClipScores:
    """One system on one clip."""
    if clip in reference and reference[clip].failed is not None:
        return ClipScores(system, clip, failed=f"the recording cannot be used: {reference[clip].failed}")
    made = audio[system][clip]
    if made.failed is not None:
        return ClipScores(system, clip, failed=made.failed)
    found = measured[system, clip]
    # What lies beyond full scale is found of foreign audio as it is prepared, and of all as it is measured.
    notes = tuple(dict.fromkeys((*made.notes, *found.notes)))
    return ClipScores(system, clip, made.path, made.seconds, found.failed, dict(found.scores), notes)


def clip_record(name: str, item: InputFile, made: ClipAudio | None) -> Clip:
    """A clip with its recording."""
    if made is None:
        return Clip(name, problem=item.problem)
    return Clip(name, made.path, made.seconds, made.failed, made.notes)


def length_notes(rows: Mapping[str, tuple[ClipScores, ...]], reference: Mapping[str, ClipAudio]) -> Iterator[str]:
    """Systems whose audio is not as long as the recordings."""
    for system, scores in rows.items():
        apart = [
            row.clip
            for row in scores
            if row.seconds is not None
            and row.clip in reference
            and abs(row.seconds - (reference[row.clip].seconds or 0)) > LENGTH_TOLERANCE_SECONDS
        ]
        if apart:
            yield (
                f"{system}: {len(apart)} clip{'s differ' if len(apart) > 1 else ' differs'} in length from the "
                f"recording by more than {LENGTH_TOLERANCE_SECONDS:g} s, the first is {apart[0]!r}: metrics compare "
                "instant by instant, so they say little about such a clip unless only its end is missing"
            )
