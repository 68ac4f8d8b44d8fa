"""The lines that the C++ library prints, on file descriptor 1 behind Python's back, and its errors."""

from __future__ import annotations

import os

from cann_simulator.settings import generation, tools_of_2026

DEBUG, INFO, WARN, ERROR = 1, 2, 3, 4
_NAMES = {DEBUG: "DEBUG", INFO: "INFO", WARN: "WARN", ERROR: "ERROR"}
_TEXTS = {
    -1: "ACL: general failure",
    1: "ACL: invalid parameter",
    3011: "Undefined error code",  # the table of texts ends before it
}

_REWORDED = {
    "load model from": "Load model from", "Check i:": "check i:", "Check InVector": "check input vector",
    "Set InputsData": "set inputs data", "Execute Infer": "execute Infer", "Get OutTensors": "get OutTensors",
    "om has": "om model has",
}  # fmt: skip
"""Beginnings of lines that were other words by 2026."""

_level = INFO


def set_level(level: int) -> None:
    global _level
    _level = level


def log(level: int, text: str) -> None:
    if level >= _level:
        # spdlog's names of levels (Yanguan619/aclruntime aclruntime/src/Log.cpp).
        if tools_of_2026():
            old = next((old for old in _REWORDED if text.startswith(old)), "")
            text = _REWORDED.get(old, "") + text[len(old) :]
        name = {"WARN": "warning"}.get(_NAMES[level], _NAMES[level].lower()) if tools_of_2026() else _NAMES[level]
        plain(f"[{name}] {text}\n")


def recent_error(text: str) -> None:
    """The library's last error, of several lines: bare in 2023, marked since 2024 (Base/Log/Log.h, ACLERR_LOG)."""
    if tools_of_2026():
        plain(f"[error] [ACL ERROR] {text}")
    else:
        plain(text if generation() == 6 else f"[ACL ERROR] {text}")


def plain(text: str) -> None:
    os.write(1, text.encode())


def failure(code: int) -> RuntimeError:
    return RuntimeError(f"[{code}][{_TEXTS.get(code, 'Error code unknown')}] ")


def check(expression: str, code: int) -> RuntimeError:
    """What the library's CHECK_RET_EQ macro prints before it gives up."""
    log(WARN, f"Check failed:{expression}, ret:{code}")
    return failure(code)
