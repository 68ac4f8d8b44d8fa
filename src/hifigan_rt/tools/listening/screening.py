"""Whose answers do not count, by rules that stand before anybody listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hifigan_rt.tools.evaluation.listening_results import Exclusion
from hifigan_rt.tools.listening.definition import Key
from hifigan_rt.tools.listening.stimuli import MIDDLE_ANCHOR
from hifigan_rt.tools.listening.submissions import Submission

NEARLY_PERFECT = 90
MISSED_SHARE = 0.15
"""ITU-R BS.1534-3, 4.1.2: who rates the hidden reference below 90, or the middle anchor above 90, in more than 15 % of
the trials."""

CLEAN_SHARE = 0.25
"""The same: where more listeners than this rate the middle anchor so, it lacks little there, and nobody is at fault."""

LEAST_CORRELATION = 0.25
"""Least correlation with the mean of the others; the limit of crowdMOS (F. Ribeiro et al. 2011)."""
AGREEMENT = 0.5
"""Agreement that screening needs: if systems sound alike, everybody's correlation is near 0, and nobody is at fault."""
LEAST_LISTENERS = 5

LEAST_TRIALS = 10
"""Fewer equal answers in a row of trials say little."""


def screen(submissions: Sequence[Submission], key: Key) -> list[Exclusion]:
    """Listeners whose answers should not count, with the reason.

    Args:
        submissions: one per listener.
        key: of the test.
    """
    if key.definition.mode == "mushra":
        found = _praised_anchor(submissions, key) | {
            entry.listener: reason for entry in submissions if (reason := _missed_reference(entry, key))
        }
    elif key.definition.mode == "abx":
        found = {entry.listener: _one_side(entry) for entry in submissions}
    else:
        found = _disagreeing(submissions) | {
            entry.listener: reason for entry in submissions if (reason := _one_rating(entry))
        }
    return [Exclusion(listener, reason) for listener, reason in found.items() if reason]


def _missed_reference(submission: Submission, key: Key) -> str:
    hidden = [
        value
        for answer in submission.answers
        for stimulus, value in answer.ratings.items()
        if key.stimuli[stimulus].role == "reference"
    ]
    missed = sum(value < NEARLY_PERFECT for value in hidden)
    if missed <= MISSED_SHARE * len(hidden):
        return ""
    return (
        f"rated the hidden reference below {NEARLY_PERFECT} in {missed} of {len(hidden)} trials, more than "
        f"{MISSED_SHARE:.0%} (ITU-R BS.1534-3)"
    )


def _praised_anchor(submissions: Sequence[Submission], key: Key) -> dict[str, str]:
    praised = {
        entry.listener: {
            stimulus: value > NEARLY_PERFECT
            for answer in entry.answers
            for stimulus, value in answer.ratings.items()
            if key.stimuli[stimulus].system == MIDDLE_ANCHOR
        }
        for entry in submissions
    }
    votes: dict[str, list[bool]] = {}
    for given in praised.values():
        for stimulus, high in given.items():
            votes.setdefault(stimulus, []).append(high)
    telling = {stimulus for stimulus, given in votes.items() if sum(given) <= CLEAN_SHARE * len(given)}
    counts = {name: sum(given[stimulus] for stimulus in given.keys() & telling) for name, given in praised.items()}
    return {
        listener: f"rated {MIDDLE_ANCHOR!r} above {NEARLY_PERFECT} in {count} of {len(praised[listener])} trials, more "
        f"than {MISSED_SHARE:.0%} (ITU-R BS.1534-3)"
        for listener, count in counts.items()
        if count > MISSED_SHARE * len(praised[listener])
    }


def _one_side(submission: Submission) -> str:
    # Goes by the answers alone, never by their being right: the p-value stays exact.
    sides = {answer.side for answer in submission.answers}
    if len(submission.answers) < LEAST_TRIALS or len(sides) > 1:
        return ""
    return f"answered {'AB'[sides.pop()]} in all {len(submission.answers)} trials"


def _one_rating(submission: Submission) -> str:
    ratings = [value for answer in submission.answers for value in answer.ratings.values()]
    if len(ratings) < LEAST_TRIALS or len(set(ratings)) > 1:
        return ""
    return f"rated all {len(ratings)} recordings {ratings[0]}"


def _disagreeing(submissions: Sequence[Submission]) -> dict[str, str]:
    ratings = {
        entry.listener: {stimulus: value for answer in entry.answers for stimulus, value in answer.ratings.items()}
        for entry in submissions
    }
    correlations = {listener: _correlation(listener, ratings) for listener in ratings}
    known = {listener: value for listener, value in correlations.items() if not np.isnan(value)}
    if len(known) < LEAST_LISTENERS or float(np.median(list(known.values()))) < AGREEMENT:
        return {}
    return {
        listener: f"correlates with the other listeners by {value:.2f}, less than {LEAST_CORRELATION}"
        for listener, value in known.items()
        if value < LEAST_CORRELATION
    }


def _correlation(listener: str, ratings: Mapping[str, Mapping[str, int]]) -> float:
    """Pearson's, of a listener's ratings with the mean ratings of the others for the same recordings."""
    own, others = [], []
    for stimulus, value in ratings[listener].items():
        theirs = [given[stimulus] for other, given in ratings.items() if other != listener and stimulus in given]
        if theirs:
            own.append(value)
            others.append(float(np.mean(theirs)))
    if len(own) < LEAST_TRIALS or len(set(own)) == 1 or len(set(others)) == 1:
        return float("nan")
    return float(np.corrcoef(own, others)[0, 1])
