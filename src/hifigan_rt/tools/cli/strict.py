"""A command that refuses values which say nothing: an empty text, and a number that is not finite.

It keeps how it was typed, for the record of a result.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_ARGUMENTS = "hifigan_rt.arguments"


class StrictCommand(click.Command):
    """A command whose values are checked before it runs. A parameter of click.UNPROCESSED may be an empty text.

    A variable of a shell script that is not set gives an empty text. As a path it would be the current folder.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, and check.

        Raises:
            click.UsageError: a value is empty, or not finite.
        """
        ctx.meta[_ARGUMENTS] = list(args)
        # As they were typed: of an empty text click.Path makes the current folder.
        try:
            typed = self.make_parser(ctx).parse_args(list(args))[0]
        except click.UsageError as error:
            # Of an option without its value click does not say whose it is, and the error names the help to read.
            error.ctx = error.ctx or ctx
            raise
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            for parameter in self.params:
                _check(ctx, parameter, typed)
        return rest


def _check(ctx: click.Context, parameter: click.Parameter, typed: Mapping[str, Any]) -> None:
    option = isinstance(parameter, click.Option)
    name = parameter.opts[0] if option else parameter.human_readable_name
    texts, value = (values.get(parameter.name or "") for values in (typed, ctx.params))
    if parameter.type is not click.UNPROCESSED and "" in (texts if isinstance(texts, (list, tuple)) else (texts,)):
        raise click.UsageError(f"{name} is empty: give a value ('.' names this folder)", ctx)
    if isinstance(value, float) and not math.isfinite(value):
        raise click.UsageError(f"{name} is {value}: give a finite number", ctx)


def recorded_command(ctx: click.Context) -> str:
    """The command line of a `StrictCommand`; of paths only the last name, which is all that others could use."""
    return shlex.join(["hifigan", str(ctx.info_name), *map(_shortened, ctx.meta[_ARGUMENTS])])


def _shortened(argument: str) -> str:
    """Also of paths within `--option=PATH` and `KEY=PATH,KEY=PATH`."""
    pieces = re.split(r"([=,])", argument)
    return "".join(Path(piece).name if os.sep in piece else piece for piece in pieces)
