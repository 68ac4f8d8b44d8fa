"""`hifigan export`: a group with one command per format."""

from __future__ import annotations

import click

from hifigan_rt.tools.cli.lazy import LazyGroup


@click.group(cls=LazyGroup, names=("onnx", "openvino", "safetensors", "om"), prefix="export_")
def export() -> None:
    """Convert a checkpoint to another format.

    \b
    Example:
      hifigan export onnx g_02500000 -o generator.onnx
    """
