"""`hifigan export safetensors`."""

from __future__ import annotations

from typing import Any

import click

from hifigan_rt.errors import ExportError
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.exporting import choose_output, export_options, load_generator, source_name
from hifigan_rt.tools.cli.options import json_option, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand


@click.command(cls=StrictCommand)
@export_options("FILE", "[default: the model's name with .safetensors, in the current folder]")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@json_option
@verbosity_options
@click.pass_obj
def safetensors(
    console: Console,
    /,
    model: str,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write a checkpoint as safetensors: folded weights in float32, the config in the metadata.

    \b
    Example:
      hifigan export safetensors g_02500000 -o generator.safetensors
    """
    from hifigan_rt.formats.safetensors_writing import write_safetensors

    resolved, generator = load_generator(model, **reading)
    path = choose_output(resolved, output, ".safetensors", overwrite)
    if path.suffix.lower() in (".onnx", ".xml", ".om"):
        raise ExportError(f"output {str(path)!r} would be read as another format: name it .safetensors")
    console.notes(resolved.notes)
    write_safetensors(generator, resolved.mel_settings, path, source_name(resolved), resolved.speakers)
    size_bytes = path.stat().st_size
    if as_json:
        console.result({"path": str(path), "bytes": size_bytes})
    elif console.verbosity >= 0:
        console.line(f"{str(path)!r}: {size_bytes} bytes, {len(generator.weights)} tensors")
