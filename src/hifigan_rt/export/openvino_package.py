"""Imports OpenVINO without its telemetry, and reads its errors."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

from hifigan_rt.errors import EngineUnavailable

_TELEMETRY = "openvino_telemetry"

_importing = threading.Lock()


def import_openvino() -> ModuleType:
    """Import OpenVINO as if its package openvino-telemetry were not installed.

    `import openvino` alone reports itself to Google Analytics, unless the user has opted out in a file of its own
    (openvino/tools/ovc/__init__.py, 2026.4). Without that package it takes a stub that sends nothing; that is the state
    made here, for the time of the import only. A program that imported openvino before is left as it is.

    Raises:
        EngineUnavailable: it is not installed, or its libraries do not load.
    """
    with _importing:
        if "openvino" in sys.modules:
            return importlib.import_module("openvino")
        before = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # how Python is told that an import fails
        try:
            return importlib.import_module("openvino")
        except ImportError as error:
            raise EngineUnavailable(
                f"OpenVINO cannot be imported ({error}): pip install 'hifigan-rt[openvino]' (from a clone: "
                "pip install '.[openvino]')"
            ) from error
        finally:
            if before is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = before


def reason_of(error: Exception) -> str:
    """The telling line of an OpenVINO error, which begins with where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from ", "Check '", "While validating node"))]
    return " ".join(telling or lines)[:500] or type(error).__name__
