"""A group of commands that imports each when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from hifigan_rt.errors import did_you_mean


class LazyGroup(click.Group):
    """A group whose commands are found by name: command `x` is the function `x` of the module `x` beside this one.

    Modules of a group within the group of all are named `GROUP_x`.
    """

    def __init__(self, *, names: Sequence[str], prefix: str = "", **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._names, self._prefix = names, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order of a user's work, not of the alphabet."""
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None if there is none of that name."""
        if cmd_name not in self._names:
            return None
        command = getattr(importlib.import_module(f"{__package__}.{self._prefix}{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - a slip in the table above, not a user's error
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a misspelt one."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name not in self._names:
            way_out = did_you_mean(name, self._names) or f": choose one of {', '.join(self._names)}"
            ctx.fail(f"there is no command {name!r}{way_out}")
        return super().resolve_command(ctx, args)
