"""`hifigan mel`: recordings to mels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import (
    checkpoint_options,
    input_options,
    json_option,
    output_option,
    run_options,
    verbosity_options,
)
from hifigan_rt.tools.cli.running import ClipWork, RunOptions, run
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.run import ClipRunner


@click.command(cls=StrictCommand)
@click.argument("inputs", shell_complete=completion.files, nargs=-1, required=True)
@click.option(
    "--model",
    shell_complete=completion.models,
    metavar="NAME|PATH",
    help="The model whose mel settings are used; or give --config alone.",
)
@output_option(
    "FOLDER|FILE|-", "A folder; for a single input also a .npy file, or - for standard output.", required=True
)
@checkpoint_options
@input_options
@run_options
@json_option
@verbosity_options
@click.pass_obj
def mel(console: Console, /, model: str | None, config: str | None, **values: Any) -> int:
    """Compute the log-mels of recordings as .npy files.

    They are float32 [M, T], computed with the settings of a model.

    INPUTS are wav, flac, ogg, opus or mp3 files, folders, patterns, LJSpeech folders, or - for standard input.

    \b
    Example:
      hifigan mel recordings/ --model ljspeech-v1 -o mels/
    """
    if model is None and config is None:
        raise click.UsageError("the mel settings must come from somewhere: give --model or --config")
    if model is None and (values["weights_at"], values["family"]) != (None, None):
        raise click.UsageError(
            "--weights-at and --family say how a checkpoint is read: give --model, or leave them out"
        )
    options = RunOptions.checked(values, ".npy")

    from hifigan_rt.audio import AUDIO_SUFFIXES

    return run(console, options, ClipWork(AUDIO_SUFFIXES, lambda *_: _make_runner(console, model, config, values)))


def _make_runner(console: Console, model: str | None, config: str | None, values: dict[str, Any]) -> ClipRunner:
    from hifigan_rt.families.matching import read_mel_alone
    from hifigan_rt.model.resolve import resolve_model
    from hifigan_rt.tools.bulk.local_run import LocalRunner
    from hifigan_rt.tools.bulk.long_clips import ReadSettings
    from hifigan_rt.tools.bulk.synthesis import MelExtraction

    if model is None:
        settings = read_mel_alone(str(config))
    else:
        resolved = resolve_model(model, config, values["weights_at"], values["family"])
        settings = resolved.known_mel()
        console.notes(resolved.notes)
    reading = ReadSettings(values["resample"], values["mono"], values["max_seconds"])
    return LocalRunner(MelExtraction(settings, reading))
