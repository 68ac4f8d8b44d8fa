"""Gathers the recordings of a listening test: from a report of `hifigan eval`, or from folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.audio import AUDIO_SUFFIXES, conversions, prepare, read_audio
from hifigan_rt.errors import AudioError, DatasetError, EvaluationError
from hifigan_rt.tools.datasets import is_folder
from hifigan_rt.tools.evaluation.clips import drawn, find_clips, pair
from hifigan_rt.tools.evaluation.metrics.signals import MINIMUM_HZ
from hifigan_rt.tools.evaluation.results import JSON_NAME, EvaluationResult, read_json
from hifigan_rt.tools.evaluation.signal_files import EvaluatedAudio
from hifigan_rt.tools.listening.definition import REFERENCE
from hifigan_rt.tools.tables import counted

MAX_SECONDS = 60.0
"""Maximum length of a clip: nobody compares what was a minute ago."""

MAX_LENGTH_DIFFERENCE_SECONDS = 0.25
"""Tolerance between the versions of one clip: copy-synthesis drops less than a frame; more is another recording."""

Files = dict[str, dict[str, Path | str]]
"""Clip to system to its file, or to why there is none."""


@dataclass(frozen=True)
class Material:
    """Recordings of one sample rate; those of a clip have one length."""

    systems: tuple[str, ...]
    """Systems without the reference."""
    has_reference: bool
    sample_rate: int
    clips: Mapping[str, Mapping[str, np.ndarray]]
    """Clip to system (and `REFERENCE`) to float32 `[N]`."""
    changes: Mapping[str, Sequence[str]]
    """Clip to what was changed in its recordings, an entry for each."""
    notes: tuple[str, ...]
    """What was left out."""

    def notes_of(self, clips: Sequence[str]) -> Iterator[str]:
        """What is to be known of these clips, of those that a test uses."""
        for change, count in Counter(change for clip in clips for change in self.changes[clip]).items():
            yield f"{counted(count, 'recording')} {'was' if count == 1 else 'were'} {change}"
        yield from _identical({clip: self.clips[clip] for clip in clips})


def from_report(folder: Path, count: int | None, seed: int) -> Material:
    """Take systems and recordings of an evaluation.

    Args:
        folder: what `hifigan eval -o` wrote.
        count: at most so many clips, drawn at random; None takes all.
        seed: of the draw.

    Raises:
        DatasetError: there is no report.
        EvaluationError: no clip has a recording of every system.
    """
    result = read_json(folder / JSON_NAME)
    names = tuple(system.name for system in result.systems)
    _check_names(names)
    clips = [clip.name for clip in result.clips]
    chosen = clips if count is None or count >= len(clips) else drawn(clips, count, seed)
    with_reference = any(clip.reference for clip in result.clips)
    kept = EvaluatedAudio(folder)
    files = {name: _files_of(result, folder, kept, name, with_reference) for name in chosen}
    return _read(names, with_reference, files, [])


def from_folders(systems: Mapping[str, Path], reference: Path | None, count: int | None, seed: int) -> Material:
    """Take recordings from folders, where files of one name belong together.

    Args:
        systems: name to folder.
        reference: the folder of natural recordings, whose files then are the clips; else the first system's are.
        count: at most so many clips, drawn at random; None takes all.
        seed: of the draw.

    Raises:
        DatasetError: a folder is missing or empty.
        EvaluationError: no clip has a recording of every system.
    """
    _check_names(tuple(systems))
    folders = dict(systems) if reference is None else {REFERENCE: reference} | dict(systems)
    first = next(iter(folders.values()))
    if not is_folder(first):
        raise DatasetError(f"{str(first)!r} is no folder: name one with a file for each clip")
    found = find_clips([str(first)], AUDIO_SUFFIXES, recursive=True, limit=count, seed=seed)
    files: Files = {clip: {} for clip in found.files}
    notes = []
    for name, folder in folders.items():
        pairing = pair(found.files, folder, AUDIO_SUFFIXES, recursive=True, complete=count is None)
        for clip, item in pairing.files.items():
            files[clip][name] = item.problem or item.path
        notes += [f"{name}: {note}" for note in pairing.left_out.note]
        if pairing.extra:
            files_belong = "1 file belongs" if len(pairing.extra) == 1 else f"{len(pairing.extra)} files belong"
            notes.append(f"{name}: {files_belong} to no clip, the first is {pairing.extra[0]!r}")
    return _read(tuple(systems), reference is not None, files, notes)


def _check_names(names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise EvaluationError(f"system {twice[0]!r} is given twice: each needs a name of its own")
    if REFERENCE in names:
        raise EvaluationError(f"a system is named {REFERENCE!r}, as the recordings are: give it another name")


def _files_of(
    result: EvaluationResult, folder: Path, kept: EvaluatedAudio, name: str, with_reference: bool
) -> dict[str, Path | str]:
    def place(audio: str | None, why: str) -> Path | str:
        path, reason = kept.unless_changed(audio, None)
        return folder / path if path else reason or why

    clip = next(entry for entry in result.clips if entry.name == name)
    files: dict[str, Path | str] = {}
    if with_reference:
        files[REFERENCE] = place(clip.reference, clip.problem or "there is no recording")
    for row in result.scores:
        if row.clip == name:
            files[row.system] = place(row.audio, row.failed or "the evaluation kept no audio")
    return files


def _read(systems: tuple[str, ...], has_reference: bool, files: Files, notes: list[str]) -> Material:
    rate, changes = 0, dict[str, list[str]]()
    clips: dict[str, dict[str, np.ndarray]] = {}
    for clip, sources in files.items():
        changes[clip] = []
        try:
            read, rate = _read_clip(sources, rate, changes[clip].append)
            clips[clip] = _of_one_length(read, rate)
        except AudioError as error:
            notes.append(f"clip {clip!r} is left out: {error}")
    if not clips:
        reasons = "; ".join(notes[:3])
        raise EvaluationError(f"no clip has a usable recording of every system: {reasons}")
    return Material(systems, has_reference, rate, clips, changes, tuple(notes))


def _read_clip(
    sources: Mapping[str, Path | str], rate: int, changed: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], int]:
    """The recordings of a clip, at the sample rate of the first one of all."""
    read = {}
    for system, source in sources.items():
        if isinstance(source, str):
            raise AudioError(f"{system}: {source}")
        try:
            recording = read_audio(source, MAX_SECONDS)
        except AudioError as error:
            raise AudioError(str(error).replace("--max-seconds raises it", "cut it")) from error
        if recording.sample_rate < MINIMUM_HZ:
            raise AudioError(
                f"{system}: it has {recording.sample_rate} Hz, and loudness cannot be matched below {MINIMUM_HZ}: "
                "resample it, or give its true rate"
            )
        rate = rate or recording.sample_rate
        for text in conversions(recording.sample_rate, recording.channels, rate):
            changed(text)
        if recording.note is not None:
            raise AudioError(f"{system}: {recording.note}")
        read[system] = prepare(recording, rate, resample_allowed=True, mono_allowed=True)
    return read, rate


def _of_one_length(recordings: Mapping[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """Cropped to the shortest: otherwise switching would end early, and the length would tell the system."""
    lengths = {system: len(samples) for system, samples in recordings.items()}
    shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    difference = (lengths[longest] - lengths[shortest]) / rate
    if difference > MAX_LENGTH_DIFFERENCE_SECONDS:
        raise AudioError(
            f"{longest} is {difference:.2f} s longer than {shortest}: more than {MAX_LENGTH_DIFFERENCE_SECONDS} s "
            "apart they are not the same recording"
        )
    return {system: samples[: lengths[shortest]] for system, samples in recordings.items()}


def _identical(clips: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[str]:
    counts = Counter[tuple[str, str]]()
    for recordings in clips.values():
        names = list(recordings)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                counts[first, second] += np.array_equal(recordings[first], recordings[second])
    for (first, second), count in counts.items():
        if count:
            yield f"{first} and {second} are the same sample by sample in {count} of {len(clips)} clips"
