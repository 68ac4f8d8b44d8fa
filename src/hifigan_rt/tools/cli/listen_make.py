"""`hifigan listen make`: the page of a listening test, and the key to it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import json_option, parse_settings, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.listening.making import ListeningTest
    from hifigan_rt.tools.listening.material import Material

_LARGE_PAGE_BYTES = 100 << 20
"""Size beyond which browsers take long to open a page."""


def _systems(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """NAME=FOLDER, each name once."""
    return {name: Path(folder) for name, folder in parse_settings(ctx, parameter, values).items()}


@click.command(cls=StrictCommand)
@click.argument("report", required=False, type=click.Path(path_type=Path))
@click.option(
    "--system", "systems", shell_complete=completion.files, multiple=True, callback=_systems, metavar="NAME=FOLDER",
    help="Instead of REPORT: audio that a system made; may be given again.",
)  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path), metavar="FOLDER", help="The recordings, with --system.")
@click.option(
    "--mode", required=True, type=click.Choice(["mos", "mushra", "abx"]),
    help="Rate each alone (mos), compare all with the reference (mushra), tell two apart (abx).",
)  # fmt: skip
@click.option("--title", default="Listening test", show_default=True, help="Listeners see it: name no system.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only N clips, drawn at random.")
@click.option(
    "--repeats", type=click.IntRange(1, 100), metavar="N",
    help="abx: of each pair of recordings [default: for 16 trials of each two systems].",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(min=1), metavar="N",
    help="For each listener only N rows, drawn at random: mos: of one recording of each system; mushra and abx: "
    "trials [default: all].",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, (1 << 64) - 1), help="Of the draw, the ids and the rows [default: a secret one]."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="Gets test.html, for listeners, and key.json, which they must not have.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a test that is there.")
@json_option
@verbosity_options
@click.pass_obj
def make(console: Console, /, **values: Any) -> int:
    """Make a blind listening test of what REPORT compares, or of folders.

    REPORT is a folder that 'hifigan eval -o' wrote. The page is one file that works without a server; it names no
    system. All recordings are made equally loud.

    \b
    Examples:
      hifigan listen make report --mode mos --limit 20 -o test
      hifigan listen make --system v1=out-v1 --system v3=out-v3 --reference recordings --mode mushra -o test
    """
    from hifigan_rt.tools.bulk.output_folder import claimed_folder
    from hifigan_rt.tools.evaluation.statistics import require_scipy
    from hifigan_rt.tools.listening.making import Request
    from hifigan_rt.tools.listening.making import make as make_test

    require_scipy("a listening test")
    seed = secrets.randbits(64) if values["seed"] is None else values["seed"]
    request = Request(values["mode"], values["title"], seed, values["rows"], values["repeats"])
    with claimed_folder(values["output"]):
        _refuse_replacing(values["output"], overwrite=values["overwrite"])
        with console.waiting("listening test"):
            made = make_test(_material(values, seed), request)
        _write(made, values["output"])
    _tell(console, made, values["output"], as_json=values["as_json"])
    return 0


def _material(values: dict[str, Any], seed: int) -> Material:
    from hifigan_rt.tools.listening.material import from_folders, from_report

    if (values["report"] is None) == (not values["systems"]):
        raise click.UsageError("give either REPORT, a folder of 'hifigan eval', or --system NAME=FOLDER")
    if values["report"] is None:
        return from_folders(values["systems"], values["reference"], values["limit"], seed)
    if values["reference"] is not None:
        raise click.UsageError("--reference goes with --system: a report knows its recordings")
    return from_report(values["report"], values["limit"], seed)


def _refuse_replacing(folder: Path, *, overwrite: bool) -> None:
    from hifigan_rt.errors import OutputError
    from hifigan_rt.system.files import refuse_special
    from hifigan_rt.tools.listening.definition import KEY_NAME, PAGE_NAME

    for name in (PAGE_NAME, KEY_NAME):
        refuse_special(folder / name)
    there = [name for name in (PAGE_NAME, KEY_NAME) if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise OutputError(
            f"{str(folder)!r} holds {' and '.join(there)} already, and without its key no answer to a test can be "
            "scored: name another folder, or give --overwrite"
        )


def _write(made: ListeningTest, folder: Path) -> None:
    from hifigan_rt.system.files import atomic_paths
    from hifigan_rt.tools.listening.definition import KEY_NAME, PAGE_NAME, write_key

    # Together: a page with the key of another is worth nothing.
    with atomic_paths([folder / PAGE_NAME, folder / KEY_NAME]) as workplace:
        (workplace / PAGE_NAME).write_bytes(made.page)
        write_key(made.key, workplace / KEY_NAME)


def _tell(console: Console, made: ListeningTest, folder: Path, *, as_json: bool) -> None:
    from hifigan_rt.tools.listening.definition import KEY_NAME, PAGE_NAME
    from hifigan_rt.tools.listening.schedule import schedule
    from hifigan_rt.tools.tables import counted

    key, definition = made.key, made.key.definition
    trials = len(schedule(definition, "x"))
    if as_json:
        console.result(
            {
                "page": str(folder / PAGE_NAME), "key": str(folder / KEY_NAME), "test_id": definition.test_id,
                "mode": definition.mode, "bytes": len(made.page), "clips": len(definition.clips),
                "systems": list(key.systems), "trials_per_listener": trials, "loudness_lufs": key.loudness_lufs,
                "seed": key.seed, "notes": list(key.notes),
            }
        )  # fmt: skip
    elif console.verbosity >= 0:
        console.line(
            f"{definition.mode} of {', '.join(key.systems)}: {counted(len(definition.clips), 'clip')}, "
            f"{counted(trials, 'trial')} for each listener, all at {key.loudness_lufs:.1f} LUFS"
        )
        console.line(f"{folder / PAGE_NAME} ({len(made.page) / 1e6:.1f} MB): give it to listeners")
        console.line(f"{folder / KEY_NAME}: keep it, it tells which system is which")
    console.notes(key.notes)
    if len(made.page) > _LARGE_PAGE_BYTES:
        console.note("note: the page is large, and browsers will be slow with it: --limit takes fewer clips")
