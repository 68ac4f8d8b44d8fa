"""`hifigan synth`: recordings or mels to audio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import (
    CHECKPOINT,
    ENGINE,
    check_cluster_options,
    checkpoint_options,
    cluster_options,
    engine_options,
    input_options,
    json_option,
    mel_at_option,
    model_option,
    output_option,
    picked,
    run_options,
    speaker_given,
    speaker_options,
    store_manifest_option,
    verbosity_options,
)
from hifigan_rt.tools.cli.running import ClipWork, RunOptions, run
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.config import MelConfig
    from hifigan_rt.model.kinds import Model
    from hifigan_rt.tools.bulk.clip_files import ClipFiles
    from hifigan_rt.tools.bulk.long_clips import ReadSettings
    from hifigan_rt.tools.bulk.run import ClipRunner
    from hifigan_rt.tools.bulk.synthesis import WriteSettings
    from hifigan_rt.tools.datasets import InputFile

CONTAINERS = ("wav", "flac")


@click.command(cls=StrictCommand)
@click.argument("inputs", shell_complete=completion.files, nargs=-1, required=True)
@model_option
@output_option(
    "FOLDER|FILE|-",
    "A folder, with --ray also a URL; for a single input also a .wav or .flac file, or - for standard output.",
    required=True,
)
@checkpoint_options
@engine_options
@speaker_options
@input_options
@click.option("--time-major", is_flag=True, help="The mel files hold [T, M] instead of [M, T].")
@mel_at_option
@click.option(
    "--mel-convention", shell_complete=completion.conventions, metavar="NAME",
    help="What the mel files hold, if not the model's own: ln, log10, log1p, db, power, int16-gain or standardised.",
)  # fmt: skip
@click.option(
    "--mel-stats",
    shell_complete=completion.files,
    metavar="FILE",
    help="Mean and scale that the mel files were standardised with.",
)
@click.option("--match-length", is_flag=True, help="Trim or zero-pad each result to its recording's length.")
@click.option(
    "--encoding", type=click.Choice(["pcm16", "pcm24", "float"]), default="pcm16", show_default=True,
    help="How samples are stored; float in wav only.",
)  # fmt: skip
@click.option("--format", "container", type=click.Choice(CONTAINERS), help="Of the results [default: wav].")
@click.option("--mel-l1", is_flag=True, help="Put the mel distance between input and result into the manifest.")
@run_options
@cluster_options
@store_manifest_option
@json_option
@verbosity_options
@click.pass_obj
def synth(console: Console, /, container: str | None, **values: Any) -> int:
    """Make audio from recordings (through their mel) or from mel files.

    INPUTS are files (wav, flac, ogg, opus, mp3; mels as npy, npz, pt, safetensors), folders, patterns, LJSpeech
    folders, lists of files, or - for one recording or .npy mel on standard input. The output folder gets a
    manifest.jsonl with a line per clip. One bad file never stops the rest; the exit status is 1 then.

    \b
    Examples:
      hifigan synth recordings/ --model ljspeech-v1 -o out/
      hifigan synth corpus/ --model ljspeech-v1 -o /shared/out --ray --ray-address head:6379
      hifigan synth LJSpeech-1.1 --split validation --model g_02500000 -o out/ --resume
      acoustic-model | hifigan synth - --model ljspeech-v1 -o - > speech.wav
    """
    named = Path(values["output"]).suffix.lower().removeprefix(".")
    is_file = named in CONTAINERS and not Path(values["output"]).is_dir()
    if is_file and container not in (None, named):
        raise click.UsageError(f"--format {container} contradicts -o {values['output']}")
    if values["mel_stats"] is not None and values["mel_convention"] is None:
        raise click.UsageError("--mel-stats undoes what --mel-convention names: give 'standardised', or its logarithm")
    container = container or (named if is_file else "wav")
    if container == "flac" and values["encoding"] == "float":
        raise click.UsageError("flac holds no floats: give --format wav, or --encoding pcm24")
    options = RunOptions.checked(values, f".{container}")
    check_cluster_options(values)
    if values["on_ray"] and not options.is_folder:
        raise click.UsageError("--ray shares many clips out: give -o FOLDER")

    from hifigan_rt.audio import AUDIO_SUFFIXES
    from hifigan_rt.tools.bulk.synthesis import MEL_SUFFIXES

    def make_runner(clips: int, files: ClipFiles | None) -> AbstractContextManager[ClipRunner]:
        if values["on_ray"]:
            return _on_cluster(console, container, values, clips, files)
        return _here(console, container, values)

    work = ClipWork(AUDIO_SUFFIXES | MEL_SUFFIXES, make_runner, lambda inputs: _check_used(values, inputs))
    return run(console, options, work)


def _check_used(values: Mapping[str, Any], inputs: Sequence[InputFile]) -> None:
    """Refuse options that say how mels are, where no input is one. What recordings may have is a permission: unused, it
    changes nothing.

    Raises:
        DatasetError: there are some.
    """
    from hifigan_rt.errors import DatasetError
    from hifigan_rt.tools.bulk.synthesis import MEL_SUFFIXES

    names = ("time_major", "mel_at", "mel_convention", "mel_stats")
    given = [f"--{name.replace('_', '-')}" for name in names if values[name] not in (None, False)]
    if given and not any(item.path.suffix.lower() in MEL_SUFFIXES for item in inputs if item.problem is None):
        raise DatasetError(f"no input is one of the mel files that {' and '.join(given)} would be for: leave it out")


@contextmanager
def _on_cluster(
    console: Console, container: str, values: Mapping[str, Any], clips: int, files: ClipFiles | None
) -> Iterator[ClipRunner]:
    from hifigan_rt.engines import check_engine
    from hifigan_rt.model.resolve import resolve_model
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.cluster.actors import worker_size
    from hifigan_rt.tools.cluster.connection import connected
    from hifigan_rt.tools.cluster.recipe import SynthesisRecipe, vocoder_recipe
    from hifigan_rt.tools.cluster.run import ClusterRunner
    from hifigan_rt.tools.cluster.store_urls import is_url

    check_engine(values["engine"])
    model = resolve_model(values["model"], **picked(values, CHECKPOINT))
    model.known_sample_rate()
    console.notes(model.notes)
    reading, writing = _settings(model, container, values)
    size = worker_size(values["threads"], values["device"])
    options = picked(values, ENGINE) | {"threads": size.cpus}
    vocoder = vocoder_recipe(model, options.pop("engine"), options)
    recipe = SynthesisRecipe(vocoder, reading, writing, *speaker_given(values))
    folder = None if is_url(values["output"]) else plain_path(values["output"])
    with (
        console.foreign_output(),
        connected(values["ray_address"]) as ray,
        ClusterRunner(ray, recipe, size, clips, files=files, folder=folder, note=console.note) as runner,
    ):
        yield runner


def _here(console: Console, container: str, values: dict[str, Any]) -> ClipRunner:
    from hifigan_rt.tools.bulk.local_run import LocalRunner
    from hifigan_rt.tools.bulk.synthesis import Synthesis
    from hifigan_rt.vocoder import load

    vocoder = load(values["model"], **picked(values, (*CHECKPOINT, *ENGINE)))
    console.vocoder(vocoder)
    conditioning = vocoder.speaker_choice.one(*speaker_given(values))
    reading, writing = _settings(vocoder.model, container, values)
    return LocalRunner(Synthesis(vocoder, reading, writing, conditioning))


def _settings(model: Model, container: str, values: Mapping[str, Any]) -> tuple[ReadSettings, WriteSettings]:
    from hifigan_rt.mel.conventions import named_convention
    from hifigan_rt.tools.bulk.long_clips import ReadSettings
    from hifigan_rt.tools.bulk.synthesis import WriteSettings

    given: MelConfig | None = None
    if values["mel_convention"] is not None:
        given = named_convention(values["mel_convention"], model.known_mel(), values["mel_stats"])
    reading = ReadSettings(
        values["resample"], values["mono"], values["max_seconds"], values["time_major"], values["mel_at"], given
    )
    return reading, WriteSettings(values["encoding"], container, values["match_length"], values["mel_l1"])  # type: ignore[arg-type]
