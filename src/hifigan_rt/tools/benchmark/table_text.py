"""How figures are written in the tables, in one place so that all agree."""

from __future__ import annotations

import math

from hifigan_rt.tools.benchmark.results import Measurement
from hifigan_rt.tools.tables import UNKNOWN, counted


def number(value: float | None, digits: int) -> str:
    """Write with so many decimals; what is not known as a dash."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def milliseconds(value: float) -> str:
    """Write with four significant digits or all before the point; the guide's 2.643 ms is seen whole."""
    return number(value, 3 if value < 10 else 2 if value < 100 else 1)


def share(value: float | None) -> str:
    """Write a part of one in per cent."""
    return UNKNOWN if value is None else f"{value:.0%}"


def label(measurement: Measurement) -> str:
    """Name a candidate, with what its device says against its figures."""
    return f"{measurement.candidate} ({measurement.caveat})" if measurement.caveat else measurement.candidate


def threads_text(threads: int | None) -> str:
    """Write the threads of a case; a device that has none of its own says so."""
    return "threads not applicable" if threads is None else counted(threads, "thread")
