"""What a listening test found, as plain records; `EvaluationResult.listening` holds one per mode, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.statistics import Interval

FORMAT = 1

Mode = Literal["mos", "mushra", "abx"]

Role = Literal["system", "reference", "anchor"]


@dataclass(frozen=True)
class SystemRating:
    """MOS or MUSHRA: what listeners gave a system."""

    system: str
    role: Role
    interval: Interval
    """Interval of the listeners' means; Student's t, or none where all are equal."""
    median: float
    """Median of all ratings, as are the quartiles."""
    lower_quartile: float
    upper_quartile: float
    ratings: int


@dataclass(frozen=True)
class PairedTest:
    """MOS or MUSHRA: the second system's ratings minus the first's, by the same listeners."""

    first: str
    second: str
    difference: Interval
    """Interval of the listeners' mean differences, likewise."""
    p_value: float
    """Two-sided paired t test; NaN with fewer than two listeners, or equal differences."""
    p_holm: float
    """p-value after Holm's correction for all pairs of this test."""
    resolved: bool
    """p_holm < 0.05."""


@dataclass(frozen=True)
class AbxCount:
    listener: str
    correct: int
    trials: int
    p_value: float


@dataclass(frozen=True)
class AbxScore:
    """ABX: how often X was matched to the right one of a pair."""

    first: str
    second: str
    correct: int
    trials: int
    low: float
    """95 % interval of the share of correct answers (Clopper and Pearson, exact)."""
    high: float
    p_value: float
    """Exact binomial: how likely guessing gives at least as many."""
    p_holm: float
    resolved: bool
    """p_holm < 0.05: the two can be told apart."""
    listeners: tuple[AbxCount, ...]


@dataclass(frozen=True)
class Exclusion:
    name: str
    """Name of a file, or of a listener."""
    reason: str


@dataclass(frozen=True)
class ListeningResult:
    """A whole listening test, scored."""

    mode: Mode
    title: str
    test_id: str
    date: str
    listeners: int
    """Whose answers count."""
    clips: int
    ratings: tuple[SystemRating, ...]
    """MOS and MUSHRA, in the order of the systems."""
    tests: tuple[PairedTest, ...]
    abx: tuple[AbxScore, ...]
    screened: tuple[Exclusion, ...]
    """Listeners whose answers do not count."""
    rejected: tuple[Exclusion, ...]
    """Files that could not be used."""
    sentences: tuple[str, ...]
    """What it means, in plain words."""
    notes: tuple[str, ...]
    contested: tuple[Exclusion, ...] = ()
    """Codes under which different answers came, none of which counts."""


to_json = records.RecordFile(ListeningResult, FORMAT, "listening test", "hifigan listen score").to_json


def from_json(content: Mapping[str, Any]) -> ListeningResult:
    """The inverse of `to_json`.

    Raises:
        DatasetError: it is something else.
    """
    try:
        fields = dict(content)
        if fields.pop("format") == FORMAT:
            result: ListeningResult = records.decoded(ListeningResult, fields)
            return result
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"the report's listening test is not what 'hifigan listen score' writes: {error}") from error
    raise DatasetError(f"the report's listening test is not in format {FORMAT}: score it again")
