"""How figures are written in the tables, in one place so that all agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hifigan_rt.tools.benchmark.results import Measurement

UNKNOWN = "–"
"""Stands where a figure was not taken or cannot be known."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table whose columns of numbers are right-aligned."""
    cells = [[_cell(text) for text in row] for row in rows]
    columns = zip(*cells, strict=True)
    rules = ["--:" if all(map(_is_number, column)) else "---" for column in columns] or ["---"] * len(header)
    lines = ["| " + " | ".join(line) + " |" for line in [map(_cell, header), *cells]]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def _is_number(text: str) -> bool:
    return text in ("", UNKNOWN) or text.lstrip("-")[:1].isdigit()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def number(value: float | None, digits: int) -> str:
    """Write with so many decimals; what is not known as a dash."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def decibels(value: float | None) -> str:
    """Write an SNR; that of the reference itself has no end."""
    return "exact" if value == math.inf else number(value, 1)


def milliseconds(value: float) -> str:
    """Write with four significant digits or all before the point; the guide's 2.643 ms is seen whole."""
    return number(value, 3 if value < 10 else 2 if value < 100 else 1)


def share(value: float | None) -> str:
    """Write a part of one in per cent."""
    return UNKNOWN if value is None else f"{value:.0%}"


def label(measurement: Measurement) -> str:
    """Name a candidate, with what its device says against its figures."""
    return f"{measurement.candidate} ({measurement.caveat})" if measurement.caveat else measurement.candidate


def counted(number_of: int, noun: str) -> str:
    """Write "1 thread", "2 threads"."""
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"


def threads_text(threads: int | None) -> str:
    """Write the threads of a case; a device that has none of its own says so."""
    return "threads not applicable" if threads is None else counted(threads, "thread")
