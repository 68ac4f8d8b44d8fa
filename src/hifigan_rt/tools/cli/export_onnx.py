"""`hifigan export onnx`."""

from __future__ import annotations

from typing import Any

import click

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
@export_options("FILE", "[default: the model's name with .onnx, in the current folder]")
@click.option("--opset", type=int, default=17, show_default=True, help="From 11 to 17.")
@rank_option("3", "3 takes mels as [B, M, T]; 4 as [B, M, 1, T], which NPU toolchains like.")
@click.option("--keep-channel", is_flag=True, help="Give audio as [B, 1, N] instead of [B, N].")
@verify_option
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@json_option
@verbosity_options
@click.pass_obj
def onnx(
    console: Console,
    /,
    model: str,
    output: str | None,
    opset: int,
    rank: str,
    keep_channel: bool,
    verify: bool,
    overwrite: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write a checkpoint as ONNX with dynamic batch and length, verified before it gets its name.

    \b
    Example:
      hifigan export onnx g_02500000 -o generator.onnx
    """
    from hifigan_rt.export.onnx import export_onnx

    resolved, generator = load_generator(model, **reading)
    path = choose_output(resolved, output, ".onnx", overwrite)
    console.notes(resolved.notes)
    report = export_onnx(
        generator,
        resolved.mel_settings,
        path,
        opset=opset,
        rank=int(rank),
        keep_channel=keep_channel,
        source=source_name(resolved),
        speakers=resolved.speakers,
        verify=verify,
    )
    tell_export(console, report, repr(str(path)), {"path": str(path)}, as_json=as_json)
