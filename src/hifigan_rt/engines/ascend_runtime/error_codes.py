"""Reads the vendor's error codes out of what its tools and libraries print.

Rule: a line holds an error's code at its beginning (`E10001: text`, to CANN 8.3, and inner errors in every release), or
in brackets before a colon, anywhere (`[PID: 7] 2026-01-02-03:04:05.006 Title(E10001): text`, from CANN 8.5 on). An
inner error has a heading (`E19999: Inner Error!`), and its text below. Sources: hicann/runtime
src/dfx/error_manager/error_manager.cc, GetErrorMessage; aclruntime prints the same behind `[ACL ERROR]`
(Yanguan619/aclruntime aclruntime/include/Log.h).
"""

from __future__ import annotations

import re

_FIRST_CODE = re.compile(
    r"(?:\s*\[\w+\])?\s*\[ACL ERROR\]\s*([EW][A-Z0-9]\d{4})\b(.*)|([EW][A-Z0-9]\d{4})(?![A-Za-z0-9])(.*)"
)
_BRACKETED_CODE = re.compile(r"\(([EW][A-Z0-9]\d{4})\):\s*(.*)")
_STAMP = re.compile(r"[:\s]*(?:\[PID:\s*\d+\]\s*)?(?:\d{4}-\d{2}-\d{2}[- ][\d:.]+\s*)?")
"""Process and time, which some releases print between code and message."""
_HEADING = re.compile(r"(Inner|Internal) error!?|", re.IGNORECASE)
_TRACEBACK = re.compile(r"\s*traceback \(most recent call last\):?.*", re.IGNORECASE)


def read_code(line: str) -> tuple[str, str]:
    """The code that a line holds, and the text after it; both empty if it holds none. Warnings have a W for the E."""
    first, bracketed = _FIRST_CODE.match(line), _BRACKETED_CODE.search(line)
    code, text = ("", "") if first is None else (first[1] or first[3], first[2] or first[4] or "")
    if bracketed is not None and code in ("", bracketed[1]):
        return bracketed[1], bracketed[2].strip()
    stamp = _STAMP.match(text)
    return code, text[stamp.end() if stamp else 0 :].strip()


def is_heading(text: str) -> bool:
    """Whether the text after a code is an inner error's heading, or nothing: what happened stands below."""
    return _HEADING.fullmatch(text) is not None


def begins_traceback(line: str) -> bool:
    """Whether the lines below say where an error was raised, and not what it is."""
    return _TRACEBACK.fullmatch(line) is not None
