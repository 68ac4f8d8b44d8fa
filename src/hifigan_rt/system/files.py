"""Writes a file whole or not at all, and tells one file's contents from another's.

What a file holds reaches the disk before the file gets its name: after a power cut the name leads to the old contents
or to the new ones, never to zeros. Waiting for the disk took 3.5 ms a file on ext4 on a virtual disk (0.1 ms without),
in the thread that writes beside the engine. Nothing is written through a link, and what is no file (a device, a FIFO, a
socket) is never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hifigan_rt.errors import OutputError
from hifigan_rt.system.temporary_names import TEMPORARY_SUFFIX, temporary_prefix

_UMASK = os.umask(0o077)
os.umask(_UMASK)
"""The mask can only be read by setting it, which threads would notice later: so once, at import."""

_NOT_SYNCED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})
"""Errors of file systems that offer no way to wait for the disk; a full or broken disk has others."""

_UNCHANGED = getattr(os, "O_BINARY", 0)
"""Flag with which Windows changes no line end."""

_OWN_FLAGS = _UNCHANGED | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
"""Flags with which a link is not followed either, and a FIFO not waited for."""


def readable(text: str) -> str:
    r"""Spell the bytes of file names that are not UTF-8, which Python keeps as lone surrogates: 0xff as \udcff.

    That is how `repr` and JSON spell them. Whatever people read goes through here, so that no name stops a result from
    being written. `os.fsencode(json.loads(text))` gives the bytes of a name in JSON back.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def is_utf8(path: Path) -> bool:
    """Whether a name can be told to programs that take UTF-8 alone."""
    return os.fspath(path) == readable(os.fspath(path))


def plain_path(path: str | Path) -> Path:
    """Make a path absolute and leave out each `..` with the folder before it, as people write paths.

    Not where that folder is a link or is not there: the system follows a link before it goes up.
    """
    plain: list[str] = []
    for part in Path(path).absolute().parts:
        above = os.path.join(*plain) if plain else ""  # noqa: PTH118 - parts of a path that begins with its root
        if part == ".." and plain[-1] != ".." and os.path.isdir(above) and not os.path.islink(above):  # noqa: PTH112, PTH114
            plain = plain[:-1] or plain
        else:
            plain.append(part)
    return Path(*plain)


def is_there(path: Path) -> bool:
    """Tell whether a path leads to something.

    `Path.exists` says from Python 3.14 on that nothing is there where that cannot be looked up.

    Raises:
        OSError: it cannot be looked up: the name is too long, a folder may not be searched.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
        return False
    return True


def stands_beside(path: Path) -> bool:
    """Tell whether there is a file, or a link that should lead to one: whoever opens it tells why it does not."""
    return path.is_symlink() or path.is_file()


def file_sha256(path: Path) -> str:
    """Digest of a file's contents, 64 hexadecimal digits; a gigabyte takes about a second.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until what a file holds, or the names in a folder, are on the disk; passed over where that is not offered.

    Raises:
        OSError: the disk is full or broken.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _UNCHANGED)
    except PermissionError:  # a folder that may be written to and not be read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise
    finally:
        os.close(descriptor)


def sync_folders(folders: Iterable[Path]) -> None:
    """Wait until the names in some folders are on the disk.

    Raises:
        OutputError: the disk is full or broken.
    """
    for folder in folders:
        try:
            sync(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"folder {str(folder)!r} could not be written: {error.strerror or error}") from error


def open_own(path: Path, flags: int) -> int:
    """Open a file that only this package writes, such as a manifest, and give its descriptor.

    Args:
        path: the file.
        flags: of `os.open`.

    Raises:
        OutputError: a link is at its place, or something that is no file.
        OSError: it cannot be opened.
    """
    if path.is_symlink():
        raise OutputError(
            f"{str(path)!r} is a link to {str(path.readlink())!r}, and nothing is written through links: remove it, or "
            "name another output folder"
        )
    if not path.is_dir():  # which the caller tells as it tells the errors of opening
        refuse_special(path)
    descriptor = os.open(path, flags | _OWN_FLAGS, 0o666)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return descriptor


def refuse_special(path: Path) -> None:
    """Check that what is at a result's place may be replaced: renaming over /dev/null would do away with it.

    Raises:
        OutputError: a folder, a device, a FIFO, a socket, or a link of the system such as /dev/stdout is there.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:  # nothing is there, or opening it says why not
        return
    kind = next((name for holds, name in _SPECIAL if holds(mode)), None)
    if stat.S_ISLNK(mode) and os.path.realpath(path.parent) == "/dev":
        kind = "link of the system"  # what it leads to may be a file; all programs of the machine go by the link
    if kind is not None:
        raise OutputError(f"{str(path)!r} is a {kind}, and only files are replaced: name another place for the result")


_SPECIAL = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"),
)  # fmt: skip


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Name an empty temporary file beside `path` that takes its name when the block ends well.

    For writers that open the file themselves, and for files that are checked before they count. When the block raises,
    or the process is interrupted, the temporary file is removed and whatever stood at `path` is untouched. A link there
    is replaced itself, and what it leads to is untouched as well.

    The folder's names are not waited for: whoever writes many files calls `sync_folders` once.

    Raises:
        OutputError: the folder is missing or read-only, the disk is full, or no file is at the place of `path`.
    """
    refuse_special(path)
    with _failing_for(path):
        descriptor, name = tempfile.mkstemp(TEMPORARY_SUFFIX, temporary_prefix(), path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            # mkstemp makes the file private; a result gets the rights that open() would have given it.
            temporary.chmod(0o666 & ~_UMASK)
            yield temporary
            sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _failing_for(path: Path) -> Iterator[None]:
    """Say of what the system refuses that a result could not be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{str(path)!r} could not be written: {_why_not(path, error)}; nothing stands at its place "
            "but what was there before"
        ) from error


def _why_not(path: Path, error: OSError) -> str:
    """What an error says of a file; the system says the same of it and of its folder."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return f"folder {str(path.parent)!r} is not there, make it first"
    return error.strerror or str(error)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file as `atomic_path` names it, for reading and writing.

    Raises:
        OutputError: the folder is missing or read-only, or the disk is full.
    """
    with atomic_path(path) as temporary, temporary.open("w+b") as file:
        yield file


@contextlib.contextmanager
def atomic_paths(paths: Sequence[Path]) -> Iterator[Path]:
    """Name an empty folder; what is written there under the names of `paths` takes its places together.

    For formats of several files that mean nothing alone. All paths are in one folder. When the block raises, or a file
    cannot be moved, whatever stood at any of them is there again.

    Raises:
        OutputError: the folder is missing or read-only, the disk is full, or no file is at the place of one of them.
    """
    for path in paths:
        refuse_special(path)
    with _failing_for(paths[0]):
        workplace = Path(tempfile.mkdtemp(TEMPORARY_SUFFIX, temporary_prefix(), paths[0].parent))
        try:
            yield workplace
            for path in paths:
                sync(workplace / path.name)
            _replace_together(workplace, paths)
            sync(paths[0].parent)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def _replace_together(workplace: Path, paths: Sequence[Path]) -> None:
    kept = Path(tempfile.mkdtemp(dir=workplace))
    with contextlib.ExitStack() as restoring:
        for path in paths:
            if path.is_dir():  # would be moved, and deleted at the end
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if os.path.lexists(path):
                path.replace(kept / path.name)
                restoring.callback((kept / path.name).replace, path)
            (workplace / path.name).replace(path)
            restoring.callback(path.unlink, missing_ok=True)
        restoring.pop_all()
