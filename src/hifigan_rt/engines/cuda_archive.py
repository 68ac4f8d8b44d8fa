"""The archive of engine `cuda`'s kernels: written by scripts/cuda_kernels.py, read when a card is opened.

Imports nothing of the package: where the archive is written, the package is not installed yet.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

FORWARD = "forward.ptx"
"""The intermediate code, for cards without machine code of their own; all other members are machine code."""

_CONTEXTS = {True: {"lc": 4, "pb": 0}, False: {"lc": 0, "lp": 4, "pb": 4}}
"""Settings of lzma for text and for machine code, whose instructions have 16 bytes: 5 % less than by its own."""


def write(path: Path, members: Mapping[str, bytes]) -> None:
    """Write the archive, under a temporary name first; the same members give the same bytes."""
    import lzma

    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, code in sorted(members.items()):
            is_text = name == FORWARD
            packed = lzma.compress(
                _by_distance(code.decode()).encode() if is_text else code,
                filters=[{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, **_CONTEXTS[is_text]}],
            )
            # Not by its name alone, which would give it the time of today.
            archive.writestr(zipfile.ZipInfo(f"{name}.xz"), packed)
    part.replace(path)


def names(path: Path) -> list[str]:
    """The members' names.

    Raises:
        OSError, zipfile.BadZipFile: the file is none, or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".xz") for name in archive.namelist()]


def read(path: Path, name: str) -> bytes:
    """One member's code.

    Raises:
        OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile: the archive is damaged, or has no such member.
        ImportError: this Python has no lzma.
    """
    import lzma  # some builds of Python have none

    with zipfile.ZipFile(path) as archive:
        packed = archive.read(f"{name}.xz")
    try:
        code = lzma.decompress(packed)
    except lzma.LZMAError as error:
        raise ValueError(f"{name}.xz: {error}") from error
    return _by_number(code.decode()).encode() if name == FORWARD else code


def _by_distance(text: str) -> str:
    """Name each register by its distance from the one of its kind before it, so that code that is repeated is alike.

    It takes about a third less in the archive.
    """
    before: dict[str, int] = {}

    def distance(name: re.Match[str]) -> str:
        kind, number = name[1], int(name[2])
        step = number - before.get(kind, 0)
        before[kind] = number
        return f"%{kind}{step:+}"

    return re.sub(r"%([a-z]+)(\d+)", distance, text)


def _by_number(text: str) -> str:
    """Name registers by their numbers again."""
    before: dict[str, int] = {}

    def number(name: re.Match[str]) -> str:
        kind = name[1]
        before[kind] = before.get(kind, 0) + int(name[2])
        return f"%{kind}{before[kind]}"

    return re.sub(r"%([a-z]+)([+-]\d+)", number, text)
