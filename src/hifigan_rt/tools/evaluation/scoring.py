"""The metrics of all clips, in worker processes, kept so that an interrupted run goes on where it was."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence

from hifigan_rt.config import MelConfig
from hifigan_rt.system.machine import usable_cores
from hifigan_rt.tools.bulk.run import Interrupted
from hifigan_rt.tools.bulk.summary import Summary
from hifigan_rt.tools.evaluation.audio_files import Made, Place
from hifigan_rt.tools.evaluation.columns import Columns
from hifigan_rt.tools.evaluation.measuring import Measured, Task
from hifigan_rt.tools.evaluation.score_file import NAME as SCORES_NAME
from hifigan_rt.tools.evaluation.score_file import ScoreWriter, identify, merged, read_scores
from hifigan_rt.tools.evaluation.workers import MeasuringPool


def measure_all(
    place: Place,
    jobs: int | None,
    columns: Columns,
    mel: MelConfig | None,
    reference: Mapping[str, Made],
    audio: Mapping[str, Mapping[str, Made]],
) -> dict[tuple[str, str], Measured]:
    """Compute the metrics of every system's clips; only what earlier runs did not measure is measured.

    Args:
        place: the folder with the audio and the scores.
        jobs: worker processes; None is what `machine.usable_cores` says.
        columns: the metrics.
        mel: settings of the mel distances.
        reference: by clip; empty where there are no recordings.
        audio: by system, then by clip; the first system is the baseline.

    Returns:
        By system and clip, for every clip that has audio.

    Raises:
        Interrupted: Ctrl-C; what was measured stays.
        OutputError: the scores cannot be written.
    """
    baseline = next(iter(audio))
    tasks: dict[tuple[str, str], Task] = {}
    for system, clips in audio.items():
        for name, made in clips.items():
            if made.path is not None:
                first = audio[baseline][name].path if system != baseline else None
                paths = (made.path, reference[name].path if name in reference else None, first)
                full = [None if path is None else str(place.folder / path) for path in paths]
                tasks[system, name] = Task(full[0] or "", full[1], full[2], columns.keys, mel)
    path = place.folder / SCORES_NAME
    version = importlib.metadata.version("hifigan-rt")
    known = read_scores(path)
    identities = {key: identify(task, version) for key, task in tasks.items()}
    measured: dict[tuple[str, str], Measured] = {}
    todo: dict[tuple[str, str], Task] = {}
    for key, task in tasks.items():
        earlier = known.get(identities[key])
        missing = tuple(name for name in task.metrics if earlier is None or name not in earlier.scores)
        if earlier is not None:
            measured[key] = earlier
        if missing or earlier is None:
            todo[key] = dataclasses.replace(task, metrics=missing)
    keys = list(todo)
    summary = Summary(len(tasks), len(tasks) - len(todo))
    with ScoreWriter(path) as scores, place.progress("metrics", len(todo)) as advance:
        longest = max((audio[system][name].seconds or 0.0 for system, name in keys), default=0.0)
        for index, found in _in_workers(jobs, list(todo.values()), limit_seconds(longest), summary):
            key = keys[index]
            if found.failed is None:
                scores.append(identities[key], found)
            measured[key] = merged(measured.get(key), found)
            summary.done += 1
            advance()
    return measured


def limit_seconds(clip_seconds: float) -> float:
    """How long a clip may take before its process counts as hanging: a hundred times what all metrics take."""
    return 300 + 30 * clip_seconds


def _in_workers(
    jobs: int | None, tasks: Sequence[Task], limit: float, summary: Summary
) -> Iterator[tuple[int, Measured]]:
    try:
        with MeasuringPool(jobs or usable_cores(), limit) as pool:
            yield from pool.measure(tasks)
    except KeyboardInterrupt as error:
        raise Interrupted(summary) from error
