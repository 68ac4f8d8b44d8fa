"""Reads a plan for the native engine: which algorithm computes which layer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hifigan_rt.errors import ConfigError, EngineError
from hifigan_rt.formats.config_values import each_once

_MAX_PLAN_BYTES = 1 << 22


def read_plan(plan: str | Path | Mapping[str, str]) -> dict[str, str]:
    """Take a plan from a mapping, or from a file that `hifigan info MODEL --plan --json` wrote.

    Args:
        plan: algorithms by layer name ("*" for every layer that can), or the path of a JSON file: such a mapping, or an
            object whose "plan" lists objects with "layer" and "algorithm".

    Raises:
        EngineError: the file cannot be read, or what is given is none of these, or names a layer twice
            with different algorithms.
    """
    if isinstance(plan, Mapping):
        if not _is_plan(plan):
            raise EngineError(
                f"plan={str(plan)[:60]} is no mapping of layer names to algorithms: give texts, as in {{'*': 'direct'}}"
            )
        return dict(plan)
    if not isinstance(plan, (str, os.PathLike)):
        raise EngineError(
            f"plan={str(plan)[:60]} is a {type(plan).__name__}: give a dict of algorithms by layer name, or the path "
            "of a file with one"
        )
    try:
        with Path(plan).open("rb") as file:
            raw = file.read(_MAX_PLAN_BYTES + 1)
        if len(raw) > _MAX_PLAN_BYTES:
            raise EngineError(f"plan {str(plan)!r} is larger than {_MAX_PLAN_BYTES} bytes: that is no plan")
        values = json.loads(raw, object_pairs_hook=each_once)
        listed = values.get("plan") if isinstance(values, dict) else None
        layers = listed if isinstance(listed, list) else []
        if layers and all(isinstance(layer, dict) and isinstance(layer.get("layer"), str) for layer in layers):
            # The last layer has no choice; the plan lists every layer.
            chosen = [layer for layer in layers if layer.get("kind") != "conv_post"]
            values = each_once([(layer["layer"], layer.get("algorithm")) for layer in chosen])
    except OSError as error:
        raise EngineError(f"plan {str(plan)!r} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise EngineError(f"plan {str(plan)!r}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise EngineError(f"plan {str(plan)!r} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict) or not _is_plan(values):
        raise EngineError(
            f"plan {str(plan)!r} is no mapping of layer names to algorithms: write one with "
            "hifigan info MODEL --plan --json"
        )
    return values


def _is_plan(values: Mapping[Any, Any]) -> bool:
    # The core takes UTF-8, which halves of a surrogate pair are not.
    return all(isinstance(text, str) and text.isprintable() for pair in values.items() for text in pair)
