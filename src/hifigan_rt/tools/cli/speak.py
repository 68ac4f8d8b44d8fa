"""`hifigan speak`: text to audio, with a voice of Piper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.options import engine_choice, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.cli.console import Console


@click.command(
    cls=StrictCommand,
    # Piper's options may be typed with underscores.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@click.argument("text", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--voice", "-m", "--model", "voice", shell_complete=completion.files, required=True, metavar="FILE|NAME",
    help="The voice's .onnx, with its .onnx.json beside it; or its name in a --data-dir.",
)  # fmt: skip
@click.option("--config", "-c", shell_complete=completion.files, metavar="FILE", help="Another .onnx.json.")
@click.option(
    "--output", "-o", "-f", "--output-file", "output", shell_complete=completion.files, metavar="FILE|-",
    help="A .wav or .flac file, or - for a wav on standard output, written while it is computed.",
)  # fmt: skip
@click.option(
    "--output-dir", "-d", shell_complete=completion.files, metavar="FOLDER", help="A numbered wav for each line."
)
@click.option("--output-raw", is_flag=True, help="Bare 16-bit samples on standard output, while they are computed.")
@click.option(
    "--input-file", "-i", "input_files", shell_complete=completion.files, multiple=True, metavar="FILE",
    help="Text, a line at a time; may be given again.",
)  # fmt: skip
@click.option("--speaker", "-s", metavar="NAME|ID", help="Who speaks, of a voice of several.")
@click.option("--length-scale", type=float, metavar="NUMBER", help="Duration of all phonemes [default: the voice's].")
@click.option("--noise-scale", type=float, metavar="NUMBER", help="How much the voice varies [default: the voice's].")
@click.option(
    "--noise-w-scale", "--noise-w", "noise_w_scale", type=float, metavar="NUMBER",
    help="How much durations vary [default: the voice's].",
)  # fmt: skip
@click.option(
    "--seed", type=int, metavar="NUMBER", help="The same gives the same samples [default: another each time]."
)
@click.option("--sentence-silence", type=float, default=0.0, metavar="SECONDS", help="Silence between two sentences.")
@click.option("--volume", type=float, default=1.0, metavar="NUMBER", help="Factor of the samples.")
@click.option(
    "--normalize/--no-normalize", default=False,
    help="Make the largest sample of each sentence 1, as Piper does; sentences then come whole.",
)  # fmt: skip
@click.option("--phonemes", is_flag=True, help="The text is phonemes already, a sentence a line.")
@click.option(
    "--data-dir", "data_folders", shell_complete=completion.files, multiple=True, metavar="FOLDER",
    help="Where voices are looked for by name.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there.")
@engine_choice
@click.option("--segment-frames", type=click.IntRange(1, 4096), help="Frames that are decoded together.")
@verbosity_options
@click.pass_obj
def speak(console: Console, /, **values: Any) -> int:
    """Speak text with a voice of Piper, whole or while it is computed.

    TEXT is spoken as one text; without it, each line of standard input is, as soon as it comes. Text of most voices
    needs the program espeak-ng.

    \b
    Examples:
      hifigan speak --voice en_US-joe-medium.onnx "Hello there." -o hello.wav
      tail -f log | hifigan speak --voice en_US-joe-medium.onnx --output-raw | aplay -r 22050 -f S16_LE
    """
    from hifigan_rt.tools.cli.speaking import run_speak

    return run_speak(console, values)
