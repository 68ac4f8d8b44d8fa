"""Counts what a search of folders met and did not take, so that 13 of 20,000 recordings are missed by their owner.

Every entry of a searched folder is an input, or is counted here: by its suffix in lower case. Only what is nobody's
data is passed over: hidden files, and what systems and this program leave behind. A folder that is not searched counts
as one. Recordings that lie beside the inputs of a list, and no list names, are counted apart.
"""

from __future__ import annotations

import re
from collections import Counter

_FOLDERS = "folders"
_NO_SUFFIX = "without suffix"
_OTHERS = "others"

_MOST_KINDS = 64
_SHOWN_KINDS = 8

_NO_DATA = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "__macosx", "icon\r"}
    # The manifest of an earlier run.
    | {"manifest.jsonl"}
)


class LeftOut:
    """Counter of files by suffix, and of folders."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add_file(self, name: str) -> None:
        """Count a file, unless it is nobody's data."""
        if not is_no_data(name):
            self._add(_kind(name))

    def add_unlisted(self, name: str) -> None:
        """Count a recording that no list names."""
        self._add(f"{_kind(name)} in no list")

    def add_folder(self, name: str) -> None:
        """Count a folder that is not looked into."""
        if not is_no_data(name):
            self._add(_FOLDERS)

    def update(self, other: LeftOut) -> None:
        """Add what another has counted."""
        for kind, count in other._counts.items():
            self._add(kind, count)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers by kind, the largest first: `{".m4a": 13, "folders": 1}`."""
        return dict(self._counts.most_common())

    @property
    def text(self) -> str:
        """Numbers in words: "13 x .m4a, 1 folder"; empty if there are none."""
        kinds = self._counts.most_common()
        shown = [_in_words(kind, count) for kind, count in kinds[:_SHOWN_KINDS]]
        rest = sum(count for _, count in kinds[_SHOWN_KINDS:])
        return ", ".join(shown + [f"{rest} more"] * (rest > 0))

    @property
    def note(self) -> tuple[str, ...]:
        """Sentence for a user, or nothing."""
        return (f"left out: {self.text}",) if self._counts else ()

    def _add(self, kind: str, count: int = 1) -> None:
        known = kind in self._counts or len(self._counts) < _MOST_KINDS
        self._counts[kind if known else _OTHERS] += count


def is_no_data(name: str) -> bool:
    """Whether a name is that of a hidden file, a lock, or what a system or this program leaves in a folder."""
    lower = name.lower()
    return lower.startswith((".", "~$")) or lower.endswith(".lock") or lower in _NO_DATA


def _kind(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return _NO_SUFFIX
    # What follows a dot in a sentence is no suffix.
    return f".{suffix.lower()}" if re.fullmatch(r"[\w-]{1,16}", suffix) else _OTHERS


def _in_words(kind: str, count: int) -> str:
    if kind == _FOLDERS:
        return f"{count} folder{'s' if count > 1 else ''}"
    return f"{count} {'x ' if kind.startswith('.') else ''}{kind}"
