"""`hifigan listen serve`: gives a listening test to browsers, and keeps the answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hifigan_rt.tools.cli.options import verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.cli.console import Console


@click.command(cls=StrictCommand)
@click.argument("page", type=click.Path(path_type=Path))
@click.option(
    "--results", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Gets a file per listener."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in: see the manual.")
@click.option("--port", type=click.IntRange(0, 65535), default=8200, show_default=True, help="0 takes a free one.")
@verbosity_options
@click.pass_obj
def serve(console: Console, page: Path, results: Path, host: str, port: int) -> int:
    """Give PAGE, a test.html of 'hifigan listen make', to browsers, and keep what listeners answer. Ctrl-C ends it.

    \b
    Example:
      hifigan listen serve test/test.html --results answers
    """
    from hifigan_rt.system.machine import is_loopback
    from hifigan_rt.tools.listening.collecting import Collector

    def tell(path: Path) -> None:
        console.note(f"kept {path}")

    with Collector(page, results, host=host, port=port, on_result=tell) as collector:
        console.note(f"the test is at {collector.url}; answers go to {str(results)!r}")
        if not is_loopback(host):
            console.note("note: whoever reaches this address can take the test: there is no password, no encryption")
        try:
            collector.serve()
        except KeyboardInterrupt:
            console.note("ended")
    return 0
