"""A command that refuses values which say nothing: an empty text, and a number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import click


class StrictCommand(click.Command):
    """A command whose values are checked before it runs. A parameter of click.UNPROCESSED may be an empty text.

    A variable of a shell script that is not set gives an empty text. As a path it would be the current folder.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, and check.

        Raises:
            click.UsageError: a value is empty, or not finite.
        """
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
