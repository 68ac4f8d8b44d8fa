"""Whether engine `ascend` can run here: it needs packages of another interpreter, not of this one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from functools import lru_cache
from pathlib import Path

from hifigan_rt.engines.ascend_runtime.failures import missing_package
from hifigan_rt.engines.ascend_runtime.worker_client import ascend_python
from hifigan_rt.errors import EngineUnavailable

_TIMEOUT_S = 60.0

_MISSING = {3: "numpy", 4: "aclruntime"}
"""Modules that the interpreter must have, by the exit status that says that one is not there."""
_LOOK = f"""
import sys, importlib.util
for status, name in {_MISSING}.items():
    if importlib.util.find_spec(name) is None:
        sys.exit(status)
"""


def why_unavailable() -> str | None:
    """Why neither aclruntime nor ONNX Runtime's CANN provider is there; None if one is. Nothing is imported."""
    if has_cann_provider():
        return None
    try:
        return _look_for_aclruntime(ascend_python(), os.environ.get("PYTHONPATH", ""))
    except EngineUnavailable as error:
        return str(error)


def has_cann_provider() -> bool:
    """Whether this interpreter's ONNX Runtime was built with the CANN provider."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return False
    return any(Path(spec.origin).parent.glob("capi/*onnxruntime_providers_cann*"))


@lru_cache(maxsize=8)
def _look_for_aclruntime(python: str, python_path: str) -> str | None:  # noqa: ARG001 - it is inherited
    try:
        done = subprocess.run([python, "-c", _LOOK], capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"engine 'ascend': the interpreter {python!r} cannot be run: {error}"
    if done.returncode == 0:
        return None
    if done.returncode in _MISSING:
        return str(missing_package(_MISSING[done.returncode], python))
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"])[-1]
    return f"engine 'ascend': {python!r} does not run Python: {last[:500]}"
