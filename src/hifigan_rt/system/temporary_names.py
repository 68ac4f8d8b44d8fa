"""Names temporary files after the process that writes them, so that those of a killed one are found and removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterable
from pathlib import Path

TEMPORARY_SUFFIX = ".part"

_NAME = re.compile(r"\.hifigan-([0-9a-f]{8})-([1-9][0-9]{0,8})-.+\.part", re.DOTALL)


def temporary_prefix() -> str:
    """Beginning of a hidden name that tells host and process."""
    return f".hifigan-{_host()}-{os.getpid()}-"


def remove_left_over(folders: Iterable[Path], ended: Iterable[tuple[str, int]] = ()) -> None:
    """Delete the temporary files and folders of processes that are gone; what cannot be deleted stays.

    Args:
        folders: where to look.
        ended: processes of other hosts that are known to be gone, by host name and number; of this host it is seen.
    """
    known = {(_host(name), str(process)) for name, process in ended}
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                found = _NAME.fullmatch(entry.name)
                if found is None or not (
                    (found[1], found[2]) in known or (found[1] == _host() and process_is_gone(int(found[2])))
                ):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def process_is_gone(process: int) -> bool:
    """Whether no process of this host has a number; False where that cannot be told."""
    if os.name != "posix":  # elsewhere it is no mere question
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _host(name: str | None = None) -> str:
    return f"{zlib.crc32((name or socket.gethostname()).encode()):08x}"
