"""The scores that earlier runs left in a folder, so that a run can be resumed clip by clip and metric by metric."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from hifigan_rt.tools import records
from hifigan_rt.tools.bulk.json_lines import JsonLinesWriter, read_objects
from hifigan_rt.tools.evaluation.measuring import Measured, Task, encode
from hifigan_rt.tools.evaluation.signal_files import digest_of

NAME = "scores.jsonl"

_TITLE = "score file"


def identify(task: Task, version: str) -> str:
    """A digest of all that scores depend on, but not of which metrics are asked for."""
    digests = [path and digest_of(Path(path)) for path in (task.generated, task.reference, task.baseline)]
    mel = None if task.mel is None else dataclasses.asdict(task.mel)
    return hashlib.sha256(json.dumps([digests, mel, version]).encode()).hexdigest()[:32]


def read_scores(path: Path) -> dict[str, Measured]:
    """Everything that is known, by identity; lines that are torn or not ours are passed over.

    Raises:
        OutputError: the file exists and cannot be read.
    """
    known: dict[str, Measured] = {}
    for values in read_objects(path, _TITLE):
        entry = _parse(values)
        if entry is not None:
            identity, measured = entry
            known[identity] = merged(known.get(identity), measured)
    return known


def merged(earlier: Measured | None, later: Measured) -> Measured:
    """Join both runs' metrics; the rest is as the later run found it."""
    if earlier is None:
        return later
    return dataclasses.replace(later, scores={**earlier.scores, **later.scores})


class ScoreWriter(JsonLinesWriter):
    """Appends to the file.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TITLE)

    def append(self, identity: str, measured: Measured) -> None:
        self.append_object({"identity": identity, "measured": encode(measured)})


def _parse(values: dict[str, Any] | None) -> tuple[str, Measured] | None:
    try:
        identity, measured = (values or {})["identity"], records.decoded(Measured, (values or {})["measured"])
    except (KeyError, TypeError, ValueError):
        return None
    return (identity, measured) if isinstance(identity, str) else None
