"""The files of an evaluation: the record as JSON, a row per clip as CSV, the page."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

from hifigan_rt.system.files import atomic_writer
from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.evaluation.report import HTML_NAME, write_report
from hifigan_rt.tools.evaluation.results import JSON_NAME, EvaluationResult, write_json
from hifigan_rt.tools.tables import comma_separated

CSV_NAME = "clips.csv"
FILE_NAMES = (JSON_NAME, CSV_NAME, HTML_NAME)


def write_results(result: EvaluationResult, folder: Path) -> list[Path]:
    """Write everything that can be written here.

    Returns:
        The files, the record first.

    Raises:
        OutputError: one could not be written; those before it are whole.
    """
    write_json(result, folder / JSON_NAME)
    with atomic_writer(folder / CSV_NAME) as file:
        file.write(to_csv(result).encode())
    page = [write_report(result, folder)] if importlib.util.find_spec("jinja2") is not None else []
    return [folder / JSON_NAME, folder / CSV_NAME, *page]


def no_page() -> str | None:
    """Why there is no page; None if there can be."""
    if importlib.util.find_spec("jinja2") is not None:
        return None
    return f"no page without jinja2: {how_to_get('eval')}"


def to_csv(result: EvaluationResult) -> str:
    """One row per system and clip, failed ones too.

    Returns:
        A header and rows, lines ended by a line feed; unrounded numbers, empty where there is none, inf for identical
        signals.
    """
    keys = [metric.key for metric in result.metrics]
    rows = []
    for row in result.scores:
        values = [row.scores[key].value if key in row.scores else math.nan for key in keys]
        rows.append([row.clip, row.system, row.seconds, row.audio, row.failed, *values, "; ".join(row.notes)])
    return comma_separated(["clip", "system", "seconds", "audio", "failed", *keys, "notes"], rows)
