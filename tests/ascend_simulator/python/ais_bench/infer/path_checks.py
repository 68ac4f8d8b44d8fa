"""The security checks of 2024: links, owners, modes and characters of paths."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ais_bench.infer.logs import logger

LARGEST_MODEL = 10 * 1024**3
_FOREIGN_CHARACTER = re.compile(r"[^_A-Za-z0-9/.-]")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OPEN_TO_OTHERS = _WRITABLE_BY_OTHERS | stat.S_IROTH | stat.S_IXOTH


def is_legal_input(path: str) -> bool:
    """A model or an input: there, no soft link, ours, and written by nobody else."""
    if not _is_plain(path, must_exist=True):
        return False
    if stat.S_IMODE(Path(path).stat().st_mode) & _WRITABLE_BY_OTHERS:
        logger.error(
            "The file %s is group writable, or is others writable, as import file(or directory), "
            "permission should not be over 0o755(rwxr-xr-x)",
            path,
        )
        return False
    if not os.access(path, os.R_OK):
        logger.error("Current user doesn't have read permission to the file %s", path)
        return False
    return True


def is_legal_model(path: str) -> bool:
    return is_legal_input(path) and Path(path).is_file() and Path(path).stat().st_size <= LARGEST_MODEL


def is_legal_output(path: str) -> bool:
    """A folder that is there already must be closed to others."""
    if not _is_plain(path, must_exist=False):
        return False
    if Path(path).exists() and stat.S_IMODE(Path(path).stat().st_mode) & _OPEN_TO_OTHERS:
        logger.error(
            "The file %s is group writable, or is others writable, as export file(or directory), "
            "permission should not be over 0o750(rwxr-x---)",
            path,
        )
        return False
    return True


def _is_plain(path: str, *, must_exist: bool) -> bool:
    if _FOREIGN_CHARACTER.search(path):
        logger.error("path:%s contains illegal char, legal chars include A-Z a-z 0-9 _ - / .", path)
        return False
    if must_exist and not Path(path).exists():
        logger.error("path: %s not exist, please check if file or dir is exist", path)
        return False
    if Path(path).is_symlink():
        logger.error("path :%s is a soft link, not supported, please import file(or directory) directly", path)
        return False
    if Path(path).exists():
        status = Path(path).stat()
        if status.st_uid != os.geteuid() and status.st_gid not in os.getgroups():
            logger.error("current user isn't path:%s's owner or ownergroup", path)
            return False
    return True
