"""Adds a scored test to the report of an evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hifigan_rt.tools.evaluation.listening_results import ListeningResult, to_json
from hifigan_rt.tools.evaluation.output import write_results
from hifigan_rt.tools.evaluation.results import JSON_NAME, read_json


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
