"""Which clips are evaluated, and which file of another folder belongs to each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.datasets import InputFile, LeftOut, find_inputs, is_folder
from hifigan_rt.tools.tables import counted

T = TypeVar("T")

GENERATED_SUFFIXES = ("", "_generated", "_generated_e2e")
"""What is appended to a clip's name: nothing, or as inference.py and inference_e2e.py of jik876/hifi-gan do."""


@dataclass(frozen=True)
class ClipSet:
    """The clips of an evaluation, in order; the name of each is its place below the data set, without suffix."""

    files: dict[str, InputFile]
    """Files by name."""
    description: str
    """Which clips these are, in words."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Count of what the data set holds beside the clips."""


@dataclass(frozen=True)
class Pairing:
    """The files of a folder beside the clips."""

    files: dict[str, InputFile]
    """Files by the clip's name; a clip without a file has one with a `problem`."""
    extra: tuple[str, ...]
    """Files that belong to no clip."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Count of what the folder holds beside such files."""


def find_clips(
    names: Sequence[str],
    suffixes: Collection[str],
    *,
    recursive: bool = False,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    exclude: Path | None = None,
) -> ClipSet:
    """Find the clips of a data set, all or a random choice.

    Args:
        names: folders, files, patterns, LJSpeech folders.
        suffixes: of the files to look for.
        recursive: look into folders below as well.
        split: `training` or `validation` of an LJSpeech folder.
        limit: at most so many clips, drawn at random, in the order of the data set; None takes all.
        seed: of the draw; the same seed draws the same clips.
        exclude: a folder that is not searched: that of the results.

    Raises:
        DatasetError: see `hifigan_rt.tools.datasets.find_inputs`.
    """
    left_out = LeftOut()
    inputs = find_inputs(names, suffixes, recursive=recursive, split=split, exclude=exclude, left_out=left_out)
    # Only last names: the rest says something about a person's machine, not about the result.
    named = ", ".join(dict.fromkeys(Path(name).name or name for name in names))
    described = named if split is None else f"{named}, {split}"
    count = counted(len(inputs), "clip")
    if limit is not None and limit < len(inputs):
        inputs = drawn(inputs, limit, seed)
        count = f"{limit} of {count}, seed {seed}"
    return ClipSet({clip_name(item): item for item in inputs}, f"{described} ({count})", left_out)


def drawn(items: Sequence[T], count: int, seed: int) -> list[T]:
    """Draw some at random, in their order; the same seed draws the same."""
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return [items[index] for index in sorted(chosen)]


def clip_name(item: InputFile) -> str:
    return item.relative.with_suffix("").as_posix()


def pair(
    clips: Collection[str], folder: Path, suffixes: Collection[str], *, recursive: bool = False, complete: bool = True
) -> Pairing:
    """Find the file of each clip in another folder: of the same name, or with one of `GENERATED_SUFFIXES`.

    What has the name of a clip belongs to that clip alone.

    Args:
        clips: their names.
        folder: where the files are; one laid out like LJSpeech is read with its lists.
        suffixes: of the files to look for.
        recursive: look into folders below as well.
        complete: whether `clips` are all of the data set; after a random choice, files of the others are not extra.

    Raises:
        DatasetError: the folder is missing, holds nothing of the kind, or nothing that belongs to a clip.
    """
    if not is_folder(folder):
        raise DatasetError(f"{str(folder)!r} is no folder: name one with a file for each clip")
    left_out = LeftOut()
    inputs = find_inputs([str(folder)], suffixes, recursive=recursive, left_out=left_out)
    found = {clip_name(item): item for item in inputs}
    files: dict[str, InputFile] = {}
    names, used = frozenset(clips), set()
    for clip in clips:
        places = (clip + ending for ending in GENERATED_SUFFIXES if not ending or clip + ending not in names)
        place = next((place for place in places if place in found), None)
        if place is None:
            missing = f"no file for clip {clip!r} in {folder.name!r}"
            files[clip] = InputFile(folder / clip, Path(clip), folder, missing)
        else:
            used.add(place)
            files[clip] = found[place]
    if not used:
        raise DatasetError(
            f"none of the {len(found)} files in {str(folder)!r} belongs to one of the {len(files)} clips: the first is "
            f"{next(iter(found))!r}, the first clip {next(iter(files))!r}, and names must be the same but for the "
            "suffix" + ("" if recursive else "; --recursive looks into the folders below as well")
        )
    extra = tuple(name for name in found if name not in used) if complete else ()
    return Pairing(files, extra, left_out)


def renamed(item: InputFile, clip: str) -> InputFile:
    """The same file, so that its result gets the clip's name."""
    return dataclasses.replace(item, relative=Path(clip + item.path.suffix), folder=None)
