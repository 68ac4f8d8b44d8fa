"""The process's hold on the devices: initialised once, each opened once, counted per session."""

from __future__ import annotations

from aclruntime.logs import ERROR, INFO, failure, log, plain
from cann_simulator.settings import device_count, fault, generation

DEVICE_ERROR = 507033

_opened: list[int] = []
_sessions = 0
_initialised = False


def open_device(device: int) -> None:
    """Open it, or fail as where /dev/davinciN is missing or busy."""
    global _initialised, _sessions
    if not _initialised:
        log(INFO, "acl init success")
        _initialised = True
    if device not in _opened:
        busy = fault("acl:busy")
        if device >= device_count() or busy == "" or busy == str(device):
            plain(
                "EL0003: The argument is invalid. Reason: rtSetDevice execution failed, reason=[device open failed]\n"
                f"EL0003  device_id={device}, error code {DEVICE_ERROR}\n"
            )
            log(ERROR, f"acl open device {device} failed")
            raise failure(DEVICE_ERROR)
        log(INFO, f"open device {device} success")
        if generation() == 8:
            log(INFO, "create new context")
        _opened.append(device)
    _sessions += 1


def close_session() -> None:
    """One session fewer; the last gives the devices back."""
    global _sessions
    _sessions = max(0, _sessions - 1)


def finalize() -> None:
    global _initialised
    if not _initialised:
        return
    for device in _opened:
        log(INFO, "end to destroy context")
        log(INFO, f"end to reset device is {device}")
    _opened.clear()
    _initialised = False
    log(INFO, "end to finalize acl")
