"""The environment that chooses what is imitated, the faults on demand, and the guard against real machines."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def generation() -> int:
    """6 for CANN 6.0.RC1 with ais_bench of 2022, 8 for CANN 8 with ais_bench of 2024."""
    value = os.environ.get("SIM_CANN", "8")
    if value not in ("6", "8"):
        sys.exit(f"SIM_CANN={value!r}: the simulator knows 6 and 8")
    return int(value)


def tools_of_2026() -> bool:
    """Whether aclruntime is the community's of 2026 (Yanguan619/aclruntime): path checks, small letters in its log."""
    return os.environ.get("SIM_TOOLS") == "2026"


def soc() -> str:
    """The chip of this machine, as `--soc_version` spells it."""
    usual = {"910b": "Ascend910B4", "a3": "Ascend910_9362", "310b": "Ascend310B4", "950": "Ascend950PR_9579"}
    return os.environ.get("SIM_SOC", usual.get(os.environ.get("SIM_NPU_LAYOUT", ""), "Ascend310P3"))


def device_count() -> int:
    return int(os.environ.get("SIM_DEVICES", "2"))


def fault(name: str) -> str | None:
    """The value of a fault in SIM_FAULT, a comma list of NAME or NAME=VALUE; "" if none is given, None if absent."""
    for entry in os.environ.get("SIM_FAULT", "").split(","):
        key, _, value = entry.partition("=")
        if key == name:
            return value
    return None


def hang() -> None:
    """Outlast every timeout; a tool that is killed leaves nothing behind."""
    time.sleep(3600)


def refuse_real_cann() -> None:
    """Stop where real CANN could be meant, lest simulated results pass for real ones.

    Raises:
        ImportError: `acl` or another `aclruntime` is importable, and SIM_FORCE is not 1.
    """
    if os.environ.get("SIM_FORCE") == "1":
        return
    found = importlib.util.find_spec("acl")
    traces = [] if found is None else [f"acl at {found.origin or list(found.submodule_search_locations or [])}"]
    for folder in map(Path, sys.path):
        if folder.resolve() != HERE and folder.is_dir():
            traces += [str(path) for path in (*folder.glob("aclruntime*.so"), folder / "aclruntime") if path.exists()]
    if traces:
        raise ImportError(
            f"the Ascend simulator refuses to run beside real CANN ({', '.join(traces)}): "
            "take it off PYTHONPATH and PATH, or set SIM_FORCE=1"
        )
