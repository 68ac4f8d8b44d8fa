"""The accuracy that an evaluation found, for the table's column of that name."""

from __future__ import annotations

import json
from pathlib import Path

from hifigan_rt.errors import DatasetError


def read_accuracy(path: Path) -> str:
    """Read one line of text from an evaluation report: its top-level key "accuracy".

    Raises:
        DatasetError: the file is not there, or is no such report.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"evaluation report {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"evaluation report {str(path)!r} is no JSON: {error}") from error
    accuracy = content.get("accuracy") if isinstance(content, dict) else None
    if not isinstance(accuracy, str) or not accuracy.strip():
        raise DatasetError(
            f'{str(path)!r} has no text under "accuracy", as the JSON report of an evaluation has: '
            "give such a report, or none to show the SNR"
        )
    return " ".join(accuracy.split())
