"""Whether engine `native` can run here: its C++ is a compiled module, which not every form of this package has."""

from __future__ import annotations

import importlib.util


def why_unavailable() -> str | None:
    """Why the compiled module is not there; None if it is. It is not imported."""
    if importlib.util.find_spec("hifigan_rt._native") is not None:
        return None
    return (
        "engine 'native' needs the compiled module hifigan_rt._native, which is not there for this Python and machine: "
        "install the wheel with pip; a zip archive or a copy of the sources alone does not hold it"
    )
