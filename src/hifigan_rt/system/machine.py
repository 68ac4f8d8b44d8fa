"""What this process may use of the machine it runs on and gives back to it, and which names lead to it alone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import ipaddress
import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

_CGROUPS = Path("/sys/fs/cgroup")
_CGROUPS_OF_THIS = Path("/proc/self/cgroup")
_STATM = Path("/proc/self/statm")
# Of glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """Physical cores that this process may use: the affinity mask and its control groups' quotas, the smallest of them.

    Two hardware threads of one core count once: they share its vector units, which is all a vocoder uses.
    """
    # macOS and Windows have no affinity mask to ask for.
    has_mask = hasattr(os, "sched_getaffinity")
    allowed = os.sched_getaffinity(0) if has_mask else set(range(os.cpu_count() or 1))
    cores = len({_core_of(cpu) for cpu in allowed})
    return max(1, min([cores, *(math.ceil(quota) for quota in _cgroup_quotas())]))


@cache
def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit() -> int | None:
    """Bytes that this process may have: of the machine, or of a control group that it is in; None if nothing tells."""
    limits = [physical_memory(), *_cgroup_memory_limits()]
    return min((limit for limit in limits if limit is not None), default=None)


def resident_memory() -> int:
    """Bytes of memory that this process has now; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def give_back_memory() -> None:
    """Return to the system what was freed: glibc keeps it, some 300 MB of a V1, for each thread that allocates.

    Takes up to some tens of ms. Does nothing where the C library is another one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def keep_little_memory() -> None:
    """Have the C library keep little of what is freed from now on; for a process that lasts, before it has threads.

    glibc keeps a heap for each thread, and, after large arrays were freed, takes the next ones from these heaps: 56 MB
    were left after one body of JSON, 4 MB with this. Does nothing where the C library is another one.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is not None:
        set_option(_M_ARENA_MAX, 2)
        set_option(_M_MMAP_THRESHOLD, 1 << 18)


def keep_collections_short() -> None:
    """Leave all that is loaded now out of the garbage collector's rounds, for which every thread stops.

    For a process that lasts, once it has its modules. A round over those of the server stopped it for 50 to 60 ms, each
    time requests had brought it enough to look at; without them it takes 21 ms at most beside hostile clients (Zen 4).
    """
    gc.collect()
    gc.freeze()


def allow_descriptors(wanted: int) -> int:
    """Let this process have so many files and connections open, or as many as it may allow itself; tell how many.

    Shells and services begin with 1024, for programs that use `select`, and may go far beyond.
    """
    if os.name != "posix":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, wanted) or soft > wanted:
        return max(soft, wanted)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):  # macOS has a limit of its own below what it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without the port and the brackets of IPv6; empty if it cannot be read."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the site of a Host header; one that is no address names none."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def _core_of(cpu: int) -> str:
    try:
        return (_TOPOLOGY / f"cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
    except OSError:
        return str(cpu)


def _cgroup_quotas() -> Iterator[float]:
    """Processors that this process's control groups and those around them grant, as far as they set a limit."""
    for unified, place in _cgroup_folders("cpu"):
        with contextlib.suppress(OSError, ValueError):
            if unified:
                limit, period = (place / "cpu.max").read_text("ascii").split()
            else:
                limit, period = ((place / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
            if limit != "max" and int(limit) > 0:
                yield int(limit) / int(period)


def _cgroup_memory_limits() -> Iterator[int]:
    """Memory limits of this process's control groups and those around them; version 1 puts a huge number for none."""
    for unified, place in _cgroup_folders("memory"):
        with contextlib.suppress(OSError, ValueError):
            yield int((place / ("memory.max" if unified else "memory.limit_in_bytes")).read_text("ascii"))


def _cgroup_folders(controller: str) -> Iterator[tuple[bool, Path]]:
    """Folders of this process's control groups that may limit something, and of those around them.

    Returns:
        Whether it is one of version 2, which has all controllers in one tree, and the folder.
    """
    try:
        lines = _CGROUPS_OF_THIS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        unified = controllers == ""
        if not unified and controller not in controllers.split(","):
            continue
        folder = _CGROUPS if unified else _CGROUPS / controller
        # A container sees its own group as the root, and the path may be that of the host.
        group = folder / path.lstrip("/")
        for place in {folder, group, *(parent for parent in group.parents if folder in parent.parents)}:
            yield unified, place
