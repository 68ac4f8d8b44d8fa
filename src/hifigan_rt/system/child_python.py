"""Starts another Python that imports what this one would, and says in words how it ended."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

# The parent's own search path, so that a worker imports what the parent would: neither the folder that it happens to be
# started in (-P) nor the module `json` of somebody's project gets a say.
_START = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[2])
importlib.import_module(sys.argv[1]).main()
"""


def python_command(module: str) -> list[str]:
    """Arguments that start the `main` of a module in a process of its own."""
    path = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [sys.executable, "-P", "-c", _START, module, json.dumps(path)]


def describe_ending(code: int) -> str:
    """What the status of a finished process says, as `subprocess` gives it."""
    if code >= 0:
        return f"its process ended with status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ": was the memory full?" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
