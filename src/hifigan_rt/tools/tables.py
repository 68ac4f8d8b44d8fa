"""Tables as text: aligned for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hifigan_rt.system.files import readable

UNKNOWN = "–"
"""Stands where there is no figure."""


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines for a terminal: the first column to the left, the others, which hold figures, to the right."""
    lines = [header, *rows]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [" " * (most - width(cell)) + cell for cell, most in zip(others, widths[1:], strict=True)]
        yield "  ".join([first + " " * (widths[0] - width(first)), *cells]).rstrip()


def width(text: str) -> int:
    """Columns that a text takes in a terminal: Chinese, Japanese and Korean characters and most emoji take two,
    marks that are put over others none."""
    return sum(
        0 if unicodedata.category(one) in ("Mn", "Me", "Cf")
        else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )  # fmt: skip


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, columns of figures to the right."""
    cells = [[_cell(text) for text in row] for row in rows]
    columns = zip(*cells, strict=True)
    rules = ["--:" if all(map(_is_figure, column)) else "---" for column in columns] or ["---"] * len(header)
    lines = ["| " + " | ".join(line) + " |" for line in [map(_cell, header), *cells]]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def comma_separated(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a header.

    Args:
        header: names of the columns.
        rows: None and NaN become empty cells; other numbers are not rounded.

    Returns:
        Lines ended by a line feed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    # NaN is the only value that differs from itself.
    writer.writerows([value if value == value else None for value in row] for row in rows)
    return readable(text.getvalue())


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 thread", "2 threads"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_figure(text: str) -> bool:
    return text in ("", UNKNOWN) or text.lstrip("-")[:1].isdigit()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
