"""Turns what a user names (files, folders, globs, lists, LJSpeech folders) into a list of inputs.

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
from hifigan_rt.system.files import plain_path
from hifigan_rt.tools.datasets.input_file import InputFile, real_place
from hifigan_rt.tools.datasets.left_out import LeftOut, is_no_data
from hifigan_rt.tools.datasets.listed_files import WAVS, ListFolder, is_file, is_folder
from hifigan_rt.tools.datasets.lists import ListEntry, read_list
from hifigan_rt.tools.datasets.result_names import with_distinct_names

SPLITS = ("training", "validation")
"""Lists beside `wavs/`, `<split>.txt`, as jik876/hifi-gan keeps them (LJSpeech-1.1/)."""

METADATA = "metadata.csv"
"""The only list in the plain LJSpeech download."""

LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".scp", ".json", ".jsonl", ".lst", ".list"})
"""Suffixes of files that are tried as lists when they are named themselves."""

_HEAD_BYTES = 1024


def find_inputs(
    names: Sequence[str],
    suffixes: Collection[str],
    *,
    recursive: bool = False,
    split: str | None = None,
    exclude: Path | None = None,
    left_out: LeftOut | None = None,
) -> list[InputFile]:
    """Resolve names into inputs: in the order of the names, sorted within a folder, each file once.

    A folder gives its files with one of `suffixes`; an LJSpeech folder (`wavs/` beside a list) gives the clips of its
    lists, in their order, and so does a list that is named itself. Hidden files are passed over, and all else that is
    not taken is counted. A name that stands for no file is tried as a glob. How results are named: `result_names`.

    Args:
        names: as the user typed them.
        suffixes: lower-case suffixes with their dots, that folders and globs are searched for.
        recursive: look into folders below the named ones as well.
        split: `training` or `validation`: only the clips of that list of an LJSpeech folder.
        exclude: a folder that is not searched: the output folder, which may lie in the input folder.
        left_out: counts what folders hold beside the inputs.

    Raises:
        DatasetError: nothing was found at all, or `split` has no list.
    """
    if split is not None and split not in SPLITS:
        raise DatasetError(f"split={split!r} must be one of {', '.join(SPLITS)}")
    excluded = None if exclude is None else os.path.realpath(exclude)
    search = _Search(frozenset(suffixes), recursive, split, excluded, LeftOut() if left_out is None else left_out)
    found: dict[Path, InputFile] = {}
    for name in names:
        for item in search.expand(name):
            found.setdefault(real_place(item.path), item)
    inputs = list(found.values())
    problems = [item.problem for item in inputs if item.problem is not None]
    if len(problems) == len(inputs):
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise DatasetError(("; ".join(problems[:3]) or "nothing was named") + more)
    return with_distinct_names(inputs)


@dataclass(frozen=True)
class _Search:
    suffixes: frozenset[str]
    recursive: bool
    split: str | None
    exclude: str | None
    """The real path of the output folder."""
    left_out: LeftOut

    def expand(self, name: str) -> Iterator[InputFile]:
        path = plain_path(name)
        if is_folder(path):
            yield from self._folder(name, path)
        elif self.split is not None:
            raise DatasetError(f"--split {self.split} needs an LJSpeech folder, and {name!r} is none")
        elif os.path.lexists(path):
            yield from self._file(name, path)
        elif glob.has_magic(name):
            yield from self._glob(name, path)
        else:
            yield InputFile(path, Path(path.name), problem=_why_not_there(name, path))

    def _file(self, name: str, path: Path) -> Iterator[InputFile]:
        """The file itself; the clips of a list, if one of them is there: so that no other text is taken for one."""
        if path.suffix.lower() not in LIST_SUFFIXES or not _looks_like_text(path):
            yield InputFile(path, Path(path.name))
            return
        clips = list(self._listed([path], None))
        if any(clip.problem is None for clip in clips):
            yield from clips
        else:
            problem = f"{name!r} is a text; as a list of clips, {clips[0].problem}"
            yield InputFile(path, Path(path.name), problem=problem)

    def _folder(self, name: str, path: Path) -> Iterator[InputFile]:
        lists = _lists_of(path)
        if self.split is not None:
            if not lists and path.name == WAVS:
                lists = _lists_of(path.parent)
            chosen = [entry for entry in lists if entry.name == f"{self.split}.txt"]
            if not chosen:
                beside = ", ".join(entry.name for entry in lists) or "no list"
                raise DatasetError(
                    f"--split {self.split} needs the list {self.split}.txt beside wavs/, and {name!r} has {beside}: "
                    "take the original's training.txt and validation.txt, or leave --split out for all clips"
                )
            yield from self._listed(chosen, path)
        elif lists:
            yield from self._listed(lists, path)
        else:
            any_found = False
            here = LeftOut()
            for item in self._scan(path, path, here):
                any_found = True
                yield item
            self.left_out.update(here)
            if not any_found:
                yield InputFile(path, _name(path), path, self._nothing_in(name, here))

    def _nothing_in(self, name: str, left_out: LeftOut) -> str:
        hint = "" if self.recursive else "; --recursive looks into the folders below it as well"
        there = f" (it holds {left_out.text})" if left_out.text else ""
        return f"folder {name!r} has no file ending in {', '.join(sorted(self.suffixes))}{there}{hint}"

    def _scan(
        self, folder: Path, root: Path, left_out: LeftOut, above: frozenset[str] = frozenset()
    ) -> Iterator[InputFile]:
        real = os.path.realpath(folder)
        # Linked folders are followed, so a link to a folder above would never end.
        if real in above or (above and real == self.exclude):
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            problem = f"folder {str(folder)!r} cannot be read: {error.strerror}"
            yield InputFile(folder, _name(folder) if folder == root else folder.relative_to(root), root, problem)
            return
        for entry in entries:
            path = folder / entry.name
            wanted = path.suffix.lower() in self.suffixes
            if entry.name.startswith("."):
                continue
            if is_folder(path):
                if self.recursive and not is_no_data(entry.name):
                    yield from self._scan(path, root, left_out, above | {real})
                elif wanted:
                    problem = f"{str(path)!r} is a folder, whatever its name says"
                    yield InputFile(path, path.relative_to(root), root, problem)
                elif os.path.realpath(path) != self.exclude:
                    left_out.add_folder(entry.name)
            elif wanted:
                yield InputFile(path, path.relative_to(root), root)
            else:
                left_out.add_file(entry.name)

    def _glob(self, name: str, pattern: Path) -> Iterator[InputFile]:
        root = pattern
        while glob.has_magic(root.name) or glob.has_magic(str(root.parent)):
            root = root.parent
        # Path.glob would leave out linked folders, and files would come in the file system's order.
        matches = sorted(glob.iglob(str(pattern), recursive=True), key=os.fsencode)  # noqa: PTH207
        any_found = False
        for match in matches:
            path = Path(match)
            if is_folder(path) or self._is_result(path):
                continue
            if path.suffix.lower() in self.suffixes:
                any_found = True
                yield InputFile(path, path.relative_to(root), root)
            elif is_file(path):
                self.left_out.add_file(path.name)
        if not any_found:
            ending = f"no file ending in {', '.join(sorted(self.suffixes))}"
            yield InputFile(pattern, Path(pattern.name), problem=f"pattern {name!r} matches {ending}")

    def _is_result(self, path: Path) -> bool:
        """Whether a file lies in the output folder, or below it."""
        if self.exclude is None:
            return False
        real = os.path.realpath(path.parent)
        return real == self.exclude or real.startswith(os.path.join(self.exclude, ""))  # noqa: PTH118 - texts

    def _listed(self, lists: Sequence[Path], named: Path | None) -> Iterator[InputFile]:
        folder = ListFolder(lists[0].parent, self.suffixes)
        listed: list[Path] = []
        names_none = True
        for path in lists:
            try:
                entries = read_list(path, lambda name: folder.find(name) is not None)
            except DatasetError as error:
                yield InputFile(path, Path(path.name), named, str(error))
                names_none = False
                continue
            names_none = names_none and not entries
            for entry in entries:
                item = _listed_input(path, entry, folder, named)
                listed.append(item.path)
                yield item
        if names_none:
            empty = " and ".join(repr(str(path)) for path in lists)
            yield InputFile(lists[0], Path(lists[0].name), named, f"{empty} names no clips")
        elif self.split is None and named is not None:
            folder.count_unlisted(listed, self.left_out)


def _listed_input(path: Path, entry: ListEntry, folder: ListFolder, named: Path | None) -> InputFile:
    where = f"{path.name} line {entry.line}"
    # Names no file, and has no dot, since what follows one would count as a suffix.
    line = InputFile(path.parent / where, Path(where.replace(".", " ")), named)
    if entry.problem is not None:
        return dataclasses.replace(line, problem=f"{where} {entry.problem}")
    found = next((found for name in entry.names if (found := folder.find(name)) is not None), None)
    if found is not None:
        return InputFile(
            found.path, found.relative, named, None if found.problem is None else f"{where}: {found.problem}"
        )
    name = entry.names[-1]
    refusal = folder.refusal(name)
    if refusal is not None:
        return dataclasses.replace(line, problem=f"{where}: clip name {name[:200]!r} {refusal}")
    missing = folder.missing(name)
    return InputFile(missing.path, missing.relative, named, f"{where}: {missing.problem}")


def _lists_of(folder: Path) -> list[Path]:
    """The lists of an LJSpeech folder; none if it is not one."""
    if not is_folder(folder / WAVS):
        return []
    names = (METADATA, *(f"{split}.txt" for split in SPLITS))
    return [folder / name for name in names if is_file(folder / name)]


def _why_not_there(name: str, path: Path) -> str:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:  # below a folder that may not be searched
        return f"{name!r} cannot be looked up: {error.strerror}"
    return f"{name!r} is neither a file nor a folder: check its spelling"


def _looks_like_text(path: Path) -> bool:
    """Whether a file begins like text, of UTF-16 too: recordings and arrays have a zero among their first bytes."""
    if not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) > 0 and b"\0" not in head)


def _name(folder: Path) -> Path:
    """The last name of a folder; the root of all has none."""
    return Path(folder.name or "root")
