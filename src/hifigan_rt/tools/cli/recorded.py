"""The command line as it was typed, for the record of a result."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click

from hifigan_rt.tools.cli.strict import StrictCommand

_ARGUMENTS = "hifigan_rt.arguments"


class RecordedCommand(StrictCommand):
    """Keeps the arguments as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def recorded_command(ctx: click.Context) -> str:
    """The command line of a `RecordedCommand`; of paths only the last name, which is all that others could use."""
    return shlex.join(["hifigan", str(ctx.info_name), *map(_shortened, ctx.meta[_ARGUMENTS])])


def _shortened(argument: str) -> str:
    """Also of paths within `--option=PATH` and `KEY=PATH,KEY=PATH`."""
    pieces = re.split(r"([=,])", argument)
    return "".join(Path(piece).name if os.sep in piece else piece for piece in pieces)
