"""The lines that the C++ library prints, on file descriptor 1 behind Python's back, and its errors."""

from __future__ import annotations

import os

DEBUG, INFO, WARN, ERROR = 1, 2, 3, 4
_NAMES = {DEBUG: "DEBUG", INFO: "INFO", WARN: "WARN", ERROR: "ERROR"}
_TEXTS = {
    -1: "ACL: general failure",
    1: "ACL: invalid parameter",
    3011: "Undefined error code",  # the table of texts ends before it
}

_level = INFO


def set_level(level: int) -> None:
    global _level
    _level = level


def log(level: int, text: str) -> None:
    if level >= _level:
        plain(f"[{_NAMES[level]}] {text}\n")


def plain(text: str) -> None:
    os.write(1, text.encode())


def failure(code: int) -> RuntimeError:
    return RuntimeError(f"[{code}][{_TEXTS.get(code, 'Error code unknown')}] ")


def check(expression: str, code: int) -> RuntimeError:
    """What the library's CHECK_RET_EQ macro prints before it gives up."""
    log(WARN, f"Check failed:{expression}, ret:{code}")
    return failure(code)
