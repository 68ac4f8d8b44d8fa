"""`hifigan models`: the known pretrained models."""

from __future__ import annotations

import click

from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import json_option, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand


@click.command(cls=StrictCommand)
@json_option
@verbosity_options
@click.pass_obj
def models(console: Console, as_json: bool) -> None:
    """List the known pretrained models.

    Where each is, or how to get it, and its licence.

    \b
    Example:
      hifigan models
    """
    from hifigan_rt.errors import ModelNotFound
    from hifigan_rt.model.pretrained import KNOWN_MODELS, locate_pretrained

    rows = []
    for model in KNOWN_MODELS.values():
        path, missing = None, None
        try:
            path = str(locate_pretrained(model.name))
        except ModelNotFound as error:
            missing = str(error)
        rows.append(
            {"name": model.name, "summary": model.summary, "licence": model.licence, "path": path, "missing": missing}
        )
    if as_json:
        console.result(rows)
        return
    for row in rows:
        console.line(f"{row['name']}: {row['summary']}")
        console.line(f"  licence  {row['licence']}")
        console.line(f"  file     {row['path'] or row['missing']}")
