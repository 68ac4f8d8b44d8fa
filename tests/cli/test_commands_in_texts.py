"""The commands that texts name, errors above all: whoever is sent to one must be able to give it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import hifigan_rt
from hifigan_rt.tools.cli.app import hifigan


def texts(code: ast.AST) -> Iterator[str]:
    """The strings, with X for each value that is put into one."""
    for node in ast.walk(code):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named_commands() -> set[str]:
    sources = Path(hifigan_rt.__file__).parent.rglob("*.py")
    found = (re.findall(r"'(hifigan [^']+)'", text) for path in sources for text in texts(ast.parse(path.read_bytes())))
    return {" ".join(command.split()) for commands in found for command in commands}


def wrong_with(command: str) -> str:
    """What the command line does not take; empty if it takes all."""
    words, taker = shlex.split(command)[1:], hifigan
    context = click.Context(taker)
    while isinstance(taker, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        taker = taker.get_command(context, name)
        if taker is None:
            return f"no command {name!r}"
    options = {name: option for option in taker.params if isinstance(option, click.Option) for name in option.opts}
    places = sum(
        argument.nargs if argument.nargs > 0 else 99 for argument in taker.params if argument not in options.values()
    )
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            places -= 1
            if places < 0:
                return f"no place for {word!r}"
        elif word not in options:
            return f"no option {word!r}"
        elif words and not options[word].is_flag:
            words.pop(0)
    return ""


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("hifigan bench --model X --engines all", ""), ("hifigan info X --plan --json", ""), ("hifigan export om", ""),
        ("hifigan bench X --engines all", "no place for 'X'"), ("hifigan bench --engine all", "no option '--engine'"),
        ("hifigan export X", "no command 'X'"), ("hifigan measure", "no command 'measure'"),
    ],
)  # fmt: skip
def test_what_a_command_line_does_not_take_is_found(command, wrong):
    assert wrong_with(command) == wrong


def test_every_command_that_a_text_names_can_be_given():
    commands = named_commands()
    assert len(commands) > 10
    assert {command: wrong for command in commands if (wrong := wrong_with(command))} == {}
