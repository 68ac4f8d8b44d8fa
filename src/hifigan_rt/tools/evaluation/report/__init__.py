"""The report of an evaluation: one HTML file that people look at and listen to."""

from __future__ import annotations

from pathlib import Path

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.tools.evaluation.report.page import render
from hifigan_rt.tools.evaluation.report.payloads import (
    CLIPS_FOLDER,
    embedded_clips,
    payload,
    remove_unused,
    write_script,
)
from hifigan_rt.tools.evaluation.results import EvaluationResult

__all__ = ["HTML_NAME", "write_report"]

HTML_NAME = "report.html"


def write_report(result: EvaluationResult, folder: Path) -> Path:
    """Write the page of a result, and scripts with the sound of the clips that do not go into it.

    Needs Jinja2. Audio that a path of the result names and that cannot be read is left out, and the page says why.

    Args:
        result: what was found; its paths of audio are relative to `folder`.
        folder: where `report.html` goes, and `clips/` if there are more clips than the page holds.

    Returns:
        The path of the page.

    Raises:
        OutputError: a file could not be written.
    """
    chosen = embedded_clips(result)
    embedded = {index: payload(result, index, folder) for index in chosen}
    linked = {}
    others = [index for index in range(len(result.clips)) if index not in embedded]
    if others:
        try:
            (folder / CLIPS_FOLDER).mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{str(folder / CLIPS_FOLDER)!r} cannot be made: {error.strerror}") from error
    for index in others:
        linked[index] = write_script(payload(result, index, folder), folder)
    path = folder / HTML_NAME
    with atomic_writer(path) as file:
        file.write(render(result, embedded, linked).encode())
    remove_unused(folder, set(linked.values()))
    return path
