"""The group of all commands."""

from __future__ import annotations

import click

from hifigan_rt.tools.cli.lazy import LazyGroup
from hifigan_rt.tools.cli.options import verbosity_options


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import hifigan_rt

        click.echo(f"hifigan-rt {hifigan_rt.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    names=("synth", "speak", "mel", "export", "info", "models", "bench", "eval", "listen", "serve", "engines"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
@verbosity_options
def hifigan() -> None:
    """Take a HiFi-GAN checkpoint to production, without PyTorch.

    \b
    Example:
      hifigan synth recordings/ --model ljspeech-v1 -o out/
    """
