"""Adds a scored test to the report of an evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hifigan_rt.system.folder_lock import locked_folder
from hifigan_rt.tools.bulk.output_folder import refuse_linked_folders
from hifigan_rt.tools.evaluation.listening_results import ListeningResult, to_json
from hifigan_rt.tools.evaluation.output import write_results
from hifigan_rt.tools.evaluation.results import JSON_NAME, read_json
from hifigan_rt.tools.evaluation.sounds import CLIPS_FOLDER


def add_to_report(result: ListeningResult, folder: Path) -> list[Path]:
    """Put a result into the report of an evaluation, in the place of an earlier one of the same mode.

    Args:
        result: of the test.
        folder: what `hifigan eval -o` wrote.

    Returns:
        The files that were written.

    Raises:
        DatasetError: there is no report.
        OutputError: a file could not be written, or another run is at work in the folder.
    """
    read_json(folder / JSON_NAME)  # no lock is left where there is no report
    with locked_folder(folder):
        evaluation = read_json(folder / JSON_NAME)
        refuse_linked_folders(folder, [folder / CLIPS_FOLDER])
        listening = dict(evaluation.listening or {}) | {result.mode: to_json(result)}
        return write_results(replace(evaluation, listening=listening), folder)
