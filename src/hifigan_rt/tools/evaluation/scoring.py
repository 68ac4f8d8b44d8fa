"""The metrics of all clips, in worker processes, kept so that an interrupted run goes on where it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from hifigan_rt.config import MelConfig
from hifigan_rt.system.machine import usable_cores
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.bulk.output_folder import make_folder
from hifigan_rt.tools.bulk.run import Interrupted
from hifigan_rt.tools.bulk.summary import RunSummary
from hifigan_rt.tools.evaluation.audio_files import ClipAudio, WorkFolder
from hifigan_rt.tools.evaluation.columns import Columns
from hifigan_rt.tools.evaluation.measuring import ClipTask, Measured, SoundTask, Task
from hifigan_rt.tools.evaluation.on_cluster import ClusterMeasuring
from hifigan_rt.tools.evaluation.score_file import NAME as SCORES_NAME
from hifigan_rt.tools.evaluation.score_file import ScoreWriter, identify, merged, read_scores
from hifigan_rt.tools.evaluation.sounds import CLIPS_FOLDER, clip_tracks, is_script, script_path
from hifigan_rt.tools.evaluation.workers import MeasuringPool

Key = tuple[str, str]
"""System and clip."""


def measure_all(
    target: WorkFolder,
    jobs: int | None,
    columns: Columns,
    mel: MelConfig | None,
    reference: Mapping[str, ClipAudio],
    audio: Mapping[str, Mapping[str, ClipAudio]],
    *,
    sounds: bool,
) -> dict[Key, Measured]:
    """Compute the metrics of every system's clips; only what earlier runs did not measure is measured.

    Args:
        target: the folder with the audio and the scores.
        jobs: worker processes; None is what `machine.usable_cores` says.
        columns: the metrics.
        mel: settings of the mel distances.
        reference: by clip; empty where there are no recordings.
        audio: by system, then by clip; the first system is the baseline.
        sounds: also write the sound of every clip that is measured, for the report.

    Returns:
        By system and clip, for every clip that has audio.

    Raises:
        Interrupted: Ctrl-C; what was measured stays.
        OutputError: the scores cannot be written.
    """
    tasks = dict(_tasks(target.folder, columns, mel, reference, audio))
    path = target.folder / SCORES_NAME
    version = own_version()
    known = read_scores(path, columns.packages)
    identities = {key: identify(task, version) for key, task in tasks.items()}
    measured: dict[Key, Measured] = {}
    todo: dict[str, dict[str, Task]] = {}
    for (system, clip), task in tasks.items():
        earlier = known.get(identities[system, clip])
        missing = tuple(name for name in task.metrics if earlier is None or name not in earlier.scores)
        if earlier is not None:
            asked = {name: earlier.scores[name] for name in task.metrics if name in earlier.scores}
            measured[system, clip] = dataclasses.replace(earlier, scores=asked)
        if missing or earlier is None:
            todo.setdefault(clip, {})[system] = dataclasses.replace(task, metrics=missing)
    if sounds and todo:
        make_folder(target.folder / CLIPS_FOLDER)
    clips = [
        ClipTask(tuple(todo[clip].values()), _sound(target.folder, clip, reference, audio) if sounds else None)
        for clip in todo
    ]
    count = sum(map(len, todo.values()))
    summary = RunSummary(len(tasks), len(tasks) - count)
    longest = max((audio[system][clip].seconds or 0.0 for clip in todo for system in todo[clip]), default=0.0)
    names = list(todo)
    try:
        with (
            ScoreWriter(path, columns.packages) as scores,
            target.progress("metrics", count) as advance,
            _pool(target, jobs, limit_seconds(longest), columns) as pool,
        ):
            for index, results in pool.measure(clips):
                for system, found in zip(todo[names[index]], results, strict=True):
                    key = system, names[index]
                    if found.failed is None:
                        scores.append(identities[key], found)
                    measured[key] = merged(measured.get(key), found)
                    if found.failed is not None:
                        target.failed(f"{system}, {names[index]}", found.failed)
                    summary.done += 1
                    advance()
    except KeyboardInterrupt as error:
        raise Interrupted(summary) from error
    return measured


def _pool(
    target: WorkFolder, jobs: int | None, limit_seconds: float, columns: Columns
) -> MeasuringPool | ClusterMeasuring:
    if target.cluster is None:
        return MeasuringPool(jobs or usable_cores(), limit_seconds)
    return ClusterMeasuring(target.cluster, jobs, limit_seconds, tuple(columns.packages), target.folder)


def limit_seconds(clip_seconds: float) -> float:
    """How long a clip may take before its process counts as hanging: a hundred times what all metrics take."""
    return 300 + 30 * clip_seconds


def _tasks(
    folder: Path,
    columns: Columns,
    mel: MelConfig | None,
    reference: Mapping[str, ClipAudio],
    audio: Mapping[str, Mapping[str, ClipAudio]],
) -> Iterator[tuple[Key, Task]]:
    baseline = next(iter(audio))
    for system, clips in audio.items():
        for clip, made in clips.items():
            if made.path is not None:
                first = audio[baseline][clip].path if system != baseline else None
                recording = reference[clip].path if clip in reference else None
                full = [None if path is None else str(folder / path) for path in (recording, first)]
                yield (system, clip), Task(str(folder / made.path), full[0], full[1], columns.keys, mel)


def _sound(
    folder: Path, clip: str, reference: Mapping[str, ClipAudio], audio: Mapping[str, Mapping[str, ClipAudio]]
) -> SoundTask | None:
    """None if the script is there as it was written."""
    recording = reference[clip].path if clip in reference else None
    systems = [(clips[clip].path, clips[clip].failed) for clips in audio.values()]
    tracks = clip_tracks(folder, [(recording, None), *systems])
    path = script_path(folder, tracks)
    return None if is_script(path) else SoundTask(str(path), tracks)
