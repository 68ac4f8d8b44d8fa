"""What a listening test is: the part that the page carries, and the key that stays with the experimenter."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.listening_results import Mode, Role

FORMAT = 1

PAGE_NAME, KEY_NAME = "test.html", "key.json"

NO_HASH = "0" * 64
"""Stands in the page for its own hash while that is taken."""

REFERENCE = "reference"
"""The name of the recordings among the systems."""

MAX_PAGE_BYTES = 1 << 30

_BLOCK = re.compile(r'<script type="application/json" id="definition">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class PageClip:
    """What a listener's page knows of a clip."""

    id: str
    seconds: float
    reference: str
    """MUSHRA: the recording that is named as such, under an id of its own; else empty."""


@dataclass(frozen=True)
class Definition:
    """What the page carries. It holds nothing but opaque ids: neither systems nor files are named."""

    test_id: str
    page_sha256: str
    """Sha256 of the page with `NO_HASH` in this place."""
    mode: Mode
    title: str
    clips: tuple[PageClip, ...]
    stimuli: Mapping[str, str]
    """Stimulus to clip."""
    rows: tuple[tuple[str, ...], ...]
    """Stimuli. MOS: rated one after the other, one of each system; MUSHRA: rated together; ABX: a pair."""
    rows_per_listener: int
    training: tuple[tuple[str, ...], ...]
    """Rows to begin with, whose answers do not count."""

    def seconds_of(self, stimulus: str) -> float:
        return next(clip.seconds for clip in self.clips if clip.id == self.stimuli[stimulus])


@dataclass(frozen=True)
class Stimulus:
    """What a stimulus really is."""

    system: str
    role: Role
    clip: str
    """Its name in the data set."""
    gain_db: float
    """That made it as loud as the others."""


@dataclass(frozen=True)
class Key:
    """What tells systems from ids."""

    made: str
    seed: int
    """Seed of the choice of clips, ids and rows."""
    loudness_lufs: float
    """Loudness of every stimulus."""
    sample_rate: int
    systems: tuple[str, ...]
    """Systems in the order of tables."""
    stimuli: Mapping[str, Stimulus]
    definition: Definition
    notes: tuple[str, ...]
    """What was changed or left out."""


_KEY_FILE = records.RecordFile(Key, FORMAT, "key of a listening test", "hifigan listen make")
write_key = _KEY_FILE.write_json


def read_key(path: Path) -> Key:
    """Read what `write_key` wrote.

    Raises:
        DatasetError: the file is not there, or is something else.
    """
    key = _KEY_FILE.read_json(path)
    if set(key.stimuli) != set(key.definition.stimuli):
        raise DatasetError(f"{str(path)!r} names other stimuli than its own test: it was changed by hand")
    return key


def read_page(path: Path) -> tuple[bytes, Definition]:
    """A page as it is served, and the test that it carries.

    Raises:
        DatasetError: the file is not there, or no page of a listening test.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PAGE_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"page {str(path)!r} cannot be read: {error.strerror}") from error
    text = f"{str(path)!r} is no page of a listening test: give the {PAGE_NAME} that 'hifigan listen make' wrote"
    found = _BLOCK.search(content.decode("utf-8", "replace")) if len(content) <= MAX_PAGE_BYTES else None
    if found is None:
        raise DatasetError(text)
    try:
        definition: Definition = records.decoded(Definition, json.loads(found[1]))
    except (ValueError, TypeError, RecursionError) as error:
        raise DatasetError(text) from error
    return content, definition
