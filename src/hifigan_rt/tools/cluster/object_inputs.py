"""Finds inputs at URLs by the same rules as in folders.

What a store lists is laid out in a temporary folder as empty files, with the texts of the lists that may be among them,
and searched there: folders, patterns, LJSpeech folders and lists mean the same at a URL as on a disk.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.cluster.object_store import ObjectInfo, ObjectStore, split_url
from hifigan_rt.tools.cluster.store_urls import is_url
from hifigan_rt.tools.datasets import InputFile, LeftOut, find_inputs
from hifigan_rt.tools.datasets.input_file import real_place
from hifigan_rt.tools.datasets.inputs import LIST_SUFFIXES, METADATA, SPLITS
from hifigan_rt.tools.datasets.listed_files import WAVS
from hifigan_rt.tools.datasets.lists import MAX_LIST_BYTES

_NO_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL})

_LISTS = (METADATA, *(f"{split}.txt" for split in SPLITS))


@dataclass(frozen=True)
class StoreFolder:
    """A place in a store."""

    store: ObjectStore
    key: str
    """Key without slashes at its ends; empty for everything at the host."""

    def path_of(self, name: str = "") -> Path:
        """Give the path by which jobs know an object of the store: its URL with one slash after the scheme."""
        return Path(self.store.root, self.key, name)

    def key_of(self, name: str) -> str:
        """Give the key of a name below the place."""
        return f"{self.key}/{name}" if self.key else name

    @property
    def shown(self) -> str:
        """The URL, for people."""
        return self.store.shown(self.key).rstrip("/")


@dataclass(frozen=True)
class FoundInputs:
    """Inputs, and how those at URLs are reached."""

    files: list[InputFile]
    """Inputs; paths of those at URLs are as `StoreFolder.path_of` gives them."""
    places: tuple[StoreFolder, ...] = ()
    """The named URLs."""
    infos: dict[Path, ObjectInfo] = field(default_factory=dict)
    """What the stores told of them, by path."""


def find_inputs_anywhere(
    names: Sequence[str],
    suffixes: Collection[str],
    *,
    recursive: bool = False,
    split: str | None = None,
    exclude: Path | StoreFolder | None = None,
    left_out: LeftOut | None = None,
) -> FoundInputs:
    """Resolve names, of which some may be URLs; see `hifigan_rt.tools.datasets.find_inputs`.

    Raises:
        DatasetError: nothing was found at all, `split` has no list, or one host is named with two sets of options.
        StoreError: a store does not answer, or refuses.
    """
    with tempfile.TemporaryDirectory(prefix="hifigan-") as temporary:
        layout = _NamesOnDisk(Path(os.path.realpath(temporary)), frozenset(suffixes), recursive)
        local = [str(layout.lay(name)) if is_url(name) else name for name in names]
        if isinstance(exclude, StoreFolder):
            exclude = layout.root / exclude.path_of() if layout.holds(exclude.store) else None
        try:
            found = find_inputs(
                local, suffixes, recursive=recursive, split=split, exclude=exclude, left_out=left_out
            )  # fmt: skip
        except DatasetError as error:
            texts = [layout.told(str(error)), *(str(item.problem) for item in layout.nameless[:1])]
            raise DatasetError("; ".join(texts)) from None
        by_root = any(layout.root.name in item.relative.parts for item in found)
        files = [layout.at_url(item, by_root) for item in found] + layout.nameless
    infos = {item.path: layout.infos[item.path] for item in files if item.path in layout.infos}
    return FoundInputs(files, tuple(layout.places), infos)


class _NamesOnDisk:
    def __init__(self, root: Path, suffixes: frozenset[str], recursive: bool) -> None:
        self.root = root
        self._suffixes = suffixes
        self._recursive = recursive
        self.places: list[StoreFolder] = []
        self.infos: dict[Path, ObjectInfo] = {}
        self.nameless: list[InputFile] = []
        """Objects whose names no file can have."""

    def lay(self, url: str) -> Path:
        """Lay out what is at a URL, and give the path that stands for it."""
        store, key = split_url(url)
        for place in self.places:
            if place.store.root == store.root and not place.store.same_as(store):
                raise DatasetError(
                    f"{store.root!r} is named with different options or credentials: give all inputs there the same"
                )
        place = StoreFolder(store, key)
        self.places.append(place)
        info = store.info(key) if key else None
        if info is not None:
            self._lay_object(place, info)
            return self.root / place.path_of()
        found, folders = store.list(key, recursive=self._recursive)
        if not found and not folders:
            store.check()
        if found or folders or not glob.has_magic(key):
            self._lay_folder(place, found, folders)
        else:
            self._lay_pattern(place)
        return self.root / place.path_of()

    def holds(self, store: ObjectStore) -> bool:
        return any(place.store.identity == store.identity for place in self.places)

    def told(self, text: str) -> str:
        for place in self.places:
            text = text.replace(str(self.root / place.store.root), place.store.root)
        return text

    def at_url(self, item: InputFile, by_root: bool) -> InputFile:
        """Give the input that a file laid out here stands for.

        Args:
            item: as it was found.
            by_root: results are named after the folder that holds everything: what is laid out here has none with
                files of this machine, so that each is named after its whole place.
        """
        relative = item.relative
        if by_root and item.problem is None:
            place = self._outside(real_place(item.path))
            relative = place.relative_to("/") if place.is_absolute() else place
        return InputFile(
            self._outside(item.path),
            relative,
            None if item.folder is None else self._outside(item.folder),
            None if item.problem is None else self.told(item.problem),
            None if item.beside is None else self._outside(item.beside),
        )

    def _outside(self, path: Path) -> Path:
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path

    def _lay_object(self, place: StoreFolder, info: ObjectInfo) -> None:
        suffix = Path(place.key).suffix.lower()
        if suffix in LIST_SUFFIXES and suffix not in self._suffixes and info.size_bytes <= MAX_LIST_BYTES:
            # As a list it names files beside it, and below the folders there.
            above = StoreFolder(place.store, place.key.rpartition("/")[0])
            found, _ = place.store.list(above.key, recursive=True)
            self._lay_files(above, found)
            self._copy(place.store, place.key)
        else:
            self._lay_files(place, {place.key: info})

    def _lay_folder(self, place: StoreFolder, found: dict[str, ObjectInfo], folders: Sequence[str]) -> None:
        store = place.store
        self._lay_files(place, found)
        for folder in folders:
            self._make(place, folder, _make_folder)
        if found or folders:
            (self.root / place.path_of()).mkdir(parents=True, exist_ok=True)
        above = StoreFolder(store, place.key.rpartition("/")[0])
        if place.key.rpartition("/")[2] == WAVS:
            beside, _ = store.list(above.key, recursive=False)
            lists = [key for key in map(above.key_of, _LISTS) if key in beside]
        else:
            lists = [key for key in map(place.key_of, _LISTS) if key in found]
        for key in lists:
            self._copy(store, key)
        if lists and not self._recursive and place.key_of(WAVS) in folders:
            self._lay_files(place, store.list(place.key_of(WAVS), recursive=True)[0])

    def _lay_pattern(self, place: StoreFolder) -> None:
        parts = place.key.split("/")
        plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        found, _ = place.store.list("/".join(parts[:plain]), recursive=plain < len(parts) - 1)
        self._lay_files(StoreFolder(place.store, "/".join(parts[:plain])), found)

    def _lay_files(self, place: StoreFolder, found: dict[str, ObjectInfo]) -> None:
        for key, info in found.items():
            path = Path(place.store.root, key)
            # Not twice, where one name would stand for two objects: some disks ignore case and the form of accents.
            make = functools.partial(Path.touch, exist_ok=path in self.infos)
            if self._make(place, key, make):
                self.infos[path] = info

    def _copy(self, store: ObjectStore, key: str) -> None:
        path = self.root / store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        store.get(key, path)

    def _make(self, place: StoreFolder, key: str, make: Callable[[Path], None]) -> bool:
        """Lay out one name; tell whether it could be, which is reported where an input has it."""
        path = Path(place.store.root, key)
        # On a disk these parts mean another place: of "in//a.wav" that of "in/a.wav", of "/a.wav" the root of all.
        odd = [part for part in key.split("/") if part in ("", ".", "..")]
        if odd:
            self._report_nameless(place.store, key, f"it has the part {odd[0]!r}")
            return False
        below = key.removeprefix(place.key).strip("/")
        if below.startswith(".") or "/." in below:  # hidden, as on a disk
            return False
        try:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            make(self.root / path)
        except FileExistsError:
            self._report_nameless(place.store, key, "on this disk, another object's name is the same")
            return False
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_NAME:
                raise DatasetError(
                    f"the names in {place.shown!r} cannot be laid out in {str(self.root)!r}: {error}"
                ) from error
            self._report_nameless(place.store, key, str(error))
            return False
        return True

    def _report_nameless(self, store: ObjectStore, key: str, reason: str) -> None:
        path = Path(store.root, key.lstrip("/"))
        if path.suffix.lower() in self._suffixes:
            problem = f"{store.shown(key)!r} has a name that no file can have ({reason}): rename it"
            self.nameless.append(InputFile(path, Path(f"object {len(self.nameless)}"), problem=problem))


def _make_folder(path: Path) -> None:
    # An object may have the name of a folder: what is in that is told by itself.
    with contextlib.suppress(FileExistsError):
        path.mkdir(exist_ok=True)
