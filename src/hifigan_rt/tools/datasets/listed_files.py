"""Finds the files that a list names: below `wavs/` beside the list, and below the folder of the list.

A name is that of the file that is there as it stands, with a suffix or without. Without one the known suffixes are
tried, in any case and `.wav` before all others; so is another case of the suffix, another Unicode form of the name
(macOS writes accents apart), and `/` for the `\\` of Windows. More is not guessed: what comes close is named with the
problem.

No name leads out of the list's folder: neither `..`, an absolute path, a drive or a share of Windows, nor an address.
Links that lie in the folder count as what they lead to, as in every other folder: they are its owner's, not the list's.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hifigan_rt.tools.datasets.left_out import LeftOut, is_no_data

WAVS = "wavs"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE_OR_SHARE = re.compile(r"[A-Za-z]:|\\")
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class ListedFile:
    """File of a list."""

    path: Path
    relative: Path
    """Place below `wavs/` or the folder of the list, with the suffix of the file."""
    problem: str | None = None
    """Reason why it is not there."""


class ListFolder:
    """Folder of a list, and the files that names can mean there."""

    def __init__(self, folder: Path, suffixes: Collection[str]) -> None:
        """
        Args:
            folder: absolute.
            suffixes: lower-case suffixes with their dots.
        """
        self._folder = folder
        self.wavs = folder / WAVS
        """Folder of the recordings, which need not be there."""
        self._suffixes = suffixes
        self._bases = [base for base in (self.wavs, folder) if is_folder(base)]
        self._indices: dict[Path, _Index] = {}

    def find(self, name: str) -> ListedFile | None:
        """Find the file of a name; None if there is none, or the name leads elsewhere."""
        inside = None if "\0" in name or _climbs(name) else self._inside(name)
        if inside is None:
            return None
        found = self._below(inside)
        if found is None and "\\" in inside and not inside.startswith("\\"):
            found = self._below(inside.replace("\\", "/"))
        return found

    def missing(self, name: str) -> ListedFile:
        """Say of a name that is not refused why `find` found nothing: a file with a problem."""
        plain = PurePosixPath((self._inside(name) or name).replace("\\", "/"))
        suffix = "" if plain.suffix.lower() in self._suffixes else ".wav"
        relative = Path(f"{plain}{suffix}")
        path = self._bases[0] / relative if self._bases else self._folder / relative
        if not name.isascii() and _not_utf8(name):
            return ListedFile(
                path, relative, f"the name {os.fsencode(name)[:_SHOWN_CHARACTERS]!r} is not UTF-8, and no file has "
                "these bytes: save the list as UTF-8",
            )  # fmt: skip
        close = self._close(plain)
        hint = f"; {close} is there" if close else ""
        return ListedFile(path, relative, f"{str(path)!r} is not there, in any case of its suffix{hint}")

    def refusal(self, name: str) -> str | None:
        """Say of a name that `find` did not find why it cannot be that of a clip."""
        out = f"{WAVS}/ and the folder of its list" if self._bases[:1] == [self.wavs] else "the folder of its list"
        way_out = "nothing else is read by a list; name that file or its folder itself"
        if "\0" in name:
            return "holds a zero byte: save the list as UTF-8 text"
        if _ADDRESS.match(name):
            return "is an address, and nothing is fetched: download it, and name the file"
        plain = posixpath.normpath((self._inside(name) or name).replace("\\", "/"))
        if _climbs(name) and not (plain.startswith(("../", "/")) or plain == ".." or _DRIVE_OR_SHARE.match(name)):
            return f"has '..' in it, and no name in a list may: write {plain!r}"
        if self._inside(name) is None or _climbs(name):
            return f"leads out of {out}: {way_out}"
        if _DRIVE_OR_SHARE.match(name):
            return f"leads out of {out}, to a drive or a share: {way_out}"
        if any(is_folder(base / (self._inside(name) or "").replace("\\", "/")) for base in self._bases):
            return "is that of a folder, and no file is named like it"
        return None

    def count_unlisted(self, listed: Collection[Path], left_out: LeftOut) -> None:
        """Count what `wavs/` holds beside `listed`, and the recordings of the list's folder."""
        for base in self._bases:
            taken = {path.name for path in listed if path.parent == base}
            for name in _names(base):
                if name in taken or is_no_data(name) or is_folder(base / name):
                    continue
                if Path(name).suffix.lower() in self._suffixes:
                    left_out.add_unlisted(name)
                elif base == self.wavs:
                    left_out.add_file(name)

    def _inside(self, name: str) -> str | None:
        """The name below the folder of the list; None for an absolute one elsewhere."""
        if not name.startswith("/"):
            return name
        for folder in (self._folder, os.path.realpath(self._folder)):
            place = os.path.normpath(name)
            if place.startswith(f"{folder}/"):
                return place.removeprefix(f"{folder}/")
        return None

    def _below(self, name: str) -> ListedFile | None:
        plain = PurePosixPath(name)
        known = plain.suffix.lower() in self._suffixes
        for base in self._bases:
            # LJSpeech's own rule comes first, then the name as it stands.
            trials = [name] if known else [f"{name}.wav", name]
            if ".wav" not in self._suffixes:
                trials = [name]
            for trial in trials:
                if is_file(base / trial):
                    return self._listed(base / trial)
            found = self._index(base / plain.parent).match(plain.name, known)
            if len(found) == 1:
                return self._listed(base / plain.parent / found[0])
            if found:
                both = " and ".join(map(repr, found[:2]))
                return ListedFile(
                    base / plain, Path(plain), f"{name[:_SHOWN_CHARACTERS]!r} is there as {both}: give the suffix"
                )
        return None

    def _listed(self, path: Path) -> ListedFile:
        place = Path(os.path.normpath(path))
        root = self.wavs if self.wavs in place.parents else self._folder
        return ListedFile(place, place.relative_to(root))

    def _close(self, plain: PurePosixPath) -> str | None:
        """A file that differs by its case, its suffix or its folder alone, for a hint."""
        for base in self._bases:
            for folder in dict.fromkeys((base / plain.parent, base)):
                name = self._index(folder).similar(plain.name)
                if name is not None:
                    return repr(os.path.relpath(folder / name, self._folder))
        return None

    def _index(self, folder: Path) -> _Index:
        if folder not in self._indices:
            self._indices[folder] = _Index(_names(folder), self._suffixes)
        return self._indices[folder]


class _Index:
    """Names of the files in one folder."""

    def __init__(self, names: Collection[str], suffixes: Collection[str]) -> None:
        self._suffixes = suffixes
        self._by_stem: defaultdict[str, list[Path]] = defaultdict(list)
        self._folded: dict[str, str] = {}
        for name in map(Path, names):
            known = name.suffix.lower() in suffixes
            if known:
                self._by_stem[_one_form(name.stem)].append(name)
            folded = _one_form(name.stem).casefold()
            if known or folded not in self._folded:
                self._folded[folded] = name.name

    def match(self, name: str, known_suffix: bool) -> list[str]:
        """Names that differ from `name` by the suffix, or by its case if it has one, or by their Unicode form."""
        plain = Path(name)
        stem = plain.stem if known_suffix else name
        found = self._by_stem.get(_one_form(stem), [])
        if known_suffix:
            found = [entry for entry in found if entry.suffix.lower() == plain.suffix.lower()]
        found = [entry for entry in found if entry.stem == stem] or found
        found = [entry for entry in found if entry.suffix.lower() == ".wav"] or found
        return sorted(map(str, found))

    def similar(self, name: str) -> str | None:
        """Name that differs from `name` by case and suffix at most."""
        plain = Path(name)
        stem = plain.stem if plain.suffix.lower() in self._suffixes else name
        return self._folded.get(_one_form(stem).casefold())


def is_file(path: Path) -> bool:
    """Whether it is a file; never raises, whatever the name."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for names that are too long


def is_folder(path: Path) -> bool:
    """Whether it is a folder; never raises, whatever the name."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for names that are too long


def _climbs(name: str) -> bool:
    return ".." in name and ".." in re.split(r"[\\/]", name)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=os.fsencode)  # noqa: PTH208 - names, not paths
    except (OSError, ValueError):
        return []


def _one_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _not_utf8(name: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in name)
