"""Imports OpenVINO without its telemetry, keeps its one core, and reads its errors."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from concurrent.futures import Future
from types import ModuleType
from typing import TYPE_CHECKING

from hifigan_rt.errors import EngineUnavailable
from hifigan_rt.system.versions import how_to_get

if TYPE_CHECKING:
    import openvino

_TELEMETRY = "openvino_telemetry"

_importing = threading.Lock()
_starting = threading.Lock()
_core: openvino.Core | None = None


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
            raise EngineUnavailable(f"OpenVINO cannot be imported ({error}): {how_to_get('openvino')}") from error
        finally:
            if before is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = before


def openvino_core() -> openvino.Core:
    """The one core of this process.

    OpenVINO's plug-in for CPUs (2026.4) gives the thread that first needs it another stack for signals, and unmaps that
    stack when the last core and model are freed, in whichever thread. The next signal to the first thread, Ctrl-C
    in the main one, then ends the process with a segmentation fault. So the plug-in is brought up in a thread that
    ends, and kept.

    Raises:
        EngineUnavailable: OpenVINO is not installed, or its libraries do not load.
    """
    global _core
    package = import_openvino()
    with _starting:
        if _core is None:
            started: Future[openvino.Core] = Future()
            thread = threading.Thread(target=_start, args=(package, started), name="hifigan-openvino-start")
            thread.start()
            thread.join()
            _core = started.result()
        return _core


def _start(package: ModuleType, started: Future[openvino.Core]) -> None:
    try:
        core = package.Core()
        with contextlib.suppress(RuntimeError):  # a build for other devices alone
            core.get_versions("CPU")
    except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
        started.set_exception(error)
    else:
        started.set_result(core)


def reason_of(error: Exception) -> str:
    """The telling line of an OpenVINO error, which begins with where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from ", "Check '", "While validating node"))]
    return " ".join(telling or lines)[:500] or type(error).__name__
