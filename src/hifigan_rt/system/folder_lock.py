"""Lets one run at a time work in a folder.

The rule: a file `.hifigan.lock` in the folder is locked by the kernel (flock) for as long as the run lives. Whatever
ends the process frees it, Ctrl-C, kill -9 and a power cut alike, so a file that was left behind is in nobody's way.
What it says (process, host, beginning) is for the message alone. It is removed at the end.

Where a file system has no locks, a second file, made exclusively, is the lock. It is left over if its process was one
of this host and is gone, and is then taken over. Whether a process of another host is gone cannot be told from here:
the run is refused, and the text names the file to delete. Where a file system keeps its locks to each host, a run on
another host is not noticed.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import open_own
from hifigan_rt.system.temporary_names import process_is_gone

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HAS_FLOCK = fcntl is not None

LOCK_NAME = ".hifigan.lock"
"""Name of the file that the kernel locks."""

HOLDER_NAME = ".hifigan-run.lock"
"""Name of the file that is the lock itself where the file system has none."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_MOST_RECORD_BYTES = 4096

_held: set[tuple[int, int]] = set()
"""Device and inode of the holder files of this process: another process of its number may have left one."""


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder that is there.

    Raises:
        OutputError: another run is at work in it, or it cannot be written to.
    """
    try:
        lock = _locked_by_kernel(folder)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename!r})" if error.filename else error.strerror or error
        raise OutputError(f"folder {str(folder)!r} cannot be written to: {reason}") from error
    with lock:
        yield


def _locked_by_kernel(folder: Path) -> contextlib.ExitStack:
    if not _HAS_FLOCK:
        return _held_by_file(folder)
    path = folder / LOCK_NAME
    while True:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(os.close, descriptor)
            try:
                _lock(descriptor)
            except BlockingIOError:
                raise _busy(folder, _read_record(descriptor)) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                path.unlink(missing_ok=True)
                return _held_by_file(folder)
            if _is_at(path, descriptor):  # else its last holder has just removed it
                with contextlib.suppress(OSError):  # another user's; left over, it must not keep others out
                    os.fchmod(descriptor, 0o666)
                _write_record(descriptor)
                # Removed while it is locked, or a third run could get a file that a second has locked.
                cleanup.callback(_remove, path)
                return cleanup.pop_all()


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _held_by_file(folder: Path) -> contextlib.ExitStack:
    path = folder / HOLDER_NAME
    with contextlib.suppress(FileNotFoundError):
        descriptor = open_own(path, os.O_RDONLY)
        with contextlib.closing(os.fdopen(descriptor, "rb")):
            record = _read_record(descriptor)
            if not _is_left_over(record, descriptor):
                raise _busy(folder, record, f"; if that process is gone, delete {str(path)!r}")
        path.unlink(missing_ok=True)
    try:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        raise _busy(folder, {}) from None
    with contextlib.closing(os.fdopen(descriptor, "wb")):
        _write_record(descriptor)
        key = _key(descriptor)
    _held.add(key)
    release = contextlib.ExitStack()
    release.callback(_held.discard, key)
    release.callback(_remove, path)
    return release


def _is_left_over(record: dict[str, Any], descriptor: int) -> bool:
    process = record.get("process")
    if record.get("host") != socket.gethostname() or not isinstance(process, int) or process <= 0:
        return False
    if process == os.getpid():
        return _key(descriptor) not in _held
    return process_is_gone(process)


def _busy(folder: Path, record: dict[str, Any], way_out: str = "") -> OutputError:
    texts = (str(record.get(key, "unknown"))[:100] for key in ("process", "host", "since"))
    process, host, since = (text if text.isprintable() else "unknown" for text in texts)
    return OutputError(
        f"another run is at work in {str(folder)!r}: process {process} on host {host}, since {since}. Wait until it "
        f"has ended, or name another output folder{way_out}"
    )


def _read_record(descriptor: int) -> dict[str, Any]:
    """What a lock file says; nothing if its holder has not written it yet."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        record = json.loads(os.read(descriptor, _MOST_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(descriptor: int) -> None:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.suppress(OSError):  # a full disk; the lock holds without
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(record).encode("ascii"))


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == _key(descriptor)


def _key(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
