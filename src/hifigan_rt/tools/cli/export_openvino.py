"""`hifigan export openvino`."""

from __future__ import annotations

from typing import Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.exporting import (
    choose_output,
    export_options,
    load_generator,
    rank_option,
    source_name,
    tell_export,
    verify_option,
)
from hifigan_rt.tools.cli.options import json_option, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand


@click.command(cls=StrictCommand)
@export_options("FILE", "The .xml; the .bin goes beside it [default: the model's name, here].")
@click.option(
    "--precision",
    shell_complete=completion.one_of("float32", "float16"),
    default="float32",
    show_default=True,
    metavar="NAME",
    help="Of the weights in the file: float32, or float16 for half the size.",
)
@rank_option("4", "4 takes mels as [B, M, 1, T], faster on CPUs; 3 as [B, M, T].")
@click.option("--batch", type=int, help="A fixed batch [default: any].")
@click.option("--frames", type=int, help="A fixed length in frames [default: any].")
@verify_option
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
@verbosity_options
@click.pass_obj
def openvino(
    console: Console,
    /,
    model: str,
    output: str | None,
    precision: str,
    rank: str,
    batch: int | None,
    frames: int | None,
    verify: bool,
    overwrite: bool,
    as_json: bool,
    **reading: Any,
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
    resolved, generator = load_generator(model, **reading)
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
    facts = {"path": str(path), "weights_path": str(weights_path), "precision": precision}
    tell_export(console, report, f"{str(path)!r} and {weights_path.name!r}", facts, as_json=as_json)
