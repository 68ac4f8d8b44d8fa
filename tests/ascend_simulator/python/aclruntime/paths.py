"""The checks of a model's path that aclruntime makes since 2025, in its order and words.

Source: Yanguan619/aclruntime aclruntime/src/ModelInfer/File.cpp, CheckFileBeforeRead and CheckFileSuffixAndSize, with
the limits of aclruntime/include/ModelInfer/File.h (commit df1f9a44, 2026-08).
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

LONGEST_PATH, LONGEST_NAME, DEEPEST = 4096, 255, 32


def refused_path(path: str) -> str:
    """The first rule that it breaks; empty if none."""
    whole = os.path.abspath(path)  # noqa: PTH100 - a link is not followed
    if len(whole) > LONGEST_PATH or any(len(part) > LONGEST_NAME for part in whole.split("/")):
        return "path length illegal"
    if not re.fullmatch(r"[\w./-]+", whole, re.ASCII):
        return "path characters invalid"
    if whole.count("/") > DEEPEST:
        return "path depth invalid"
    if not Path(whole).is_file():
        return "path is not regular file"
    if Path(whole).is_symlink():
        return "path is soft link"
    mode = Path(whole).stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "path permission should not be over 0o755(rwxr-xr-x)"
    if not mode & stat.S_IRUSR:
        return "path permission should be at least 0o400(r--------)"
    return "" if whole.endswith(".om") else "path suffix and size invalid"
