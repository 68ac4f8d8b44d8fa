"""A whole evaluation: clips, audio of every system, metrics in worker processes, and what they say together."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hifigan_rt.audio import AUDIO_SUFFIXES, read_audio
from hifigan_rt.config import MelConfig
from hifigan_rt.engines.speakers import SpeakerChoice
from hifigan_rt.errors import AudioError, DatasetError, EvaluationError, OutputError
from hifigan_rt.families.matching import read_mel_alone
from hifigan_rt.model.kinds import Model, Weights
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.files import plain_path, refuse_special
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.bulk.output_folder import claimed_folder, refuse_linked_folders
from hifigan_rt.tools.bulk.synthesis import MEL_SUFFIXES
from hifigan_rt.tools.evaluation.audio_files import (
    AUDIO_FOLDER,
    REFERENCE_FOLDER,
    ClipAudio,
    Progress,
    WorkFolder,
    make_audio,
    prepare_reference,
)
from hifigan_rt.tools.evaluation.clips import ClipSet, find_clips
from hifigan_rt.tools.evaluation.columns import Columns, choose_columns
from hifigan_rt.tools.evaluation.comparison import compare
from hifigan_rt.tools.evaluation.measuring import Measured
from hifigan_rt.tools.evaluation.on_cluster import EvaluationCluster
from hifigan_rt.tools.evaluation.results import JSON_NAME, ClipScores, EvaluationResult, System
from hifigan_rt.tools.evaluation.rows import clip_record, length_notes, score_row
from hifigan_rt.tools.evaluation.score_file import NAME as SCORES_NAME
from hifigan_rt.tools.evaluation.scoring import measure_all
from hifigan_rt.tools.evaluation.sounds import CLIPS_FOLDER
from hifigan_rt.tools.evaluation.statistics import require_scipy
from hifigan_rt.tools.evaluation.summary import accuracy, check_limits, summarize_system
from hifigan_rt.tools.evaluation.systems import SystemSpec, folder_names


@dataclass(frozen=True)
class Plan:
    """What is to be evaluated."""

    systems: tuple[SystemSpec, ...]
    """The first is the baseline; names are distinct."""
    data: tuple[str, ...] = ()
    """The recordings: folders, files, patterns, LJSpeech folders; none where there are only mels or generated audio."""
    split: str | None = None
    recursive: bool = False
    limit: int | None = None
    seed: int = 0
    """Seed of the choice of clips and of the bootstrap."""
    reading: ReadSettings = field(default_factory=ReadSettings)
    config: str | None = None
    """Tells the mel settings where no system is a model."""
    metrics: tuple[str, ...] = ()
    minima: Mapping[str, float] = field(default_factory=dict)
    maxima: Mapping[str, float] = field(default_factory=dict)
    jobs: int | None = None
    """Worker processes; None is what `machine.usable_cores` says."""
    command: str = ""


def evaluate(
    plan: Plan,
    folder: Path,
    *,
    progress: Progress,
    failed: Callable[[str, str], None] = lambda *_: None,
    resume: bool = False,
    overwrite: bool = False,
    sounds: bool = True,
    finish: Callable[[EvaluationResult], None] = lambda _: None,
    cluster: EvaluationCluster | None = None,
) -> EvaluationResult:
    """Evaluate.

    One clip that fails never stops the rest. The audio of every system and all scores stay in `folder`.

    Args:
        plan: what.
        folder: made if it is missing.
        progress: told about every stage.
        failed: told at once of each clip that failed, by its name (after that of a system) and the reason.
        resume: keep what an earlier run finished of the same inputs with the same settings.
        overwrite: replace what is there.
        sounds: write the sound of clips while they are measured, for the report.
        finish: called with the result while no other run can work in the folder.
        cluster: machines that make the audio of models and measure; None is this one.

    Raises:
        HifiganError: nothing can be evaluated; the text says why.
        Interrupted: Ctrl-C; what was finished stays.
    """
    require_scipy("evaluation")
    clips = _find(plan, folder)
    models = _resolve(plan.systems)
    for spec in plan.systems:
        # What a checkpoint does not take is refused before anything is made.
        if isinstance(model := models.get(spec.name), Weights):
            SpeakerChoice.of_weights(model).one(spec.speaker, spec.vector)
    mel = _mel_settings(plan, models)
    columns = choose_columns(
        plan.metrics, [*plan.minima, *plan.maxima], with_reference=bool(plan.data), with_mel=mel is not None
    )
    sample_rate = _sample_rate(models) or (None if mel is None else mel.sample_rate)
    if sample_rate is None:
        sample_rate = _first_rate(clips, plan.reading.max_seconds)
        plan = replace(plan, reading=replace(plan.reading, rate_of="the first clip"))
    with claimed_folder(folder):
        names = folder_names(plan.systems, taken=REFERENCE_FOLDER)
        target = WorkFolder(plain_path(folder), resume, overwrite, progress, failed, cluster=cluster)
        _check_folder(folder, target, names)
        result = _evaluate(plan, target, names, clips, models, mel, columns, sample_rate, sounds=sounds)
        finish(result)
    return result


def _evaluate(
    plan: Plan,
    target: WorkFolder,
    names: Sequence[str],
    clips: ClipSet,
    models: Mapping[str, Model],
    mel: MelConfig | None,
    columns: Columns,
    sample_rate: int,
    *,
    sounds: bool,
) -> EvaluationResult:
    reference = prepare_reference(target, clips, sample_rate, plan.reading) if plan.data else {}
    usable = {name: item for name, item in clips.files.items() if not plan.data or reference[name].failed is None}
    if not usable:
        raise DatasetError(f"none of the clips can be used; the first: {next(iter(reference.values())).failed}")
    systems, audio = [], {}
    for spec, name in zip(plan.systems, names, strict=True):
        system, audio[spec.name] = make_audio(
            target, spec, models, name, usable, sample_rate, plan.reading,
            recursive=plan.recursive, complete=plan.limit is None,
            without_recording=[name for name in clips.files if name not in usable],
        )  # fmt: skip
        systems.append(system)
    measured = measure_all(target, plan.jobs, columns, mel, reference, audio, sounds=sounds)
    rows = {
        system.name: tuple(score_row(system.name, name, reference, audio, measured) for name in clips.files)
        for system in systems
    }
    return _result(plan, columns, clips, systems, reference, rows, measured, mel, sample_rate, target.notes)


def _find(plan: Plan, folder: Path) -> ClipSet:
    first = plan.systems[0]
    if plan.data:
        names, suffixes = list(plan.data), AUDIO_SUFFIXES
    elif first.mels is not None:
        names, suffixes = [str(first.mels)], MEL_SUFFIXES
    elif first.folder is not None:
        names, suffixes = [str(first.folder)], AUDIO_SUFFIXES
    else:
        raise EvaluationError(f"nothing tells which clips {first.name!r} is to make: give --dataset or --mels")
    inputs = [*names, *(str(path) for spec in plan.systems for path in (spec.folder, spec.mels) if path is not None)]
    for name in inputs:
        if os.path.realpath(name) == os.path.realpath(folder):  # Path.resolve raises where links lead in a circle
            raise OutputError(f"the output folder {str(folder)!r} is an input folder: name another one")
    clips = find_clips(
        names, suffixes, recursive=plan.recursive, split=plan.split, limit=plan.limit, seed=plan.seed, exclude=folder
    )
    for spec in plan.systems:
        if not plan.data and spec.model is not None and spec.mels is None:
            raise EvaluationError(f"system {spec.name!r} has nothing to start from: give --dataset or mels=FOLDER")
    return clips


def _resolve(systems: Sequence[SystemSpec]) -> dict[str, Model]:
    """Models by system, for each that is one; a model is read once, however many systems run it."""
    resolve = functools.cache(resolve_model)
    return {
        spec.name: resolve(spec.model, spec.config, spec.weights_at, spec.family)
        for spec in systems
        if spec.model is not None
    }


def _mel_settings(plan: Plan, models: Mapping[str, Model]) -> MelConfig | None:
    """Settings of the first model that has any."""
    found: MelConfig | None = None
    for spec in plan.systems:
        model = models.get(spec.name)
        # A decoder of latents starts from files of them.
        if model is not None and not (model.takes_latents and spec.mels is not None):
            found = found or model.known_mel()
    if found is None and not models and plan.config is not None:
        found = read_mel_alone(plan.config)
    return found


def _sample_rate(models: Mapping[str, Model]) -> int | None:
    """The sample rate of all models, which must agree; None if there is none."""
    rates = {name: model.known_sample_rate() for name, model in models.items()}
    first = next(iter(rates), "")
    for name, rate in rates.items():
        if rate != rates[first]:
            raise EvaluationError(
                f"{name} makes {rate} Hz and {first} {rates[first]} Hz: metrics of both cannot be compared; evaluate "
                "each by itself, or give one's audio as a folder with --resample"
            )
    return rates.get(first)


def _first_rate(clips: ClipSet, max_seconds: float | None) -> int:
    for item in clips.files.values():
        with contextlib.suppress(AudioError):
            return read_audio(item.path, max_seconds).sample_rate
    raise DatasetError("none of the clips can be read, so their sample rate is not known")


def _check_folder(folder: Path, target: WorkFolder, names: Sequence[str]) -> None:
    """Refuse what may not be replaced, in the words in which the folder was named, and take away the scores of what
    is."""
    audio = [folder / AUDIO_FOLDER / name for name in (REFERENCE_FOLDER, *names)]
    refuse_linked_folders(folder, [*audio, folder / CLIPS_FOLDER])
    refuse_special(folder / JSON_NAME)
    if os.path.lexists(folder / JSON_NAME) and not (target.resume or target.overwrite):
        raise OutputError(
            f"{str(folder)!r} holds an evaluation already: --resume keeps what is finished, --overwrite replaces it"
        )
    if target.overwrite:
        (folder / SCORES_NAME).unlink(missing_ok=True)


def _result(
    plan: Plan,
    columns: Columns,
    clips: ClipSet,
    systems: Sequence[System],
    reference: Mapping[str, ClipAudio],
    rows: Mapping[str, tuple[ClipScores, ...]],
    measured: Mapping[tuple[str, str], Measured],
    mel: MelConfig | None,
    sample_rate: int,
    notes: Sequence[str],
) -> EvaluationResult:
    summaries = tuple(
        entry for system in systems for entry in summarize_system(rows[system.name], columns.metrics, plan.seed)
    )
    baseline = systems[0].name
    comparisons = tuple(
        compare(
            rows[baseline], rows[other.name],
            {name: found for (system, name), found in measured.items() if system == other.name},
            columns.metrics, plan.seed,
        )
        for other in systems[1:]
    )  # fmt: skip
    return EvaluationResult(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=plan.command,
        data_set=clips.description,
        sample_rate=sample_rate,
        mel=mel,
        metrics=columns.metrics,
        left_out=columns.left_out,
        systems=tuple(systems),
        clips=tuple(clip_record(name, item, reference.get(name)) for name, item in clips.files.items()),
        scores=tuple(row for system in systems for row in rows[system.name]),
        summaries=summaries,
        comparisons=comparisons,
        limits=check_limits(summaries, plan.minima, plan.maxima),
        accuracy=accuracy(summaries, columns.metrics, baseline),
        packages=columns.packages,
        notes=(*clips.left_out.note, *notes, *length_notes(rows, reference)),
    )
