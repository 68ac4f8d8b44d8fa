"""Shows this package a Python of another system, and notes what would fail there; run in a process of its own.

What Windows and macOS do not have is absent for our modules: modules of the standard library, names in others, /proc
and /sys. Other packages see Linux, since they were made for all systems. On Windows an open file can be neither removed
nor replaced, text in a file that is opened without an encoding is not UTF-8, and a descriptor that is opened without
O_BINARY changes line ends.

    python other_systems.py windows SCRIPT ARGUMENTS    # SCRIPT is Python; exit status 1 and the list if there is one
"""

from __future__ import annotations

import asyncio  # noqa: F401 - it needs what is hidden below
import importlib.util
import os
import select
import signal
import socket
import sys
import time
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS = "hifigan_rt"
HOUSE = Path(importlib.util.find_spec(OURS).origin).parent  # type: ignore[union-attr,arg-type]

_BINARY = 1 << 40
"""O_BINARY, which Linux does not have: a bit that is taken off before the system sees it."""

_LINUX_ALONE = {
    "os": "sched_getaffinity sched_setaffinity sched_setscheduler memfd_create posix_fadvise posix_fallocate pipe2 "
    "splice copy_file_range eventfd getrandom getxattr setxattr O_PATH O_TMPFILE O_LARGEFILE O_DIRECT ",
    "signal": "sigtimedwait sigwaitinfo SIGPWR SIGSTKFLT SIGRTMIN SIGRTMAX ",
    "select": "epoll EPOLLIN EPOLLOUT ",
    "socket": "AF_NETLINK AF_PACKET SO_PEERCRED TCP_USER_TIMEOUT ",
    "time": "CLOCK_BOOTTIME ",
}
_NOT_ON_WINDOWS = {
    "os": "fork forkpty wait wait3 wait4 waitid WIFEXITED WIFSIGNALED WEXITSTATUS WTERMSIG killpg getpgid getpgrp "
    "setpgid setsid getsid getuid geteuid getgid getegid getgroups setuid setgid nice getpriority setpriority "
    "getloadavg sysconf sysconf_names confstr pathconf statvfs fstatvfs chown lchown fchown chroot fchmod fchdir "
    "mkfifo mknod openpty pread pwrite preadv pwritev readv writev sendfile posix_spawn uname ttyname lockf sync "
    "register_at_fork fdatasync set_blocking get_blocking ctermid initgroups "
    "O_NOFOLLOW O_NONBLOCK O_CLOEXEC O_DIRECTORY O_ASYNC O_SYNC O_DSYNC O_NOCTTY O_ACCMODE",
    "signal": "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE SIGQUIT SIGIO SIGSTOP SIGCONT SIGTSTP SIGWINCH "
    "pthread_sigmask pthread_kill setitimer getitimer alarm pause sigwait sigpending siginterrupt",
    "select": "poll POLLIN POLLOUT POLLERR POLLHUP",
    "socket": "AF_UNIX SO_REUSEPORT sendmsg recvmsg",
    "time": "clock_gettime clock_settime CLOCK_MONOTONIC CLOCK_THREAD_CPUTIME_ID tzset",
}
ABSENT_NAMES = {
    "macos": _LINUX_ALONE,
    "windows": {name: _LINUX_ALONE[name] + more for name, more in _NOT_ON_WINDOWS.items()},
}
ABSENT_MODULES = {
    "macos": (),
    "windows": ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses"),
}
OTHER_VALUES = {
    "macos": {"sys": {"platform": "darwin"}},
    "windows": {"os": {"name": "nt", "O_BINARY": _BINARY}, "sys": {"platform": "win32"}},
}

noted: list[str] = []
"""What would fail, one line each."""


def asked_by_us(depth: int) -> bool:
    """Whether a module of ours is among so many callers, with nothing but the standard library in between."""
    frame: types.FrameType | None = sys._getframe(2)
    for _ in range(depth):
        if frame is None:
            return False
        name = frame.f_globals.get("__name__", "")
        if name.split(".")[0] == OURS:
            return True
        if name.split(".")[0] not in sys.stdlib_module_names:
            return False
        frame = frame.f_back
    return False


def show(module: types.ModuleType, absent: frozenset[str], values: Mapping[str, Any]) -> None:
    """Let our modules see others' values in a module, and no absent names."""

    class Shown(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            if (name in absent or name in values) and asked_by_us(1):
                if name in absent:
                    raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on this system")
                return values[name]
            return super().__getattribute__(name)

    module.__class__ = Shown


def opened_without_binary(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """`os.open` of Windows, as far as line ends go."""
    if not flags & _BINARY and not Path(path).is_dir() and os.fspath(path) != os.devnull:
        noted.append(f"{path!r} is opened without O_BINARY, which would change line ends")
    return os.open(path, flags & ~_BINARY, mode, dir_fd=dir_fd)


def is_open(path: Any) -> bool:
    """Whether this process has a file open."""
    found = os.path.realpath(os.fspath(path))
    # One of them, the folder's own, is gone when it is looked at.
    return any(os.path.realpath(place) == os.fsdecode(found) for place in Path("/proc/self/fd").iterdir())


def watch(system: str) -> None:
    """Note what is removed or replaced while it is open, and let the folders of Linux not be there."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(("/proc/", "/sys/")):
            if asked_by_us(8):
                raise FileNotFoundError(2, "No such file or directory", arguments[0])
        elif system == "windows" and event in ("os.remove", "os.rename") and asked_by_us(8):
            paths = arguments[:1] if event == "os.remove" else arguments[:2]
            noted.extend(f"{event} of {path!r}, which is open" for path in paths if is_open(path))

    sys.addaudithook(hook)


def note_warning(message: Warning | str, category: type[Warning], filename: str, line: int, *_: Any) -> None:
    """Note a file of ours that opens another without an encoding."""
    if issubclass(category, EncodingWarning) and filename.startswith(str(HOUSE)):
        noted.append(f"{filename}:{line}: {message}")


def main() -> None:
    system, script, *arguments = sys.argv[1:]
    modules = {module.__name__: module for module in (os, select, signal, socket, sys, time)}
    values: dict[str, dict[str, Any]] = {name: dict(of) for name, of in OTHER_VALUES[system].items()}
    if system == "windows":
        values["os"]["open"] = opened_without_binary
    for name, module in modules.items():
        show(module, frozenset(ABSENT_NAMES[system].get(name, "").split()), values.get(name, {}))
    for name in ABSENT_MODULES[system]:
        sys.modules[name] = None  # type: ignore[assignment]
    warnings.simplefilter("always", EncodingWarning)
    warnings.showwarning = lambda message, category, filename, line, *_: (
        noted.append(f"{filename}:{line}: {message}")
        if issubclass(category, EncodingWarning) and OURS in filename
        else None
    )
    watch(system)
    sys.argv = [script, *arguments]
    exec(compile(Path(script).read_text(encoding="utf-8"), script, "exec"), {"__name__": "__main__", "noted": noted})  # noqa: S102
    print(*noted, sep="\n", file=sys.stderr)
    sys.exit(bool(noted))


if __name__ == "__main__":
    main()
