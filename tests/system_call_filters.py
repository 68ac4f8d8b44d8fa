"""Filters of system calls, as containers and systemd set them: seccomp(2)."""

from __future__ import annotations

import ctypes

ALLOW = 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_FIRST_ARGUMENT = 16
"""Where its lower half lies in what a filter sees."""


class _Line(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.POINTER(_Line))]


def forbid(call: int, action: int, first_argument: int | None = None) -> None:
    """Let this system call have that action from now on, in this thread and those that it starts; allow all others.

    `first_argument` forbids the call with that one alone.
    """
    argument = (
        [] if first_argument is None else [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_IF_EQUAL, 0, 1, first_argument)]
    )
    lines = [
        (_LOAD, 0, 0, 0), (_JUMP_IF_EQUAL, 0, len(argument) + 1, call), *argument,
        (_RETURN, 0, 0, action), (_RETURN, 0, 0, ALLOW),
    ]  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    program = _Program(len(lines), (_Line * len(lines))(*lines))
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
