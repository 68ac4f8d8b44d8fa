"""How much of the processors others used meanwhile, so that quiet rounds can be told from disturbed ones."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _COUNTED = 3, 4, 8
"""Fields of the first line: user nice system idle iowait irq softirq steal; guest time is within user already."""

_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of a process's line, from its state on."""


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


def started_processes() -> tuple[int, ...]:
    """Numbers of the processes that this one started, and those did; none where the system does not tell."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _process_fields(int(folder.name)):
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return tuple(found[1:])


def cpu_seconds(others: Iterable[int] = ()) -> float:
    """Processor time of this process so far, and of `others` that still live, in steps of 10 ms on most systems."""
    ticks = sum(int(tick) for process in others for tick in _process_fields(process)[_USER : _SYSTEM + 1])
    return time.process_time() + (ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0)


def peak_memory_mib(others: Iterable[int] = ()) -> float | None:
    """Peak resident memory of this process in MiB, with that of `others` that still live.

    Not getrusage: its ru_maxrss keeps the peak of the process that started this one.
    """
    peaks = []
    for process in ("self", *others):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines()
            peaks += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
    return sum(peaks) if peaks else None


def _process_fields(process: int) -> list[str]:
    """Fields of a process from its state on; empty if it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text("ascii", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name, in brackets, may hold any character
