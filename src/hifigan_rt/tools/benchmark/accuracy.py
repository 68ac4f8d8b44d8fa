"""The accuracy that an evaluation found, for the table's column of that name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifigan_rt.errors import DatasetError


@dataclass(frozen=True)
class Accuracy:
    """Accuracy that a report of an evaluation states: that of its first system."""

    text: str
    """Line of text, its top-level key "accuracy"."""
    engine: str = ""
    precision: str = ""
    """Precision as executed; both are empty if the report does not tell, as of a folder of audio."""
    model: str = ""
    """Model, or folder of audio, as the report names it."""

    def note(self, model: str) -> str:
        """Say whose it is, in a benchmark of a model."""
        if not self.engine:
            whose = f"of the audio of {self.model!r}" if self.model else "of a report"
            return f"accuracy: {whose}, which does not tell what made it; the table shows it for every row"
        other = "" if self.model == Path(model).name else f", not of {Path(model).name!r}"
        return f"accuracy: of model {self.model!r}{other} on {self.engine} {self.precision}; other rows show their SNR"


def read_accuracy(path: Path) -> Accuracy:
    """Read the accuracy of an evaluation report.

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
    systems = content.get("systems")
    first: Any = systems[0] if isinstance(systems, list) and systems and isinstance(systems[0], dict) else {}
    facts = {key: str(first.get(key, "")) for key in ("engine", "precision", "model")}
    return Accuracy(" ".join(accuracy.split()), **facts)
