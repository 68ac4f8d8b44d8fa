"""Ways into frameworks whose packages want more at import than their generators need."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any


class Anything(types.ModuleType):
    """A module that has every attribute, as a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def stub(*names: str, **attributes: Any) -> None:
    """Put modules of these names, and packages around them, into `sys.modules`; what is asked of them is made up."""
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if part not in sys.modules:
                module = Anything(part)
                module.__spec__ = importlib.machinery.ModuleSpec(part, None, is_package=True)
                module.__path__ = []
                sys.modules[part] = module
        sys.modules[name].__dict__.update(attributes)


def bare_package(*names: str) -> None:
    """Make packages importable without running what their `__init__.py` says."""
    for name in names:
        parent, _, _ = name.rpartition(".")
        within = sys.modules[parent].__path__ if parent else sys.path
        found = next(folder for place in within if (folder := Path(place) / name.rpartition(".")[2]).is_dir())
        module = types.ModuleType(name)
        module.__path__ = [str(found)]
        sys.modules[name] = module


def version(distribution: str) -> str:
    """Name and version of a distribution."""
    return f"{distribution} {importlib.metadata.version(distribution)}"
