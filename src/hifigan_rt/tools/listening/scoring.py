"""What the answers of a listening test say: MOS, MUSHRA and ABX."""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.evaluation.listening_results import (
    AbxCount,
    AbxScore,
    Exclusion,
    ListeningResult,
    Mode,
    PairedTest,
    SystemRating,
)
from hifigan_rt.tools.evaluation.numbers import p_text
from hifigan_rt.tools.evaluation.statistics import (
    binomial_interval,
    binomial_p_value,
    holm,
    mean_interval,
    paired_t_p_value,
)
from hifigan_rt.tools.listening.definition import Key
from hifigan_rt.tools.listening.screening import screen
from hifigan_rt.tools.listening.submissions import RANGES, Submission

LEVEL = 0.05
"""A difference is resolved below it, after Holm's correction."""

LEAST_LISTENERS = 15
"""Least number that lets intervals tell vocoders of one generation apart (docs/listening-tests.md)."""


def score(
    submissions: Sequence[Submission],
    rejected: Sequence[Exclusion],
    key: Key,
    *,
    contested: Sequence[Exclusion] = (),
    notes: Sequence[str] = (),
    keep_screened: bool = False,
) -> ListeningResult:
    """Score a test.

    Args:
        submissions: one per listener.
        rejected: files that could not be used, for the record.
        key: of the test.
        contested: codes under which different answers came, for the record.
        notes: what else is to be said of the results.
        keep_screened: count listeners that the screening would leave out; they are named nevertheless.

    Raises:
        EvaluationError: nobody's answers are left.
    """
    screened = screen(submissions, key)
    dropped = set() if keep_screened else {entry.name for entry in screened}
    counted = [entry for entry in submissions if entry.listener not in dropped]
    if not counted:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in [*rejected, *screened][:3])
        raise EvaluationError(f"no listener's answers can be used: {reasons or 'no result was given'}")
    ratings, tests, abx = _abx_or_ratings(counted, key)
    result_clips = {key.stimuli[stimulus].clip for stimulus in key.definition.stimuli}
    return ListeningResult(
        mode=key.definition.mode,
        title=key.definition.title,
        test_id=key.definition.test_id,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        listeners=len(counted),
        clips=len(result_clips),
        ratings=ratings,
        tests=tests,
        abx=abx,
        screened=tuple(screened),
        rejected=tuple(rejected),
        sentences=tuple(_sentences(tests, abx)),
        notes=(
            *_notes(counted, screened, key, keep_screened=keep_screened),
            *_notes_of_ends(ratings, key.definition.mode),
            *notes,
        ),
        contested=tuple(contested),
    )


def _abx_or_ratings(
    counted: Sequence[Submission], key: Key
) -> tuple[tuple[SystemRating, ...], tuple[PairedTest, ...], tuple[AbxScore, ...]]:
    if key.definition.mode == "abx":
        return (), (), _abx_scores(counted, key)
    by_system = _ratings_of(counted, key)
    return _system_ratings(by_system, key), _paired_tests(by_system, key), ()


def _ratings_of(counted: Sequence[Submission], key: Key) -> dict[str, dict[str, list[int]]]:
    """System to listener to ratings."""
    found: dict[str, dict[str, list[int]]] = {system: defaultdict(list) for system in key.systems}
    for submission in counted:
        for answer in submission.answers:
            for stimulus, value in answer.ratings.items():
                found[key.stimuli[stimulus].system][submission.listener].append(value)
    return found


def _system_ratings(by_system: dict[str, dict[str, list[int]]], key: Key) -> tuple[SystemRating, ...]:
    roles = {stimulus.system: stimulus.role for stimulus in key.stimuli.values()}
    rows = []
    for system, by_listener in by_system.items():
        values = [value for ratings in by_listener.values() for value in ratings]
        lower, median, upper = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        means = [float(np.mean(ratings)) for ratings in by_listener.values()]
        rows.append(
            SystemRating(
                system, roles[system], mean_interval(means, t_below=math.inf), median, lower, upper, len(values)
            )
        )
    return tuple(rows)


def _paired_tests(by_system: dict[str, dict[str, list[int]]], key: Key) -> tuple[PairedTest, ...]:
    anchors = {stimulus.system for stimulus in key.stimuli.values() if stimulus.role == "anchor"}
    pairs = list(combinations([system for system in by_system if system not in anchors], 2))
    differences = [
        [
            float(np.mean(by_system[second][listener]) - np.mean(by_system[first][listener]))
            for listener in by_system[first]
        ]
        for first, second in pairs
    ]
    p_values = [paired_t_p_value(values) for values in differences]
    return tuple(
        PairedTest(first, second, mean_interval(values, t_below=math.inf), p, corrected, resolved=corrected < LEVEL)
        for (first, second), values, p, corrected in zip(pairs, differences, p_values, holm(p_values), strict=True)
    )


def _abx_scores(counted: Sequence[Submission], key: Key) -> tuple[AbxScore, ...]:
    counts: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for submission in counted:
        for answer in submission.answers:
            systems = {key.stimuli[stimulus].system for stimulus in answer.trial.order}
            first, second = sorted(systems, key=key.systems.index)
            counts.setdefault((first, second), defaultdict(list))[submission.listener].append(answer.correct)
    ordered = sorted(counts, key=lambda pair: [key.systems.index(system) for system in pair])
    totals = [(sum(map(sum, counts[pair].values())), sum(map(len, counts[pair].values()))) for pair in ordered]
    p_values = [binomial_p_value(correct, trials) for correct, trials in totals]
    return tuple(
        AbxScore(
            *pair, correct, trials, *binomial_interval(correct, trials), p, corrected, corrected < LEVEL,
            tuple(
                AbxCount(listener, sum(right), len(right), binomial_p_value(sum(right), len(right)))
                for listener, right in counts[pair].items()
            ),
        )
        for pair, (correct, trials), p, corrected in zip(ordered, totals, p_values, holm(p_values), strict=True)
    )  # fmt: skip


def _sentences(tests: Sequence[PairedTest], abx: Sequence[AbxScore]) -> Iterator[str]:
    for test in tests:
        difference = test.difference
        if difference.count < 2:
            continue
        if difference.of_equal:
            yield (
                f"{test.first} and {test.second}: all differences are equal ({difference.mean:+.2f} by each listener), "
                "so there is no interval and no p"
            )
            continue
        better, worse = (test.second, test.first) if difference.mean > 0 else (test.first, test.second)
        if test.resolved:
            low, high = sorted((abs(difference.low), abs(difference.high)))
            yield (
                f"{better} is rated higher than {worse}, by {abs(difference.mean):.2f} "
                f"(95 % interval {low:.2f} to {high:.2f}, {_p_phrase(test.p_holm)})"
            )
        else:
            # Of one pair alone such an interval would tell them apart.
            only_p = f", corrected for {len(tests)} pairs, as the interval is not" if difference.excludes_zero else ""
            yield (
                f"{test.first} and {test.second} are not told apart by these ratings (difference "
                f"{difference.mean:+.2f}, 95 % interval {difference.low:+.2f} to {difference.high:+.2f}, "
                f"{_p_phrase(test.p_holm)}{only_p})"
            )
    for score_ in abx:
        verdict = "were told apart" if score_.resolved else "were not told apart"
        yield (
            f"{score_.first} and {score_.second} {verdict}: {score_.correct} of {score_.trials} right "
            f"({score_.correct / score_.trials:.0%}, {_p_phrase(score_.p_holm)})"
        )


def _p_phrase(p_value: float) -> str:
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _notes(
    counted: Sequence[Submission], screened: Sequence[Exclusion], key: Key, *, keep_screened: bool
) -> Iterator[str]:
    yield from key.notes
    if screened and keep_screened:
        counts = "1 listener counts" if len(screened) == 1 else f"{len(screened)} listeners count"
        yield f"{counts} although the screening would leave them out"
    if len(counted) == 1:
        yield "these are one listener's answers: they say nothing of others"
    elif len(counted) < LEAST_LISTENERS:
        yield f"{len(counted)} listeners are few: {LEAST_LISTENERS} or more are usual"
    loudspeakers = sum(entry.output == "loudspeakers" for entry in counted)
    if loudspeakers:
        yield f"{loudspeakers} of {len(counted)} listened with loudspeakers"


def _notes_of_ends(ratings: Sequence[SystemRating], mode: Mode) -> Iterator[str]:
    beyond = [
        row.system
        for row in ratings
        if row.interval.low < RANGES[mode][0] or row.interval.high > RANGES[mode][1]  # NaN is neither
    ]
    if beyond:
        yield (
            f"the 95 % interval of {', '.join(beyond)} passes the end of the scale, which Student's t over listeners "
            "does not know: no mean lies beyond it"
        )
