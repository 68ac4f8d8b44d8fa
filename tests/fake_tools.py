"""Programs that stand in for the vendor's, found on the PATH: short shell scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

NEEDED = "/usr/bin:/bin"
"""For the scripts' own cat and sleep; no Ascend tool lies there."""


def put_on_path(folder: Path, scripts: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write scripts by name, and make their folder the only one before the system's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{NEEDED}")
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def printing(folder: Path, name: str, text: str | bytes) -> str:
    """A line of shell that prints this text, whatever characters it has."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"cat '{path}'"
