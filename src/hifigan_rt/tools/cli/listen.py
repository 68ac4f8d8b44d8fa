"""`hifigan listen`: a group with one command per step of a listening test."""

from __future__ import annotations

import click

from hifigan_rt.tools.cli.lazy import LazyGroup


@click.group(cls=LazyGroup, names=("make", "serve", "score"), prefix="listen_")
def listen() -> None:
    """Ask people how it sounds: a blind listening test, in a browser.

    \b
    Example:
      hifigan listen make report --mode mos -o test
      hifigan listen serve test/test.html --results answers
      hifigan listen score answers --key test/key.json
    """
