"""Writes a file whole or not at all, and tells one file's contents from another's."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hifigan_rt.errors import OutputError

_UMASK = os.umask(0o077)
os.umask(_UMASK)
"""The mask can only be read by setting it, which threads would notice later: so once, at import."""


def readable(text: str) -> str:
    r"""Spell the bytes of file names that are not UTF-8, which Python keeps as lone surrogates: 0xff as \udcff.

    That is how `repr` and JSON spell them. Whatever people read goes through here, so that no name stops a result from
    being written. `os.fsencode(json.loads(text))` gives the bytes of a name in JSON back.
    """
    return text.encode("utf-8", "backslashreplace").decode()


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


def file_sha256(path: Path) -> str:
    """Digest of a file's contents, 64 hexadecimal digits; a gigabyte takes about a second.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Name an empty temporary file beside `path` that takes its name when the block ends well.

    For writers that open the file themselves, and for files that are checked before they count. When the block raises,
    or the process is interrupted, the temporary file is removed and whatever stood at `path` is untouched.

    Raises:
        OutputError: the folder is missing or read-only, or the disk is full.
    """
    temporary: Path | None = None
    try:
        try:
            descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            os.close(descriptor)
            temporary = Path(name)
            # mkstemp makes the file private; a result gets the rights that open() would have given it.
            temporary.chmod(0o666 & ~_UMASK)
            yield temporary
            temporary.replace(path)
            temporary = None
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{str(path)!r} could not be written: {error.strerror or error}; nothing stands at its place "
            "but what was there before"
        ) from error


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
        OutputError: the folder is missing or read-only, or the disk is full.
    """
    try:
        workplace = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=paths[0].parent))
        try:
            yield workplace
            _replace_together(workplace, paths)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{str(paths[0])!r} could not be written: {error.strerror or error}; nothing stands at its place "
            "but what was there before"
        ) from error


def _replace_together(workplace: Path, paths: Sequence[Path]) -> None:
    kept = Path(tempfile.mkdtemp(dir=workplace))
    with contextlib.ExitStack() as restoring:
        for path in paths:
            if path.is_dir():  # would be moved, and deleted at the end
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if path.exists():
                path.replace(kept / path.name)
                restoring.callback((kept / path.name).replace, path)
            (workplace / path.name).replace(path)
            restoring.callback(path.unlink, missing_ok=True)
        restoring.pop_all()
