"""The files of a benchmark: the record as JSON, the tables as CSV and Markdown, pictures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_writer, readable, refuse_special
from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.benchmark.ais_bench_summary import ForeignFigures, merge
from hifigan_rt.tools.benchmark.csv_table import to_csv
from hifigan_rt.tools.benchmark.markdown import to_markdown
from hifigan_rt.tools.benchmark.pictures import PICTURE_NAMES, draw
from hifigan_rt.tools.benchmark.results import BenchmarkResult, write_json
from hifigan_rt.tools.bulk.output_folder import claimed_folder

JSON_NAME, CSV_NAME, MARKDOWN_NAME = "bench.json", "bench.csv", "bench.md"
NAMES = (JSON_NAME, CSV_NAME, MARKDOWN_NAME)
_ALL_NAMES = (*NAMES, *PICTURE_NAMES)


@contextlib.contextmanager
def prepared_folder(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Make the folder and see that it can be written to, before hours go into measuring; keep other runs out of it.

    Raises:
        OutputError: it cannot be written to, holds results that were not to be replaced, or another run is at work.
    """
    with claimed_folder(folder):
        there = [name for name in _ALL_NAMES if os.path.lexists(folder / name)]
        if there and not overwrite:
            raise OutputError(
                f"{str(folder)!r} holds {', '.join(there)} already: name another folder, or give --overwrite"
            )
        for name in _ALL_NAMES:
            refuse_special(folder / name)
        yield


def remove_tables(folder: Path) -> None:
    """Delete the tables and pictures of an earlier result, whose record was replaced: another may have fewer of them.

    Raises:
        OutputError: one could not be deleted.
    """
    for name in _ALL_NAMES[1:]:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{str(folder / name)!r} of an earlier result could not be deleted: {error.strerror}"
            ) from error


def with_foreign(result: BenchmarkResult, foreign: Sequence[ForeignFigures]) -> BenchmarkResult:
    """Put the figures of other machines beside those measured here."""
    for figures in foreign:
        result = merge(result, figures)
    return result


def write_results(result: BenchmarkResult, folder: Path, earlier: BenchmarkResult | None = None) -> list[Path]:
    """Write the tables and, where matplotlib is there, the pictures.

    Returns:
        The files, the record first.

    Raises:
        OutputError: one could not be written; those before it are whole.
    """
    write_json(result, folder / JSON_NAME)
    for name, text in ((CSV_NAME, to_csv(result)), (MARKDOWN_NAME, to_markdown(result, earlier))):
        with atomic_writer(folder / name) as file:
            file.write(readable(text).encode())
    pictures = draw(result, folder) if find_spec("matplotlib") is not None else []
    return [*(folder / name for name in NAMES), *pictures]


def no_pictures() -> str | None:
    """Why there are no pictures; None if there can be."""
    if find_spec("matplotlib") is not None:
        return None
    return f"no pictures without matplotlib: {how_to_get('plot')}"
