"""The compiled kernels of engine `cuda`, and whether the engine can run here."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import zipfile
from pathlib import Path

from hifigan_rt.engines import cuda_archive, native_module
from hifigan_rt.errors import EngineError, EngineUnavailable

KERNELS_VARIABLE = "HIFIGAN_RT_CUDA_KERNELS"
DRIVER_VARIABLE = "HIFIGAN_RT_CUDA_DRIVER"
ARCHIVE = "cuda_kernels.zip"
HOPPER = 90
"""The compute capability whose machine code, sm_90a.cubin, holds both sets of kernels."""
_ORIN = 87
"""Compute capability of the Jetsons of Orin: by NVIDIA's guide, Tegra's chips run no machine code of other cards."""
_SYSTEM_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def archive() -> Path | None:
    """The file of the kernels, beside the compiled module; None if this build has none."""
    module = importlib.util.find_spec("hifigan_rt._native")
    if module is None or module.origin is None:
        return None
    path = Path(module.origin).parent / ARCHIVE
    return path if path.is_file() else None


def why_unavailable() -> str | None:
    """Why the engine cannot run here, with the way out; None if it may: a card is looked for when a model is loaded."""
    reason = native_module.why_unavailable()
    if reason is not None:
        return reason.replace("engine 'native'", "engine 'cuda'")
    if archive() is None:
        return (
            "engine 'cuda' needs its compiled kernels, which this build does not hold: build it with "
            "HIFIGAN_RT_CUDA=1 pip install . (fetches NVIDIA's compilers, 130 MB, for the build)"
        )
    try:
        # Opened and not started: a process that asks what there is may be forked later.
        ctypes.CDLL(driver() or _SYSTEM_DRIVER)
    except OSError as error:
        return (
            f"engine 'cuda' needs NVIDIA's driver, which is not there ({error}): install the card's driver, 525 or "
            "newer; in a container, start it with the card (docker run --gpus all)"
        )
    return None


def driver() -> str:
    """The driver's library; empty for the system's."""
    return os.environ.get(DRIVER_VARIABLE, "")


def named_set() -> str:
    """The set of kernels that HIFIGAN_RT_CUDA_KERNELS names, "general" or "hopper", whatever the card.

    Raises:
        EngineError: there is no such set.
    """
    wanted = os.environ.get(KERNELS_VARIABLE) or "general"
    if wanted not in ("general", "hopper"):
        raise EngineError(
            f"{KERNELS_VARIABLE}={wanted!r} is not a set of kernels: choose general or hopper, or unset it"
        )
    return wanted


def chosen_set(capability: int) -> str:
    """The set of kernels that a card is given.

    Args:
        capability: compute capability, 80 for 8.0.

    Raises:
        EngineError: there is no such set, or not for this card.
    """
    wanted = named_set()
    if wanted == "hopper" and capability != HOPPER:
        raise EngineError(
            f"{KERNELS_VARIABLE}={wanted} is for compute capability 9.0, and this card has "
            f"{capability // 10}.{capability % 10}: choose general, or unset it"
        )
    return wanted


def image_for(capability: int) -> tuple[bytes, str]:
    """The kernels for a card.

    Args:
        capability: compute capability, 80 for 8.0.

    Returns:
        What the driver loads, and its name.

    Raises:
        EngineUnavailable: there are no kernels, or their file is damaged.
    """
    path = archive()
    if path is None:
        raise EngineUnavailable(why_unavailable() or "")
    try:
        name = member_for(capability, cuda_archive.names(path))
        return cuda_archive.read(path, name), name
    except ImportError as error:
        raise EngineUnavailable(
            f"engine 'cuda' unpacks its kernels with Python's module lzma, and this Python was built without: {error}; "
            "install another, or build it again with the headers of liblzma (Debian, Ubuntu: apt install liblzma-dev)"
        ) from error
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise EngineUnavailable(
            f"the kernels of engine 'cuda' cannot be read from {path}: {error}; install it again"
        ) from error


def member_for(capability: int, names: list[str]) -> str:
    """The machine code that a card runs, that of its own generation and not newer, else the intermediate code."""
    codes = {name: int(name[len("sm_") : -len(".cubin")].rstrip("a")) for name in names if name.endswith(".cubin")}
    if capability == _ORIN:
        codes = {}
    fitting = [name for name, code in codes.items() if code // 10 == capability // 10 and code <= capability]
    return max(fitting, default=cuda_archive.FORWARD, key=codes.__getitem__)
