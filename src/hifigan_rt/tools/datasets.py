"""Turns what a user names (files, folders, globs, LJSpeech folders) into a list of inputs.

Something named that is not there becomes an input with a `problem`, so that one wrong name among many is reported
with the others instead of stopping them. Only when nothing at all is left does an error say so.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import DatasetError

SPLITS = ("training", "validation")
"""Lists beside `wavs/`, `<split>.txt`, as jik876/hifi-gan keeps them (LJSpeech-1.1/)."""

_METADATA = "metadata.csv"
"""The only list in the plain LJSpeech download."""

MAX_LIST_BYTES = 1 << 28
"""LJSpeech's own list is 2 MB; a list beyond this is something else."""


@dataclass(frozen=True)
class InputFile:
    """One file to work on."""

    path: Path
    """Absolute, with links left as they are: two links to one recording are two inputs."""
    relative: Path
    """Where its result goes below the output folder; still with the input's own suffix."""
    folder: Path | None = None
    """The folder that the user named and it was found in; None for a file that was named itself."""
    problem: str | None = None
    """Why it cannot be read, if that is known already."""


def find_inputs(
    names: Sequence[str],
    suffixes: Collection[str],
    *,
    recursive: bool = False,
    split: str | None = None,
    exclude: Path | None = None,
) -> list[InputFile]:
    """Resolve names into inputs: in the order of the names, sorted within a folder, each file once.

    A folder gives its files with one of `suffixes`; an LJSpeech folder (`wavs/` beside a list) gives the clips of its
    lists, in their order. Files that start with a dot are left out. A name that stands for no file is tried as a glob.
    Results are named after the file's place below the folder that the user named; if two would be named alike, all
    are named after their place below the folder that holds everything.

    Args:
        names: as the user typed them.
        suffixes: lower-case suffixes with their dots, that folders and globs are searched for.
        recursive: look into folders below the named ones as well.
        split: `training` or `validation`: only the clips of that list of an LJSpeech folder.
        exclude: a folder that is not searched: the output folder, which may lie in the input folder.

    Raises:
        DatasetError: nothing was found at all, `split` has no list, or two results would still be named alike.
    """
    if split is not None and split not in SPLITS:
        raise DatasetError(f"split={split!r} must be one of {', '.join(SPLITS)}")
    search = _Search(frozenset(suffixes), recursive, split, None if exclude is None else os.path.realpath(exclude))
    found: dict[Path, InputFile] = {}
    for name in names:
        for item in search.expand(name):
            found.setdefault(_real_place(item.path), item)
    inputs = list(found.values())
    problems = [item.problem for item in inputs if item.problem is not None]
    if len(problems) == len(inputs):
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise DatasetError(("; ".join(problems[:3]) or "nothing was named") + more)
    return _with_distinct_names(inputs)


@dataclass(frozen=True)
class _Search:
    suffixes: frozenset[str]
    recursive: bool
    split: str | None
    exclude: str | None
    """The real path of the output folder."""

    def expand(self, name: str) -> Iterator[InputFile]:
        path = Path(name).absolute()
        if _is_folder(path):
            yield from self._folder(name, path)
        elif self.split is not None:
            raise DatasetError(f"--split {self.split} needs an LJSpeech folder, and {name!r} is none")
        elif os.path.lexists(path):
            yield InputFile(path, Path(path.name))
        elif glob.has_magic(name):
            yield from self._glob(name, path)
        else:
            yield InputFile(path, Path(path.name), problem=f"{name!r} is neither a file nor a folder")

    def _folder(self, name: str, path: Path) -> Iterator[InputFile]:
        lists = _lists_of(path)
        if self.split is not None:
            if not lists and path.name == "wavs":
                lists = _lists_of(path.parent)
            chosen = [entry for entry in lists if entry.name == f"{self.split}.txt"]
            if not chosen:
                beside = ", ".join(entry.name for entry in lists) or "no list"
                raise DatasetError(
                    f"--split {self.split} needs the list {self.split}.txt beside wavs/, and {name!r} has {beside}: "
                    "take the original's training.txt and validation.txt, or leave --split out for all clips"
                )
            yield from _listed_clips(chosen, path)
        elif lists:
            yield from _listed_clips(lists, path)
        else:
            any_found = False
            for item in self._scan(path, path):
                any_found = True
                yield item
            if not any_found:
                yield InputFile(path, Path(path.name), path, self._nothing_in(name))

    def _nothing_in(self, name: str) -> str:
        hint = "" if self.recursive else "; --recursive looks into the folders below it as well"
        return f"folder {name!r} has no file ending in {', '.join(sorted(self.suffixes))}{hint}"

    def _scan(self, folder: Path, root: Path, above: frozenset[str] = frozenset()) -> Iterator[InputFile]:
        real = os.path.realpath(folder)
        # Linked folders are followed, so a link to a folder above would never end.
        if real in above or (above and real == self.exclude):
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            problem = f"folder {str(folder)!r} cannot be read: {error.strerror}"
            yield InputFile(folder, folder.relative_to(root), root, problem)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            wanted = path.suffix.lower() in self.suffixes
            if entry.is_dir():
                if self.recursive:
                    yield from self._scan(path, root, above | {real})
                elif wanted:
                    problem = f"{str(path)!r} is a folder, whatever its name says"
                    yield InputFile(path, path.relative_to(root), root, problem)
            elif wanted:
                yield InputFile(path, path.relative_to(root), root)

    def _glob(self, name: str, pattern: Path) -> Iterator[InputFile]:
        root = pattern
        while glob.has_magic(root.name) or glob.has_magic(str(root.parent)):
            root = root.parent
        # Path.glob would leave out linked folders, and files would come in the file system's order.
        matches = sorted(glob.iglob(str(pattern), recursive=True), key=os.fsencode)  # noqa: PTH207
        any_found = False
        for match in matches:
            path = Path(match)
            excluded = self.exclude is not None and os.path.realpath(path.parent) == self.exclude
            if path.suffix.lower() in self.suffixes and _is_file(path) and not excluded:
                any_found = True
                yield InputFile(path, path.relative_to(root), root)
        if not any_found:
            ending = f"no file ending in {', '.join(sorted(self.suffixes))}"
            yield InputFile(pattern, Path(pattern.name), problem=f"pattern {name!r} matches {ending}")


def _lists_of(folder: Path) -> list[Path]:
    """The lists of an LJSpeech folder; none if it is not one."""
    if not (folder / "wavs").is_dir():
        return []
    names = (_METADATA, *(f"{split}.txt" for split in SPLITS))
    return [folder / name for name in names if (folder / name).is_file()]


def _listed_clips(lists: Sequence[Path], named: Path) -> Iterator[InputFile]:
    for path in lists:
        wavs = path.parent / "wavs"
        for number, clip in _read_list(path):
            relative = Path(f"{clip}.wav")
            file = wavs / relative
            problem = None
            if relative.is_absolute() or ".." in relative.parts or "\0" in clip:
                problem = f"{path.name} line {number}: clip name {clip!r} leads out of wavs/"
                file = path.parent / f"{path.name}:{number}"
            elif not _is_file(file):
                problem = f"{path.name} line {number}: {str(file)!r} is not there"
            yield InputFile(file, relative, named, problem)


def _read_list(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and clip name of each line: `NAME`, `NAME|text` or `NAME|text|normalised`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"list {str(path)!r} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_LIST_BYTES:
        raise DatasetError(f"list {str(path)!r} is larger than {MAX_LIST_BYTES} bytes: that is no list of clips")
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        # Names are bytes to the file system, so those that are not UTF-8 must survive.
        name = os.fsdecode(line.split(b"|", 1)[0].strip())
        if name:
            yield number, name


def _with_distinct_names(inputs: list[InputFile]) -> list[InputFile]:
    """Lengthen `relative` for all if two results would be named alike."""
    if not _name_clashes(inputs):
        return inputs
    usable = [str(_real_place(item.path).parent) for item in inputs if item.problem is None]
    common = Path(os.path.commonpath(usable))
    longer = [
        item
        if item.problem is not None
        else dataclasses.replace(item, relative=_real_place(item.path).relative_to(common))
        for item in inputs
    ]
    clashes = _name_clashes(longer)
    if clashes:
        first, second = clashes[0]
        raise DatasetError(
            f"{str(first)!r} and {str(second)!r} would have results of the same name "
            f"({len(clashes)} such pair{'s' if len(clashes) > 1 else ''}): name one kind, for example "
            f"'{common}/*{first.suffix}'"
        )
    return longer


def _name_clashes(inputs: Sequence[InputFile]) -> list[tuple[Path, Path]]:
    taken: dict[Path, Path] = {}
    clashes = []
    for item in inputs:
        if item.problem is None:
            first = taken.setdefault(item.relative.with_suffix(""), item.path)
            if first != item.path:
                clashes.append((first, item.path))
    return clashes


def _real_place(path: Path) -> Path:
    """One spelling for each place; a link is a place of its own, whatever it leads to."""
    return Path(os.path.realpath(path.parent), path.name)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for names that are too long


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for names that are too long
