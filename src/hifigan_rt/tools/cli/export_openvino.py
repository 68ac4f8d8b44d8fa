"""`hifigan export openvino`."""

from __future__ import annotations

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.exporting import choose_output, load_generator, source_name
from hifigan_rt.tools.cli.options import config_option, family_option, json_option, verbosity_options, weights_at_option
from hifigan_rt.tools.cli.strict import StrictCommand


@click.command(cls=StrictCommand)
@click.argument("model", shell_complete=completion.models, metavar="MODEL")
@click.option(
    "-o",
    "--output",
    shell_complete=completion.files,
    metavar="FILE",
    help="The .xml; the .bin goes beside it [default: the model's name, here].",
)
@config_option
@weights_at_option
@family_option
@click.option(
    "--precision",
    shell_complete=completion.one_of("float32", "float16"),
    default="float32",
    show_default=True,
    metavar="NAME",
    help="Of the weights in the file: float32, or float16 for half the size.",
)
@click.option(
    "--rank",
    type=click.Choice(["3", "4"]),
    default="4",
    show_default=True,
    help="4 takes mels as [B, M, 1, T], faster on CPUs; 3 as [B, M, T].",
)
@click.option("--batch", type=int, help="A fixed batch [default: any].")
@click.option("--frames", type=int, help="A fixed length in frames [default: any].")
@click.option("--verify/--no-verify", default=True, help="Compare with the float64 reference [default: yes].")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
@verbosity_options
@click.pass_obj
def openvino(
    console: Console,
    model: str,
    output: str | None,
    config: str | None,
    weights_at: str | None,
    family: str | None,
    precision: str,
    rank: str,
    batch: int | None,
    frames: int | None,
    verify: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a checkpoint as OpenVINO IR, .xml and .bin, verified before they get their names.

    \b
    Examples:
      hifigan export openvino g_02500000 -o generator.xml
      hifigan export openvino g_02500000 --precision float16 -o small.xml
    """
    from hifigan_rt.export.openvino import OpenVinoSettings, export_openvino

    settings = OpenVinoSettings(precision, int(rank), batch, frames)
    settings.check()
    resolved, generator = load_generator(model, config, weights_at, family)
    path = choose_output(resolved, output, ".xml", overwrite)
    weights_path = choose_output(resolved, str(path.with_suffix(".bin")), ".bin", overwrite)
    console.notes(resolved.notes)
    report = export_openvino(
        generator,
        resolved.mel_settings,
        path,
        settings,
        source=source_name(resolved),
        speakers=resolved.speakers,
        verify=verify,
    )
    if as_json:
        console.result(
            {
                "path": str(path),
                "weights_path": str(weights_path),
                "precision": precision,
                "snr_db": report.snr_db,
                "bytes": report.size_bytes,
                "seconds": report.seconds,
            }
        )
        return
    verdict = "not verified" if report.snr_db is None else f"SNR {report.snr_db:.1f} dB against the float64 reference"
    console.line(
        f"{str(path)!r} and {weights_path.name!r}: {report.size_bytes} bytes in {report.seconds:.1f} s; {verdict}"
    )
