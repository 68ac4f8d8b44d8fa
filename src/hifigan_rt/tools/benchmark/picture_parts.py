"""What the pictures of a benchmark share: colours, names written beside what they name, sizes in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_path, readable
from hifigan_rt.tools.benchmark.results import BenchmarkResult
from hifigan_rt.tools.benchmark.table_text import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT = "#222222"
GRID = "#dddddd"
SMALL, NORMAL, TITLE = 8.0, 9.0, 12.0
"""Sizes of letters in points."""
KINDS = ("svg", "png")
LINE = 0.17
"""Inches from one line of names to the next."""
_BETWEEN = 0.75
"""Inches below each panel, for its axis, and the title of the next."""

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#666666")
"""Okabe and Ito's palette without its yellow, told apart by colour-blind readers too."""
_CHINESE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "Microsoft YaHei", "PingFang SC")
_MARKERS = "osD^vPX<>*"


@dataclass(frozen=True)
class Look:
    """How one candidate looks in every picture."""

    name: str
    colour: str
    marker: str
    doubtful: bool
    """The device says something against its figures."""

    @property
    def line(self) -> str:
        return "--" if self.doubtful else "-"


def looks(result: BenchmarkResult) -> dict[str, Look]:
    """One look per candidate, by its name, in the order of the result."""
    found: dict[str, Look] = {}
    for case in result.cases:
        for entry in case.measurements:
            if entry.candidate not in found:
                count = len(found)
                marker = _MARKERS[count % len(_MARKERS)]
                found[entry.candidate] = Look(
                    wrapped_label(label(entry)), _COLOURS[count % len(_COLOURS)], marker, bool(entry.caveat)
                )
    return found


def wrapped_label(text: str) -> str:
    """Break a long name into lines."""
    return "\n".join(textwrap.wrap(readable(text), 30, break_on_hyphens=False)) or text


def _fonts() -> list[str]:
    """Matplotlib's own font, and what this machine has for names in Chinese."""
    from matplotlib.font_manager import fontManager

    there = fontManager.get_font_names()
    return ["DejaVu Sans", *(name for name in _CHINESE_FONTS if name in there)]


def style() -> AbstractContextManager[None]:
    """Settings under which a picture is drawn: text stays text in SVG, and equal input gives an equal file."""
    import matplotlib as mpl

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "hifigan-rt",
        "font.family": _fonts(),
        "font.size": NORMAL,
        "text.color": TEXT,
        # A dollar sign in the name of a file is no formula.
        "text.parse_math": False,
        "axes.labelcolor": TEXT,
        "axes.edgecolor": "#888888",
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "axes.titlesize": NORMAL,
        "axes.axisbelow": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
    }
    # The file of the user's own settings must not turn our pictures dark.
    context: AbstractContextManager[None] = mpl.rc_context({**mpl.rcParamsDefault, "backend": "agg", **settings})
    return context


def text_width(texts: Iterable[str], size: float = SMALL) -> float:
    """Inches that the widest line takes."""
    from matplotlib.backends import backend_agg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=_fonts(), size=size)
    untyped: Any = backend_agg
    renderer = untyped.RendererAgg(1, 1, 72)
    lines = [line for text in texts for line in text.split("\n")]
    widths = (renderer.get_text_width_height_descent(line, font, ismath=False)[0] / 72 for line in lines)
    # Other fonts may stand in for this one where an SVG is read.
    return 1.08 * max(widths, default=0.0)


def sheet(
    result: BenchmarkResult, title: str, foot: str, *, count: int, columns: int, size: tuple[float, float],
    margins: tuple[float, float],
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Lay out panels of one size in a grid, in inches, so that no text depends on how much else there is.

    Args:
        result: gives the line below the title.
        title: what the picture shows.
        foot: a remark at the bottom; empty for none.
        count: panels.
        columns: at most so many beside each other.
        size: of one panel, width and height.
        margins: left and right of each panel.
    """
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    width = max(columns * (size[0] + sum(margins)), 6.0)
    subtitle = _wrapped(_subtitle(result), width - 0.4, SMALL)
    foot = _wrapped(foot, width - 0.4, SMALL)
    above = 0.62 + LINE * subtitle.count("\n") + 0.32
    below = LINE * (foot.count("\n") + 1) + 0.05 if foot else -0.15
    height = above + rows * (size[1] + _BETWEEN) + below
    figure = Figure(figsize=(width, height))
    figure.text(0.2 / width, 1 - 0.14 / height, title, size=TITLE, weight="bold", va="top")
    figure.text(0.2 / width, 1 - 0.4 / height, subtitle, size=SMALL, va="top")
    if foot:
        figure.text(0.2 / width, 0.1 / height, foot, size=SMALL, va="bottom")
    panels = []
    for index in range(count):
        row, column = divmod(index, columns)
        left = column * (size[0] + sum(margins)) + margins[0]
        top = height - above - row * (size[1] + _BETWEEN)
        axes = figure.add_axes((left / width, (top - size[1]) / height, size[0] / width, size[1] / height))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=GRID, linewidth=0.6)
        axes.tick_params(length=3)
        panels.append(axes)
    return figure, panels


def _subtitle(result: BenchmarkResult) -> str:
    machine = result.machine.get("cpu") or "machine unknown"
    cores = result.machine.get("usable_cores")
    model = [] if result.weights.startswith(result.model) else [result.model]
    parts = [*model, result.weights, f"{machine}{f', {cores} cores' if cores else ''}", result.date]
    return " · ".join(str(part) for part in parts) + (f" · dashed: {result.caveat}" if result.caveat else "")


def _wrapped(text: str, width: float, size: float) -> str:
    """Break into lines of so many inches."""
    lines: list[str] = []
    for word in readable(text).split(" "):
        if lines and text_width([f"{lines[-1]} {word}"], size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move centres apart as little as needed for things of these heights not to overlap, in the same order.

    Args:
        wanted: centres, rising.
        heights: what each needs.
        low, high: the room; what does not fit reaches above it.
    """
    centres: list[float] = []
    edge = low
    for centre, height in zip(wanted, heights, strict=True):
        centres.append(max(centre, edge + height / 2))
        edge = centres[-1] + height / 2
    edge = max(high, low + sum(heights))
    for index in reversed(range(len(centres))):
        centres[index] = min(centres[index], edge - heights[index] / 2)
        edge = centres[index] - heights[index] / 2
    return centres


def name_beside(axes: Axes, points: Sequence[tuple[float, float, Look, str]], height: float) -> None:
    """Write names to the right of a panel at the height of their points, apart from each other, each with a thread.

    Args:
        axes: with its limits and scales set for good.
        points: x and y in data, look, name.
        height: of the panel in inches.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = sorted(((*to_axes.transform((x, y)), look, name) for x, y, look, name in points), key=lambda item: item[1])
    heights = [(LINE * (name.count("\n") + 1) - 0.02) / height for _, _, _, name in placed]
    centres = spread([y for _, y, _, _ in placed], heights, -0.1, 1.1)
    for (x, y, look, name), centre in zip(placed, centres, strict=True):
        axes.annotate(
            name, xy=(x, y), xytext=(1.05, centre), xycoords="axes fraction", textcoords="axes fraction", va="center",
            ha="left", fontsize=SMALL, color=TEXT, annotation_clip=False, linespacing=1.05,
            arrowprops={"arrowstyle": "-", "color": look.colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG.

    Raises:
        OutputError: a file could not be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in KINDS]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {str(stem.parent)!r} could not be made: {error.strerror}") from error
    for path in paths:
        kind = path.suffix[1:]
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return paths
