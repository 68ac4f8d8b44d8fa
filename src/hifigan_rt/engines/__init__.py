"""The engines by the name that a user types; each module is imported only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from hifigan_rt.engines.base import Engine, EngineOptions
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.model import Model


@dataclass(frozen=True)
class EngineEntry:
    """One row of the registry."""

    summary: str
    module: str
    packages: tuple[str, ...] = ()
    """Import names that must be there."""
    extra: str = ""
    """The extra of hifigan-rt that installs them."""
    runs_onnx: bool = False
    """Takes ONNX files and ONNX Runtime's execution providers; the others take weights only."""


REGISTRY: Mapping[str, EngineEntry] = {
    "native": EngineEntry("the C++ engine of this package, float32", "hifigan_rt.engines.native"),
    "onnxruntime": EngineEntry(
        "ONNX Runtime, float32", "hifigan_rt.engines.onnxruntime", ("onnxruntime", "onnx"), "onnx", runs_onnx=True
    ),
    "reference": EngineEntry("NumPy float64: readable, slow, the truth", "hifigan_rt.engines.reference"),
}

AUTO_ORDER = ("native", "onnxruntime")
"""What engine="auto" tries, in turn. The reference engine is never chosen unless it is named."""


def why_unavailable(name: str) -> str | None:
    """Why an engine cannot run here, with the way out; None if it can."""
    entry = REGISTRY[name]
    absent = [package for package in entry.packages if importlib.util.find_spec(package) is None]
    if not absent:
        return None
    return (
        f"engine {name!r} needs the package{'s' if len(absent) > 1 else ''} {', '.join(absent)}: "
        f"pip install 'hifigan-rt[{entry.extra}]' (from a clone: pip install '.[{entry.extra}]')"
    )


def check_engine(name: str) -> None:
    """Check the name of an engine.

    Raises:
        EngineError: no engine of that name; the nearest is suggested.
        EngineUnavailable: its packages are not installed.
    """
    if name == "auto":
        return
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, [*REGISTRY, "auto"], n=1)
        suggestion = f"; did you mean {near[0]!r}?" if near else ""
        raise EngineError(f"engine {name!r} is not known: choose auto, {', '.join(REGISTRY)}{suggestion}")
    reason = why_unavailable(name)
    if reason is not None:
        raise EngineUnavailable(reason)


def choose_engine(name: str, *, needs_onnx: bool = False) -> str:
    """Resolve "auto"; another name is returned as it is, checked.

    Args:
        name: of an engine, or "auto".
        needs_onnx: the model is an ONNX file, or an execution provider was asked for.

    Raises:
        EngineError, EngineUnavailable: see `check_engine`; or no engine of the automatic choice is there.
    """
    check_engine(name)
    if name != "auto":
        return name
    reasons = []
    for candidate in AUTO_ORDER:
        if needs_onnx and not REGISTRY[candidate].runs_onnx:
            continue
        reason = why_unavailable(candidate)
        if reason is None:
            return candidate
        reasons.append(reason)
    raise EngineUnavailable("; ".join(reasons))


def create_engine(name: str, model: Model, options: EngineOptions) -> Engine:
    """Load a model into an engine that `choose_engine` returned.

    Raises:
        EngineError: the engine refuses the model or an option.
    """
    engine: Engine = importlib.import_module(REGISTRY[name].module).create(model, options)
    return engine
