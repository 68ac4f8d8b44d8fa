"""Tells warnings where the package was called, so that a reader sees a line of their own program."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def warn_caller(text: str, category: type[Warning]) -> None:
    """Issue a warning at the innermost line outside this package.

    A fixed `stacklevel` is right for one way to the warning, and each of ours has several: a call, a list, a stream.
    Python shows a text once for each line, so a line of ours would silence every caller but the first.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _module(frame).partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    warnings.warn_explicit(
        text,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=_module(frame),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _module(frame: FrameType) -> str:
    """Its name; code that `exec` runs has none, and what has none would not be told at all."""
    return frame.f_globals.get("__name__") or "<string>"
