"""Axes of a benchmark's pictures, each on the scale that tells its values apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.tools.tables import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOGARITHMIC_ABOVE = 8.0
"""Largest over smallest value from which an axis is logarithmic: the smaller ones could not be told apart."""

_BESIDE, _TICK_APART = 0.03, 0.12
"""Parts of the width of a panel: room before the first and after the last length; room that the number of one needs."""


def length_axis(axes: Axes, lengths: list[int]) -> None:
    """Mark the lengths that were measured, on the scale that keeps them further apart."""
    from matplotlib.ticker import NullLocator

    linear = (np.asarray(lengths) - lengths[0]) / max(lengths[-1] - lengths[0], 1)
    logarithmic = np.log(np.asarray(lengths) / lengths[0]) / max(math.log(lengths[-1] / lengths[0]), 1e-9)
    closest = [np.diff(places).min(initial=1) for places in (linear, logarithmic)]
    places = linear
    if closest[1] > closest[0]:
        axes.set_xscale("log")
        places = logarithmic
        margin = (lengths[-1] / lengths[0]) ** _BESIDE
        axes.set_xlim(lengths[0] / margin, lengths[-1] * margin)
    else:
        margin = _BESIDE * max(lengths[-1] - lengths[0], 1)
        axes.set_xlim(lengths[0] - margin, lengths[-1] + margin)
    texts, last = [], -1.0
    for length, place in zip(lengths, places, strict=True):
        texts.append(str(length) if place - last >= _TICK_APART else "")
        last = place if texts[-1] else last
    axes.set_xticks(lengths, texts)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("mel_len (frames)")


def speed_axis(axes: Axes, speeds: list[float]) -> None:
    """Set the y axis to the speeds of all panels, so that they compare."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    if max(speeds) > _LOGARITHMIC_ABOVE * min(speeds):
        axes.set_yscale("log")
        axes.set_ylim(min(speeds) / 1.3, max(speeds) * 1.3)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, max(speeds) * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_ylabel("x real time (audio s per s)")


def time_axis(axes: Axes, times: list[float], batch: int) -> None:
    """Set the x axis to times in ms of calls on a batch; without any it stays empty."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    axes.set_xlabel("ms per call" + (f" of {counted(batch, 'clip')}" if batch > 1 else ""))
    if not times:
        axes.set_xticks([])
        return
    low, high = min(times), max(times)
    if high > _LOGARITHMIC_ABOVE * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, high * 1.06)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
