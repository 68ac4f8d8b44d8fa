"""How much of the processors others used meanwhile, so that quiet rounds can be told from disturbed ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _COUNTED = 3, 4, 8
"""Fields of the first line: user nice system idle iowait irq softirq steal; guest time is within user already."""


@dataclass(frozen=True)
class MachineCpu:
    """Processor seconds since boot, all processors together; the host's steal counts as used."""

    used: float
    total: float


def machine_cpu() -> MachineCpu | None:
    """Read the counters; None where the system has none."""
    try:
        fields = _STAT.read_text("ascii").split("\n", 1)[0].split()[1 : 1 + _COUNTED]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    hertz = os.sysconf("SC_CLK_TCK")
    total = sum(ticks)
    return MachineCpu((total - ticks[_IDLE] - ticks[_IOWAIT]) / hertz, total / hertz)


def used_by_others(before: MachineCpu | None, after: MachineCpu | None, own_seconds: float) -> float | None:
    """Share of all processors, 0 to 1, that was used by anything but the measurement; None if unknown.

    The counters have a resolution of 10 ms on most systems, so a share of a round below 0.2 s is rough.
    """
    if before is None or after is None or after.total <= before.total:
        return None
    share = (after.used - before.used - own_seconds) / (after.total - before.total)
    return min(1.0, max(0.0, share))


def peak_memory_mib() -> float | None:
    """Peak resident memory of this process in MiB.

    Not getrusage: its ru_maxrss keeps the peak of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
