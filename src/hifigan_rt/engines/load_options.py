"""Gathers what a caller of `load` asks of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.plan_file import read_plan
from hifigan_rt.errors import EngineError


def gather_options(
    threads: int | None,
    precision: str,
    device: str | None,
    settings: Mapping[str, str] | None,
    named: Mapping[str, Any],
) -> EngineOptions:
    """Join the settings that are parameters of `load`, of which None is not given, with the others; see there.

    Raises:
        EngineError: one of them is of a wrong type or given twice, or the plan cannot be read.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise EngineError(
            f"settings={str(settings)[:60]} is a {type(settings).__name__}: give a dict of texts by the settings' names"
        )
    own: dict[str, Any] = dict(settings or {})
    named = {name: value for name, value in named.items() if value is not None}
    for name in own.keys() & named.keys():
        raise EngineError(
            f"{name} is given by itself, {named[name]!r}, and among the settings, {own[name]!r}: give one"
        )
    own |= named
    if "plan" in own:
        own["plan"] = read_plan(own["plan"])  # once: its file may be another when the vocoder is loaded again
    return EngineOptions(threads, precision, device, own)
