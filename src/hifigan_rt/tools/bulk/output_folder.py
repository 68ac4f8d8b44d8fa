"""Folder that the results of one run go into, and a result that stands alone.

The rule: the folder itself may be a link, nothing below it is followed. One run works in it at a time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import refuse_special
from hifigan_rt.system.folder_lock import locked_folder


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises:
        OutputError: it cannot be created, or a file stands in its way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name is there" if isinstance(error, FileExistsError) else error.strerror
        raise OutputError(f"output folder {str(folder)!r} cannot be made: {reason}") from error


@contextlib.contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Create a folder, and keep other runs out of it until the block ends.

    Raises:
        OutputError: it cannot be created or written to, or another run is at work in it.
    """
    make_folder(folder)
    with locked_folder(folder):
        yield


def check_writable(folder: Path) -> None:
    """Check that files can be made in a folder, before work goes into them.

    Raises:
        OutputError: they cannot.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(f"folder {str(folder)!r} cannot be written to: {error.strerror}") from error


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Check that nothing is at a result's place, or a file that may be replaced.

    Raises:
        OutputError: something is.
    """
    refuse_special(path)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"output {str(path)!r} exists already: --overwrite replaces it")


def refuse_linked_folders(folder: Path, below: Iterable[Path]) -> None:
    """Check that no folder between an output folder and its results is a link: they would be written elsewhere.

    Args:
        folder: the output folder, which may be a link.
        below: folders in it, which need not be there yet.

    Raises:
        OutputError: one is a link.
    """
    checked = {folder}
    for place in dict.fromkeys(below):
        for part in (place, *place.parents):
            if part in checked:
                break
            checked.add(part)
            if part.is_symlink():
                raise OutputError(
                    f"{str(part)!r} is a link to {str(part.readlink())!r}, and no results are written through links: "
                    f"make it a folder, or name another output folder than {str(folder)!r}"
                )
