"""The scores that earlier runs left in a folder, so that a run can be resumed clip by clip and metric by metric.

A score is believed if it was computed of the same bytes by the same versions: of this package, and of those that the
metric needs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hifigan_rt.tools import records
from hifigan_rt.tools.bulk.json_lines import JsonLinesWriter, read_objects
from hifigan_rt.tools.evaluation.measuring import Measured, Task, encode
from hifigan_rt.tools.evaluation.metrics import METRICS
from hifigan_rt.tools.evaluation.signal_files import digest_of

NAME = "scores.jsonl"

_TITLE = "score file"


def identify(task: Task, version: str) -> str:
    """A digest of all that scores depend on, but not of which metrics are asked for."""
    digests = [path and digest_of(Path(path)) for path in (task.generated, task.reference, task.baseline)]
    mel = None if task.mel is None else task.mel.recorded()
    return hashlib.sha256(json.dumps([digests, mel, version]).encode()).hexdigest()[:32]


def read_scores(path: Path, packages: Mapping[str, str]) -> dict[str, Measured]:
    """Everything that is known, by identity; lines that are torn or not ours are passed over.

    Args:
        path: the file.
        packages: versions of what computes the metrics now; scores by others are passed over.

    Raises:
        OutputError: the file exists and cannot be read.
    """
    known: dict[str, Measured] = {}
    for values in read_objects(path, _TITLE):
        entry = _parse(values, packages)
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

    def __init__(self, path: Path, packages: Mapping[str, str]) -> None:
        super().__init__(path, _TITLE)
        self._packages = dict(packages)

    def append(self, identity: str, measured: Measured) -> None:
        self.append_object({"identity": identity, "packages": self._packages, "measured": encode(measured)})


def _parse(values: dict[str, Any] | None, packages: Mapping[str, str]) -> tuple[str, Measured] | None:
    try:
        identity, measured = (values or {})["identity"], records.decoded(Measured, (values or {})["measured"])
        then = dict((values or {}).get("packages", {}))
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(identity, str):
        return None
    scores = {key: score for key, score in measured.scores.items() if _by_these(key, then, packages)}
    return identity, dataclasses.replace(measured, scores=scores)


def _by_these(key: str, then: Mapping[str, Any], now: Mapping[str, str]) -> bool:
    return key in METRICS and all(then.get(name) == now.get(name) for name in METRICS[key].packages)
