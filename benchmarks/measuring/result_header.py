"""The head of a recorded result: the state of the project, the settings and the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hifigan_rt.tools.benchmark.machine_record import machine_record

ROOT = Path(__file__).parents[2]
_FOLDERS_OF_NO_INTEREST = ("cache", "output")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def result_header(program: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The head of a result file: when, from which state of the project, with which settings, on what.

    Of folders only the last name is kept: the rest says something about a person's machine, not about the result.
    """
    settings = {
        key: Path(value).name if isinstance(value, Path) or (isinstance(value, str) and os.sep in value) else value
        for key, value in settings.items()
        if key not in _FOLDERS_OF_NO_INTEREST
    }
    return {
        "format": 1,
        "program": program,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        # Records of the same series, and what shows them, do not change what is measured.
        "uncommitted_changes": bool(
            _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs")
        ),
        "settings": settings,
        "machine": machine_record(),
    }
