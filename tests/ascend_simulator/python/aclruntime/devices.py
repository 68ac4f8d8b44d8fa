"""The process's hold on the devices: initialised once, each opened once, counted per session."""

from __future__ import annotations

import os

from aclruntime.logs import ERROR, INFO, failure, log, recent_error
from cann_simulator.settings import device_count, fault, generation, tools_of_2026

DEVICE_ERROR = 507033
"""ACL_ERROR_RT_DEV_SETUP_ERROR, which memory, heartbeat and use by another share (hicann/runtime
include/external/acl/error_codes/rt_error_codes.h; the texts: src/dfx/error_manager/error_code.json)."""

_STAMP = "[PID: {pid}] 2026-03-04-05:06:07.008.009"
MEMORY = f"{_STAMP} Memory_Allocation_Failure(EL0004): Failed to allocate memory requested by RUNTIME module.\n"
HEARTBEAT = f"{_STAMP} Inner_Error_Device_Status_Abnormal(E39009): Failed to connect the device.\n"
IN_USE = f"{_STAMP} Resource_Busy(EL0005): The resources are busy.\n"

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
        cause = {"acl:memory": MEMORY, "acl:heartbeat": HEARTBEAT, "acl:in-use": IN_USE}
        for name, text in cause.items():
            if fault(name) is not None:
                recent_error(text.format(pid=os.getpid()))
                log(ERROR, f"acl open device {device} failed")
                raise failure(DEVICE_ERROR)
        if device >= device_count() or busy == "" or busy == str(device):
            recent_error(
                "EL0003: The argument is invalid. Reason: rtSetDevice execution failed, reason=[device open failed]\n"
                f"EL0003  device_id={device}, error code {DEVICE_ERROR}\n"
            )
            log(ERROR, f"acl open device {device} failed")
            raise failure(DEVICE_ERROR)
        log(INFO, f"open device {device} success")
        if tools_of_2026():
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
        if generation() == 6:
            log(INFO, "end to destroy context")
        log(INFO, f"end to reset device {'is ' * (generation() == 6)}{device}")
    _opened.clear()
    _initialised = False
    log(INFO, "end to finalize acl")
