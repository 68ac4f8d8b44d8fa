"""`hifigan listen score`: what listeners' answers say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hifigan_rt.tools.cli.options import json_option, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.cli.console import Console
    from hifigan_rt.tools.evaluation.listening_results import ListeningResult


@click.command(cls=StrictCommand)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key", "key_path", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="The key.json of 'hifigan listen make'.",
)  # fmt: skip
@click.option("--keep-screened", is_flag=True, help="Count listeners too whom the screening would leave out.")
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), metavar="FILE", help="Write every answer, one a row."
)
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Add the result to the report.json and report.html of 'hifigan eval'.",
)  # fmt: skip
@json_option
@verbosity_options
@click.pass_obj
def score(
    console: Console,
    results: tuple[Path, ...],
    key_path: Path,
    keep_screened: bool,
    csv_path: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Score the answers in RESULTS: files, or folders of them.

    The exit status is 1 if a file could not be used; the scores are then of the others.

    \b
    Example:
      hifigan listen score answers --key test/key.json --report report
    """
    from hifigan_rt.system.files import atomic_writer
    from hifigan_rt.tools.evaluation.listening_results import to_json
    from hifigan_rt.tools.evaluation.statistics import require_scipy
    from hifigan_rt.tools.listening.definition import read_key
    from hifigan_rt.tools.listening.output import add_to_report
    from hifigan_rt.tools.listening.reading import read_all
    from hifigan_rt.tools.listening.scoring import score as score_test
    from hifigan_rt.tools.listening.tables import to_csv, to_text

    require_scipy("scoring")
    key = read_key(key_path)
    if csv_path is not None:
        _check_csv(csv_path, key_path, results, report)
    read = read_all(results, key.definition)
    result = score_test(
        read.submissions, read.rejected, key, contested=read.contested, notes=read.notes, keep_screened=keep_screened
    )
    if as_json:
        console.result(to_json(result))
    elif console.verbosity >= 0:
        console.line(to_text(result).rstrip())
    if csv_path is not None:
        with atomic_writer(csv_path) as file:
            file.write(to_csv(read.submissions, key).encode())
    if report is not None:
        names = [path.name for path in add_to_report(result, report)]
        console.note(f"in {str(report)!r}: {', '.join(names)}")
    _tell_exclusions(console, result, read.files, keep_screened=keep_screened)
    return 1 if read.rejected else 0


def _check_csv(csv_path: Path, key_path: Path, results: Sequence[Path], report: Path | None) -> None:
    """Check that the table replaces nothing that is read or written here: answers and key exist once.

    Raises:
        OutputError: it would.
    """
    from hifigan_rt.errors import OutputError
    from hifigan_rt.tools.evaluation.output import FILE_NAMES
    from hifigan_rt.tools.listening.reading import result_paths
    from hifigan_rt.tools.listening.receipts import RECEIPTS_NAME

    if not csv_path.exists():
        return
    paths = result_paths(results)
    receipts = {path.parent / RECEIPTS_NAME for path in paths}
    reported = [] if report is None else [report / name for name in FILE_NAMES]
    for path in (key_path, *paths, *receipts, *reported):
        if path.exists() and path.samefile(csv_path):
            raise OutputError(
                f"--csv {str(csv_path)!r} would replace {str(path)!r}, which this command reads or writes itself: "
                "name another file"
            )


def _tell_exclusions(console: Console, result: ListeningResult, files: int, *, keep_screened: bool) -> None:
    console.notes(result.notes)
    left: Sequence[str] = [f"{entry.name} {entry.reason}" for entry in result.screened]
    for text in left:
        console.note(f"{'screened, but kept' if keep_screened else 'left out by screening'}: listener {text}")
    console.failures([(entry.name, entry.reason) for entry in result.rejected], None)
    if result.rejected:
        console.note(f"{len(result.rejected)} of {files} files could not be used")
