"""Shows a scored listening test to people, and all its answers to other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from hifigan_rt.tools.evaluation.listening_results import ListeningResult
from hifigan_rt.tools.evaluation.numbers import p_text
from hifigan_rt.tools.evaluation.statistics import Interval
from hifigan_rt.tools.listening.definition import Key
from hifigan_rt.tools.listening.submissions import Submission
from hifigan_rt.tools.tables import aligned, comma_separated, counted

SHOWN_CODES = 20
"""Codes that do not count, listed in full; the JSON has them all."""

_MODES = {"mos": "MOS, 1 to 5", "mushra": "MUSHRA, 0 to 100", "abx": "ABX"}


def to_text(result: ListeningResult) -> str:
    """Tables for a terminal, then what they mean."""
    lines = [
        f"{result.title}: {_MODES[result.mode]}, {counted(result.listeners, 'listener')}, "
        f"{counted(result.clips, 'clip')}",
        *(f"not counted: {entry.name}: {entry.reason}" for entry in result.contested[:SHOWN_CODES]),
        *([f"not counted: {len(result.contested) - SHOWN_CODES} more codes"] * (len(result.contested) > SHOWN_CODES)),
        "",
    ]
    if result.ratings:
        lines += aligned(
            ["system", "mean", "95 % interval", "median", "quartiles", "ratings"],
            [
                [
                    row.system + ("" if row.role == "system" else f" ({row.role})" * (row.role not in row.system)),
                    f"{row.interval.mean:.2f}",
                    _ends(row.interval, "{:.2f}"),
                    f"{row.median:g}",
                    f"{row.lower_quartile:g} to {row.upper_quartile:g}",
                    str(row.ratings),
                ]
                for row in result.ratings
            ],
        )
    if result.tests:
        lines += ["", "differences, by the same listeners (paired t test; p after Holm's correction)"]
        lines += aligned(
            ["", "difference", "95 % interval", "p"],
            [
                [
                    f"{test.second} - {test.first}",
                    f"{test.difference.mean:+.2f}",
                    _ends(test.difference, "{:+.2f}"),
                    "-" if math.isnan(test.p_holm) else p_text(test.p_holm),
                ]
                for test in result.tests
            ],
        )
    if result.abx:
        lines += ["how often X was matched to the right one (p of guessing, after Holm's correction)"]
        lines += aligned(
            ["pair", "right", "share", "95 % interval", "p"],
            [
                [
                    f"{row.first} / {row.second}",
                    f"{row.correct} of {row.trials}",
                    f"{row.correct / row.trials:.0%}",
                    f"{row.low:.0%} to {row.high:.0%}",
                    p_text(row.p_holm),
                ]
                for row in result.abx
            ],
        )
    return "\n".join([*lines, "", *result.sentences]).rstrip() + "\n"


def to_csv(submissions: Sequence[Submission], key: Key) -> str:
    """One row per answer, of all listeners, screened ones too; MOS and MUSHRA: per rating.

    Returns:
        A header and rows, lines ended by a line feed.
    """
    header = ["listener", "trial", "clip", "system", "rating", "a", "b", "x", "correct", "seconds"]
    return comma_separated(header, _answers(submissions, key))


def _answers(submissions: Sequence[Submission], key: Key) -> Iterator[Sequence[Any]]:
    for submission in submissions:
        for number, answer in enumerate(submission.answers, start=1):
            stimuli = [key.stimuli[stimulus] for stimulus in answer.trial.order]
            start = [submission.listener, number, stimuli[0].clip]
            if key.definition.mode == "abx":
                x = key.stimuli[answer.trial.x].system
                names = [stimulus.system for stimulus in stimuli]
                yield [*start, "", "", *names, x, int(answer.correct), answer.seconds]
                continue
            for identifier, value in answer.ratings.items():
                yield [*start, key.stimuli[identifier].system, value, "", "", "", "", answer.seconds]


def _ends(interval: Interval, form: str) -> str:
    if math.isnan(interval.low):
        return "-"
    return f"{form.format(interval.low)} to {form.format(interval.high)}"
