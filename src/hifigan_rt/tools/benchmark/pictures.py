"""Pictures of a benchmark: speed by length, every single call, speed against accuracy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.errors import OutputError
from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.benchmark.picture_axes import length_axis, speed_axis, time_axis
from hifigan_rt.tools.benchmark.picture_parts import (
    KINDS,
    LINE,
    SMALL,
    TEXT,
    Look,
    looks,
    name_beside,
    save,
    sheet,
    style,
    text_width,
)
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Measurement, median_others
from hifigan_rt.tools.benchmark.table_text import threads_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SPEED, _CALLS, _ACCURACY = "speed-by-mel-len", "latency", "speed-by-accuracy"
PICTURE_NAMES = tuple(f"{stem}.{kind}" for stem in (_SPEED, _CALLS, _ACCURACY) for kind in KINDS)
"""Files that a result may have."""

_DISTURBED = 0.1
"""Share of the processors in other hands from which a picture says so."""

_CALLS_LEGEND = (
    "Dots: single calls, upwards in the order of the rounds; upright line: median; cross: mean; bar: from the fastest "
    "call to the 99th percentile."
)


def draw(result: BenchmarkResult, folder: Path) -> list[Path]:
    """Draw what a result holds, each picture as SVG and PNG.

    Args:
        result: what was measured; without any figures nothing is drawn.
        folder: made if need be.

    Returns:
        The files written: speed-by-mel-len, latency, and speed-by-accuracy where an SNR is known.

    Raises:
        OutputError: matplotlib is not there, or a file could not be written.
    """
    if find_spec("matplotlib") is None:
        raise OutputError(f"pictures need the package matplotlib: {how_to_get('plot')}")
    if not any(case.figures(entry) for case in result.cases for entry in case.measurements):
        return []
    with style(), warnings.catch_warnings():
        # A letter that no font here has is drawn as a box, and stands in the SVG as itself.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        written = save(_speed_by_mel_len(result), folder / _SPEED)
        written += save(_latency(result), folder / _CALLS)
        accuracy = _speed_by_accuracy(result)
        if accuracy is not None:
            written += save(accuracy, folder / _ACCURACY)
    return written


def _speed(case: Case, entry: Measurement) -> float:
    figures = case.figures(entry)
    return math.nan if figures is None else figures.x_real_time


def _measured(case: Case) -> list[Measurement]:
    return [entry for entry in case.measurements if case.figures(entry) is not None]


def _foot(result: BenchmarkResult, *remarks: str) -> str:
    """What a reader must know before believing the picture."""
    names = dict.fromkeys(
        f"{entry.candidate} (batch {case.batch}, mel_len {case.mel_len})"
        for case in result.cases
        for entry in case.measurements
        if case.figures(entry) is None
    )
    disturbed = max((median_others(case) or 0.0 for case in result.cases), default=0.0)
    remarks += (f"No figures: {', '.join(names)}.",) if names else ()
    if disturbed >= _DISTURBED:
        remarks += (f"Disturbed: others used up to {disturbed:.0%} of the processors in the median round of a case.",)
    return " ".join(remarks)


def _row_height(look_of: dict[str, Look]) -> float:
    """Inches from one candidate to the next where each has a row."""
    return max(0.36, 0.06 + LINE * max(look.name.count("\n") + 1 for look in look_of.values()))


def _room(count: int) -> float:
    """Inches that so many names below each other need."""
    return count * 2 * LINE


def _columns(cases: list[Case]) -> int:
    """Few panels stand two by two; of many, those of one batch and thread number share a row."""
    return 2 if len(cases) < 7 else min(4, max(2, len({case.mel_len for case in cases})))


def _speed_by_mel_len(result: BenchmarkResult) -> Figure:
    look_of = looks(result)
    groups: dict[tuple[int, int | None], list[Case]] = {}
    for case in result.cases:
        if _measured(case):
            groups.setdefault((case.batch, case.shown_threads), []).append(case)
    speeds = _speeds(result.cases)
    names = max(len(_by_candidate(cases)) for cases in groups.values())
    size = (3.4, max(2.4, _room(names) * 0.75))
    bars = all(len({case.mel_len for case in cases}) == 1 for cases in groups.values())
    widest = text_width(look.name for look in look_of.values())
    margins = (widest + 0.25, 0.75) if bars else (0.75, widest + 0.45)
    figure, panels = sheet(
        result, "Speed by length of the mel", _foot(result), count=len(groups), columns=2 if len(groups) < 5 else 3,
        size=(size[0], 0.35 + _row_height(look_of) * names) if bars else size, margins=margins,
    )  # fmt: skip
    for axes, ((batch, threads), cases) in zip(panels, groups.items(), strict=True):
        lengths = sorted({case.mel_len for case in cases})
        where = f", mel_len {lengths[0]}" if bars else ""
        axes.set_title(f"batch {batch}, {threads_text(threads)}{where}", loc="left")
        if bars:
            _bars(axes, cases[0], look_of, max(speeds))
        else:
            _lines(axes, cases, look_of, size[1], speeds)
    return figure


def _speeds(cases: Iterable[Case]) -> list[float]:
    """Speeds of all panels, which share their axis."""
    return [_speed(case, entry) for case in cases for entry in _measured(case)]


def _by_candidate(cases: list[Case]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for case in sorted(cases, key=lambda case: case.mel_len):
        for entry in _measured(case):
            found.setdefault(entry.candidate, []).append((case.mel_len, _speed(case, entry)))
    return found


def _lines(axes: Axes, cases: list[Case], look_of: dict[str, Look], height: float, speeds: list[float]) -> None:
    series = _by_candidate(cases)
    for name, points in series.items():
        look = look_of[name]
        axes.plot(*zip(*points, strict=True), look.line, color=look.colour, marker=look.marker, markersize=5)
    length_axis(axes, sorted({case.mel_len for case in cases}))
    speed_axis(axes, speeds)
    name_beside(axes, [(*points[-1], look_of[name], look_of[name].name) for name, points in series.items()], height)


def _bars(axes: Axes, case: Case, look_of: dict[str, Look], fastest: float) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    entries = sorted(_measured(case), key=lambda entry: _speed(case, entry))
    for place, entry in enumerate(entries):
        look, speed = look_of[entry.candidate], _speed(case, entry)
        axes.barh(
            place, speed, 0.6, color="none" if look.doubtful else look.colour, edgecolor=look.colour,
            linestyle=look.line, linewidth=1.2,
        )  # fmt: skip
        axes.annotate(
            f"{speed:,.1f}", (speed, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=SMALL,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(entries)), [look_of[entry.candidate].name for entry in entries])
    axes.set_ylim(-0.6, len(entries) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, fastest * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("x real time (audio s per s)")


def _latency(result: BenchmarkResult) -> Figure:
    look_of = looks(result)
    rows = list(look_of)
    cases = [case for case in result.cases if case.measurements]
    foot = _foot(result, _CALLS_LEGEND)
    size = (3.6, 0.3 + _row_height(look_of) * len(rows))
    figure, panels = sheet(
        result, "Time of every call", foot, count=len(cases), columns=_columns(cases), size=size,
        margins=(text_width(look.name for look in look_of.values()) + 0.25, 0.3),
    )  # fmt: skip
    for axes, case in zip(panels, cases, strict=True):
        entries = {entry.candidate: entry for entry in case.measurements}
        for place, name in enumerate(reversed(rows)):
            _calls(axes, place, entries.get(name), look_of[name])
        axes.set_yticks(range(len(rows)), [look_of[name].name for name in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"batch {case.batch}, mel_len {case.mel_len}, {threads_text(case.shown_threads)}", loc="left")
        time_axis(axes, [time for entry in _measured(case) for time in _ends(entry)], case.batch)
    return figure


def _calls(axes: Axes, place: float, entry: Measurement | None, look: Look) -> None:
    latency = None if entry is None else entry.latency
    if entry is None or latency is None:
        axes.annotate(
            "not measured" if entry is None else "failed", (0.02, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=SMALL, style="italic",
        )  # fmt: skip
        return
    low, high = np.nanmin([latency.min, latency.mean]), np.nanmax([latency.p99, latency.mean])
    axes.plot([low, high], [place, place], look.line, color=look.colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
    if entry.seconds:
        # Dots that drift sideways as they rise show a machine that warms up or was disturbed.
        heights = place + np.linspace(-0.3, 0.3, len(entry.seconds)) if len(entry.seconds) > 1 else [place]
        axes.plot(1000 * np.asarray(entry.seconds), heights, ".", color=look.colour, markersize=3.5, alpha=0.7)
    axes.plot([latency.median] * 2, [place - 0.36, place + 0.36], look.line, color=TEXT, linewidth=1.4)
    axes.plot(latency.mean, place, "x", color=TEXT, markersize=5, markeredgewidth=1.2)


def _ends(entry: Measurement) -> Iterator[float]:
    latency = entry.latency
    if latency is not None:
        yield from (time for time in (latency.min, latency.max, latency.mean) if math.isfinite(time))


def _speed_by_accuracy(result: BenchmarkResult) -> Figure | None:
    look_of = looks(result)
    cases = [case for case in result.cases if any(entry.snr_db is not None for entry in _measured(case))]
    if not cases:
        return None
    most = max(len(_measured(case)) for case in cases)
    speeds = _speeds(cases)
    size = (3.4, max(2.4, _room(most) * 0.75))
    without = dict.fromkeys(entry.candidate for case in cases for entry in _measured(case) if entry.snr_db is None)
    foot = _foot(result, *([f"Without an SNR: {', '.join(without)}."] if without else []))
    figure, panels = sheet(
        result, "Speed against accuracy", foot, count=len(cases),
        columns=_columns(cases), size=size,
        margins=(0.75, text_width(look.name for look in look_of.values()) + 0.45),
    )  # fmt: skip
    for axes, case in zip(panels, cases, strict=True):
        points = [
            (entry.snr_db, _speed(case, entry), look_of[entry.candidate], look_of[entry.candidate].name)
            for entry in _measured(case)
            if entry.snr_db is not None
        ]
        for snr_db, speed, look, _ in points:
            axes.plot(
                snr_db, speed, look.marker, color=look.colour, markersize=7,
                markerfacecolor="none" if look.doubtful else look.colour,
            )  # fmt: skip
        ratios = [snr_db for snr_db, _, _, _ in points]
        axes.set_xlim(min(0.0, *ratios, 0.0), max(*ratios, 1.0) * 1.08)
        speed_axis(axes, speeds)
        axes.set_xlabel("SNR against float64 (dB); further right is more accurate")
        axes.set_title(f"batch {case.batch}, mel_len {case.mel_len}, {threads_text(case.shown_threads)}", loc="left")
        name_beside(axes, points, size[1])
    return figure
