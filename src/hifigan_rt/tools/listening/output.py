"""Finds result files, and adds a scored test to the report of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.datasets import is_folder
from hifigan_rt.tools.evaluation.listening_results import ListeningResult, to_json
from hifigan_rt.tools.evaluation.output import write_results
from hifigan_rt.tools.evaluation.results import JSON_NAME, read_json


def find_results(names: Sequence[Path]) -> list[Path]:
    """The files that are named, and the .json files of folders that are named; each once.

    Raises:
        DatasetError: a folder holds none, or cannot be read.
    """
    found: dict[Path, None] = {}
    for name in names:
        if not is_folder(name):
            found[name] = None
            continue
        try:
            inside = sorted(path for path in name.iterdir() if path.suffix == ".json")
        except OSError as error:
            raise DatasetError(f"folder {str(name)!r} cannot be read: {error.strerror}") from error
        if not inside:
            raise DatasetError(f"folder {str(name)!r} holds no .json file: listeners' results go there")
        found |= dict.fromkeys(inside)
    return list(found)


def add_to_report(result: ListeningResult, folder: Path) -> list[Path]:
    """Put a result into the report of an evaluation, in the place of an earlier one of the same mode.

    Args:
        result: of the test.
        folder: what `hifigan eval -o` wrote.

    Returns:
        The files that were written.

    Raises:
        DatasetError: there is no report.
        OutputError: a file could not be written.
    """
    evaluation = read_json(folder / JSON_NAME)
    listening = dict(evaluation.listening or {}) | {result.mode: to_json(result)}
    return write_results(replace(evaluation, listening=listening), folder)
