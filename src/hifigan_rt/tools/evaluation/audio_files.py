"""Makes the audio that is measured: recordings and foreign audio prepared, models run, each in a folder of its own.

Each folder has the manifest of `hifigan synth`, by which a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hifigan_rt.audio import AUDIO_SUFFIXES
from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.errors import OutputError
from hifigan_rt.model.kinds import Model
from hifigan_rt.tools.bulk.local_run import LocalRunner
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, read_manifest
from hifigan_rt.tools.bulk.outputs import plan_outputs
from hifigan_rt.tools.bulk.run import ClipRunner, run_in_folder
from hifigan_rt.tools.bulk.synthesis import MEL_SUFFIXES, Synthesis
from hifigan_rt.tools.datasets import InputFile
from hifigan_rt.tools.evaluation.clips import ClipSet, Pairing, pair, renamed
from hifigan_rt.tools.evaluation.on_cluster import EvaluationCluster
from hifigan_rt.tools.evaluation.preparation import SUFFIX, Preparation, write_settings
from hifigan_rt.tools.evaluation.results import System
from hifigan_rt.tools.evaluation.signal_files import remember_digest
from hifigan_rt.tools.evaluation.systems import SystemSpec
from hifigan_rt.vocoder import load

AUDIO_FOLDER = "audio"
REFERENCE_FOLDER = "reference"

_EXTRA_SHOWN = 3


class Progress(Protocol):
    """Tells a person how far a stage is: a context that gives the function to call after each step."""

    def __call__(self, label: str, steps: int) -> AbstractContextManager[Callable[[], None]]: ...


@dataclass(frozen=True)
class ClipAudio:
    """One clip's audio, or why there is none."""

    path: str | None
    """Relative to the folder of the evaluation, with `/`."""
    seconds: float | None = None
    failed: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkFolder:
    """Where audio goes, and what may happen to what is there."""

    folder: Path
    """Output folder of the evaluation."""
    resume: bool
    overwrite: bool
    progress: Progress
    failed: Callable[[str, str], None] = lambda *_: None
    """Told the name and the reason of each failure at once."""
    notes: list[str] = field(default_factory=list)
    """What its runs did otherwise than one might expect."""
    cluster: EvaluationCluster | None = None
    """What makes the audio of models and measures; None is this machine."""

    def audio_folder(self, name: str) -> Path:
        """Give the place of a system's audio, or of the recordings."""
        return self.folder / AUDIO_FOLDER / name

    def run(self, runner: ClipRunner, files: Mapping[str, InputFile], name: str, label: str) -> dict[str, ClipAudio]:
        """Work through files, by clip.

        Raises:
            OutputError: the folder cannot be written to, or holds what may not be replaced.
            Interrupted: Ctrl-C; what was finished stays.
        """
        folder = self.audio_folder(name)
        jobs = plan_outputs([renamed(item, clip) for clip, item in files.items()], folder, SUFFIX)
        clips = {job.name: clip for clip, job in zip(files, jobs, strict=True)}

        def report(record: ClipRecord) -> None:
            if record.status == "failed":
                clip = clips[record.output]
                self.failed(clip if name == REFERENCE_FOLDER else f"{label}, {clip}", _reason(record))
            advance()

        with self.progress(label, len(jobs)) as advance:
            summary = run_in_folder(runner, jobs, folder, resume=self.resume, overwrite=self.overwrite, progress=report)
        self.notes.extend(note for note in summary.notes if note not in self.notes)
        if summary.stopped is not None:
            raise OutputError(summary.stopped)
        records = read_manifest(folder / MANIFEST_NAME).clips
        for job in jobs:
            digest = records[job.name].output_sha256
            if digest is not None:
                remember_digest(job.output, digest)
        prefix = f"{AUDIO_FOLDER}/{name}/"
        return {clip: _made(records[job.name], prefix) for clip, job in zip(files, jobs, strict=True)}


def prepare_reference(
    target: WorkFolder, clips: ClipSet, sample_rate: int, reading: ReadSettings
) -> dict[str, ClipAudio]:
    """The recordings, mono and at one rate."""
    runner = LocalRunner(Preparation(sample_rate, reading))
    return target.run(runner, clips.files, REFERENCE_FOLDER, "recordings")


def make_audio(
    target: WorkFolder,
    spec: SystemSpec,
    models: Mapping[str, Model],
    name: str,
    clips: Mapping[str, InputFile],
    sample_rate: int,
    reading: ReadSettings,
    *,
    recursive: bool,
    complete: bool,
    without_recording: Sequence[str] = (),
) -> tuple[System, dict[str, ClipAudio]]:
    """The audio of one system.

    Args:
        target: where it goes.
        spec: the system.
        models: by system, for each that is a model.
        name: of its folder.
        clips: recordings, or mels where there are none.
        sample_rate: of all audio, in Hz.
        reading: what may be done to inputs.
        recursive: look for files of a folder in those below as well.
        complete: whether the clips are the whole data set.
        without_recording: further clips, whose recordings cannot be used: their files are not made, nor strangers.

    Raises:
        DatasetError: a folder has no file for any clip.
        HifiganError: the engine cannot be created.
    """
    notes: tuple[str, ...] = ()
    all_clips = [*clips, *without_recording]
    if spec.folder is not None:
        pairing = pair(all_clips, spec.folder, AUDIO_SUFFIXES, recursive=recursive, complete=complete)
        chosen = {clip: pairing.files[clip] for clip in clips}
        made = target.run(LocalRunner(Preparation(sample_rate, reading)), chosen, name, spec.name)
        return System(spec.name, "folder", _last(spec.folder), notes=_beside(pairing)), made
    files: Mapping[str, InputFile] = clips
    if spec.mels is not None:
        pairing = pair(all_clips, spec.mels, MEL_SUFFIXES, recursive=recursive, complete=complete)
        files, notes = {clip: pairing.files[clip] for clip in clips}, _beside(pairing)
    model = models[spec.name]
    if target.cluster is not None:
        folder = target.audio_folder(name)
        with target.cluster.synthesis(spec, model, reading, len(files), folder) as runner:
            made = target.run(runner, files, name, spec.name)
            return _model_system(spec, model, runner.engine, notes), made
    with load(model, engine=spec.engine, **spec.engine_options) as vocoder:
        conditioning = vocoder.speaker_choice.one(spec.speaker, spec.vector)
        work = Synthesis(vocoder, reading, write_settings(), conditioning)
        made = target.run(LocalRunner(work), files, name, spec.name)
        return _model_system(spec, vocoder.model, vocoder.engine_info, notes), made


def _model_system(spec: SystemSpec, model: Model, info: EngineInfo | None, notes: tuple[str, ...]) -> System:
    assert info is not None  # noqa: S101 - synthesis has an engine
    mels = "" if spec.mels is None else _last(spec.mels)
    settings = dict(spec.settings)
    if spec.speaker is not None:
        settings["speaker"] = spec.speaker
    if spec.conditioning is not None:
        settings["conditioning"] = _last(Path(spec.conditioning))
    return System(
        spec.name, "model", _last(Path(spec.model or "")), model.sha256, info.name,
        f"{info.name} {info.version}", info.device, info.precision, settings, mels, info.caveat,
        (*model.notes, *notes),
    )  # fmt: skip


def _made(record: ClipRecord, prefix: str) -> ClipAudio:
    if record.status == "failed":
        return ClipAudio(None, failed=_reason(record))
    return ClipAudio(prefix + record.output, record.audio_seconds, None, (*record.notes, *record.warnings))


def _reason(record: ClipRecord) -> str:
    return record.error or "unknown"


def _beside(pairing: Pairing) -> tuple[str, ...]:
    """What a folder holds beside the files of the clips."""
    names = pairing.extra
    if not names:
        return pairing.left_out.note
    shown = ", ".join(names[:_EXTRA_SHOWN]) + (", ..." if len(names) > _EXTRA_SHOWN else "")
    count = "1 file belongs" if len(names) == 1 else f"{len(names)} files belong"
    return (f"{count} to no clip: {shown}", *pairing.left_out.note)


def _last(path: Path) -> str:
    """Give the last name alone: the rest says something about a person's machine."""
    return path.name or str(path)
