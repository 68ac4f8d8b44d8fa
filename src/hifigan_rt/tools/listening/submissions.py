"""Checks what a listener sent, and believes none of it: a result counts whole or not at all, with the reason told.

Whoever sends a result writes all its fields, so none of them decides which of several results counts (`reading.py`).
Here each is held against the test, and the times against each other: what the page cannot have measured is refused.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.listening.definition import Definition
from hifigan_rt.tools.listening.schedule import Trial, schedule, seed_of

KIND = "hifigan-listening"
FORMAT = 1

MAX_BYTES = 4 << 20
"""A test of 1000 trials has 300 kB."""

_SPARE_BYTES = 128 << 10
_STIMULUS_BYTES = 1536

RANGES = {"mos": (1, 5), "mushra": (0, 100)}

MAX_SECONDS = 30 * 24 * 3600.0

CLOCK_SKEW = datetime.timedelta(minutes=5)
"""Lead of a listener's clock over the clock here that passes for inexact."""

_LISTENER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_KEYS = {
    "format", "kind", "test_id", "page_sha256", "mode", "listener", "seed", "output", "started", "finished", "trials",
}  # fmt: skip
_TRIAL_KEYS = {"order", "x", "ratings", "answer", "heard_seconds", "seconds"}

_LEAST_SECONDS = 1.0
_CLOCK_SECONDS = 0.25
"""What the page asks to be heard, and the steps that a browser's audio clock may make."""
_CLOCK_SHARE = 0.02
"""Difference between the speeds of two clocks of one machine, of which one is its sound card's."""


@dataclass(frozen=True)
class Answer:
    """One trial as it was answered."""

    trial: Trial
    ratings: Mapping[str, int]
    """MOS and MUSHRA: by stimulus."""
    correct: bool
    """ABX."""
    side: int
    """ABX: 0 if the answer was A, 1 if B."""
    seconds: float


@dataclass(frozen=True)
class Submission:
    """All answers of a listener."""

    listener: str
    output: str
    answers: tuple[Answer, ...]

    @property
    def choices(self) -> str:
        """Digest of what was answered, whatever the times; 64 hexadecimal digits."""
        values = [[answer.side, *map(answer.ratings.get, answer.trial.order)] for answer in self.answers]
        return hashlib.sha256(json.dumps([self.listener, values]).encode()).hexdigest()


def most_bytes(definition: Definition) -> int:
    """Maximum size of a result of this test: some four times what the page writes, so that forged ones cost little."""
    stimuli = definition.rows_per_listener * max(map(len, definition.rows), default=0)
    return min(MAX_BYTES, _SPARE_BYTES + _STIMULUS_BYTES * stimuli)


def parse(content: bytes, definition: Definition, there: datetime.datetime | None = None) -> Submission:
    """Check one result against the test that it claims to answer.

    Args:
        content: the file.
        definition: of the test.
        there: a time at which the result was there, with its zone; by default now.

    Raises:
        EvaluationError: it is not a whole, untouched result of this test; the text says what is wrong.
    """
    record = _json_of(content, most_bytes(definition))
    _expect(isinstance(record, dict) and record.get("kind") == KIND, "it is no result of a listening test")
    _expect(record.get("format") == FORMAT, f"it has format {_shown(record.get('format'))}, and {FORMAT} is read here")
    _expect(
        record.get("test_id") == definition.test_id,
        f"it answers another test: {_shown(record.get('test_id'))} instead of {definition.test_id!r}",
    )
    _expect(
        record.get("page_sha256") == definition.page_sha256 and record.get("mode") == definition.mode,
        "it was made with another page than this test's: the page was changed, or made anew",
    )
    _expect(set(record) == _KEYS, f"its fields are not those that the page writes: {_difference(record, _KEYS)}")
    listener = record["listener"]
    _expect(
        isinstance(listener, str) and _LISTENER.fullmatch(listener) is not None,
        f"listener {_shown(listener)} is no listener's code",
    )
    seed = seed_of(definition.test_id, listener)
    _expect(
        record["seed"] == seed and not isinstance(record["seed"], bool),
        f"seed {_shown(record['seed'])} is not listener {listener!r}'s: the code or the seed was changed",
    )
    output = record["output"]
    _expect(output in ("headphones", "loudspeakers"), f"output {_shown(output)} is neither headphones nor loudspeakers")
    answers = _answers_of(record["trials"], definition, listener)
    _check_times(record, sum(answer.seconds for answer in answers), there or datetime.datetime.now(datetime.UTC))
    return Submission(listener, output, answers)


def _check_times(record: Mapping[str, Any], seconds: float, there: datetime.datetime) -> None:
    started, finished = _time_of(record["started"]), _time_of(record["finished"])
    _expect(started <= finished, f"it was finished at {record['finished']} and begun later, at {record['started']}")
    elapsed = (finished - started).total_seconds()
    _expect(
        _fits(seconds, elapsed),
        f"its trials took {seconds:g} s, and from its begin to its end there are {elapsed:g} s: it was changed",
    )
    _expect(
        finished - there <= CLOCK_SKEW,
        f"it was finished at {record['finished']}, and was there at {there.isoformat(timespec='seconds')} already: "
        "one of the two clocks is wrong, or the file was changed",
    )


def _answers_of(records: Any, definition: Definition, listener: str) -> tuple[Answer, ...]:
    trials = schedule(definition, listener)
    _expect(isinstance(records, list), f"its trials are no list but {_shown(records)}")
    _expect(len(records) >= len(trials), f"it is incomplete: {len(records)} of {len(trials)} trials were answered")
    _expect(len(records) == len(trials), f"it has {len(records)} trials, and the test has {len(trials)}")
    answers = []
    for number, (record, trial) in enumerate(zip(records, trials, strict=True), start=1):
        try:
            answers.append(_answer_of(record, trial, definition))
        except EvaluationError as error:
            raise EvaluationError(f"trial {number}: {error}") from error
    return tuple(answers)


def _answer_of(record: Any, trial: Trial, definition: Definition) -> Answer:
    _expect(
        isinstance(record, dict) and set(record) == _TRIAL_KEYS,
        f"its fields are not those that the page writes: {_difference(record, _TRIAL_KEYS)}",
    )
    order = record["order"]
    unknown = [entry for entry in order if entry not in definition.stimuli] if _is_texts(order) else [order]
    _expect(not unknown, f"stimulus {_shown(unknown[:1][0] if unknown else None)} is not of this test")
    _expect(
        tuple(order) == trial.order and record["x"] == trial.x,
        "its stimuli are not those that this listener got here: the file was changed",
    )
    seconds = _number(record["seconds"], "seconds")
    heard = _heard_seconds(record["heard_seconds"], trial, definition)
    _expect(_fits(heard, seconds), f"{heard:g} s were heard in {seconds:g} s, and the page plays one after the other")
    ratings = record["ratings"]
    _expect(isinstance(ratings, dict), f"its ratings are {_shown(ratings)}")
    if definition.mode == "abx":
        _expect(ratings == {}, "it has ratings, which ABX has not")
        _expect(
            isinstance(record["answer"], str) and record["answer"] in trial.order,
            f"answer {_shown(record['answer'])} is neither A nor B",
        )
        return Answer(trial, {}, record["answer"] == trial.x, trial.order.index(record["answer"]), seconds)
    _expect(record["answer"] == "", f"answer {_shown(record['answer'])} is given, and only ABX has one")
    _expect(
        set(ratings) == set(trial.order),
        f"its ratings are not of its stimuli: {_difference(ratings, set(trial.order))}",
    )
    low, high = RANGES[definition.mode]
    for stimulus, value in ratings.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        _expect(
            whole and low <= value <= high,
            f"rating {_shown(value)} of {stimulus!r} is not a whole number from {low} to {high}",
        )
    return Answer(trial, ratings, correct=False, side=0, seconds=seconds)


def _heard_seconds(heard: Any, trial: Trial, definition: Definition) -> float:
    """Seconds that all recordings of a trial were heard together."""
    clip = next(entry for entry in definition.clips if entry.id == definition.stimuli[trial.order[0]])
    names = {"mos": set(trial.order), "mushra": {*trial.order, clip.reference}, "abx": {"A", "B", "X"}}[definition.mode]
    _expect(
        isinstance(heard, dict) and set(heard) == names, f"heard_seconds are not of its recordings: {_shown(heard)}"
    )
    least = clip.seconds if definition.mode == "mos" else min(_LEAST_SECONDS, clip.seconds)
    total = 0.0
    for name, value in heard.items():
        seconds = _number(value, f"heard_seconds of {name!r}")
        _expect(
            seconds >= least - _CLOCK_SECONDS,
            f"{name!r} was heard for {seconds:g} s of at least {least:g} s, which the page does not let pass",
        )
        total += seconds
    return total


def _fits(part: float, whole: float) -> bool:
    """Whether what took `part` seconds can lie within `whole` seconds, each after a clock of its own."""
    return part * (1 - _CLOCK_SHARE) - _CLOCK_SECONDS <= whole


def _number(value: Any, what: str) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS
    _expect(fits, f"{what} {_shown(value)} is no time")
    return float(value)


def _time_of(text: Any) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{_shown(text)} is no date and time") from error
    _expect(time.tzinfo is not None, f"{_shown(text)} is no date and time of a known zone")
    return time


def _json_of(content: bytes, most: int) -> Any:
    if len(content) > most:
        raise EvaluationError(f"it is larger than {most} bytes: that is no result of this test")
    try:
        return json.loads(content, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"it is no JSON that the page could have written: {error}") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a field occurs twice")
    return dict(pairs)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _difference(record: Any, wanted: set[str]) -> str:
    if not isinstance(record, dict):
        return _shown(record)
    missing, more = sorted(wanted - set(record)), sorted(set(record) - wanted)
    return ", ".join(
        [f"{_shown(name)} is missing" for name in missing[:3]] + [f"{_shown(name)} is new" for name in more[:3]]
    )


def _shown(value: Any) -> str:
    """Whatever it is, short and on one line."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # A whole number of thousands of digits is refused by repr itself.
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return "a number of more than 38 digits"
    text = ascii(value) if not isinstance(value, (list, dict)) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EvaluationError(otherwise)
