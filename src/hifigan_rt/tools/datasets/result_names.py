"""Names the results of inputs so that no two are named alike.

A result is named after its input's place below the folder that the user named, without suffix. If inputs of several
folders would be named alike, all are named after their place below the folder that holds everything. Inputs of one
folder whose names differ in their suffix alone (`a.wav` and `a.npy`, a recording and its mel) are all taken: one has
the plain name, the others keep their suffix in it (`a.npy.wav`). The plain name goes to the recording, to a wav before
all others.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hifigan_rt.audio import AUDIO_SUFFIXES
from hifigan_rt.tools.datasets.input_file import InputFile, real_place


def with_distinct_names(inputs: Sequence[InputFile]) -> list[InputFile]:
    """Change `relative` where two results would be named alike; the order of the inputs stays."""
    if _several_folders_clash(inputs):
        inputs = _named_from_common(inputs)
    return _set_apart(inputs)


def _several_folders_clash(inputs: Sequence[InputFile]) -> bool:
    folders: defaultdict[Path, set[Path]] = defaultdict(set)
    for item in inputs:
        if item.problem is None:
            folders[_plain(item)].add(real_place(item.path).parent)
    return any(len(places) > 1 for places in folders.values())


def _named_from_common(inputs: Sequence[InputFile]) -> list[InputFile]:
    common = os.path.commonpath([str(real_place(item.path).parent) for item in inputs if item.problem is None])
    return [
        item
        if item.problem is not None
        else dataclasses.replace(item, relative=real_place(item.path).relative_to(common))
        for item in inputs
    ]


def _set_apart(inputs: Sequence[InputFile]) -> list[InputFile]:
    alike: defaultdict[Path, list[int]] = defaultdict(list)
    for index, item in enumerate(inputs):
        alike[_plain(item)].append(index)
    named = list(inputs)
    taken = set(alike)
    for indices in alike.values():
        keeper, *others = sorted(indices, key=lambda index: _rank(inputs[index]))
        for index in others:
            item = inputs[index]
            relative = item.relative
            while relative.suffix and _without_suffix(relative) in taken:
                relative = relative.with_name(relative.name + item.relative.suffix)
            taken.add(_without_suffix(relative))
            beside = inputs[keeper].path if item.problem is None else None
            named[index] = dataclasses.replace(item, relative=relative, beside=beside)
    return named


def _rank(item: InputFile) -> tuple[bool, bool, bool, str, bool, str]:
    suffix = item.relative.suffix
    kind = suffix.lower()
    is_mel = bool(suffix) and kind not in AUDIO_SUFFIXES
    return item.problem is not None, is_mel, kind not in ("", ".wav"), kind, suffix != kind, suffix


def _plain(item: InputFile) -> Path:
    return _without_suffix(item.relative)


def _without_suffix(relative: Path) -> Path:
    return relative.with_suffix("")
