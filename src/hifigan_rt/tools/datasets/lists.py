"""Reads lists of clips as toolkits write them: which line names which clip.

One clip stands on each line, and only its name is looked at:

- `NAME`, or `NAME|text|...`, `NAME<tab>text`, `NAME,text`, `NAME;text`: LJSpeech, HiFi-GAN, VITS and their kin
- the same below a line of column names, one of which is `file_name`, `path` or the like: Hugging Face, Coqui
- one JSON object per line with `audio_filepath`, `file_name` or the like: NeMo, Hugging Face
- `ID PATH` in a file that ends in .scp: Kaldi; its commands are not run

Lines may end as on any system; the text may be UTF-8 or, marked as such, UTF-16 or UTF-32. Bytes that are not UTF-8
stay what they are, since names are bytes to the file system. Blank lines and comments (`#`) are passed over.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifigan_rt.errors import ConfigError, DatasetError
from hifigan_rt.formats.config_values import each_once

MAX_LIST_BYTES = 1 << 28
"""LJSpeech's own list is 2 MB; a list beyond this is something else."""

COLUMNS = (
    "file_name", "filename", "audio_filepath", "audio_file", "audio_path", "wav_path", "wav_file", "wav_filename",
    "file_path", "filepath", "audio", "wav", "path", "file", "clip", "name", "utterance_id", "utt_id", "id",
)  # fmt: skip
"""Names of the column, or the key, that names the clip; of several the first of these counts."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ("|", "\t", ",", ";")
_QUOTING = (",", ";")
"""Separators of lists that put texts in quotation marks; in the others a mark belongs to the text."""

_SHOWN_CHARACTERS = 100
_NAMELESS = "has no clip name"


@dataclass(frozen=True)
class ListEntry:
    """One line of a list."""

    line: int
    """Number of the line, from 1."""
    names: tuple[str, ...] = ()
    """Readings of the clip's name; the first that is there counts, and the last is what the line most likely means."""
    problem: str | None = None
    """Reason why it names no clip."""


def read_list(path: Path, is_there: Callable[[str], bool]) -> list[ListEntry]:
    """Read a list.

    Args:
        path: of the list.
        is_there: tells whether a name is that of a file: no such line is a comment or a line of column names.

    Raises:
        DatasetError: it cannot be read, is too large, or no text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"list {str(path)!r} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_LIST_BYTES:
        raise DatasetError(f"list {str(path)!r} is larger than {MAX_LIST_BYTES} bytes: that is no list of clips")
    text = _decoded(raw, path)
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1) if line.strip()]
    if not lines:
        return []
    first = lines[0][1].strip()
    if first.startswith("{"):
        return [_json_entry(number, line) for number, line in lines]
    if first.startswith("["):
        raise DatasetError(f"list {str(path)!r} is one JSON array: write one JSON object on each line")
    if path.suffix.lower() == ".scp":
        return [_kaldi_entry(number, line.strip()) for number, line in lines]
    lines = [
        (number, line)
        for number, line in lines
        if not line.lstrip().startswith("#") or any(map(is_there, _text_entry(number, line).names))
    ]
    return list(_text_entries(text, lines, is_there)) if lines else []


def _decoded(raw: bytes, path: Path) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise DatasetError(
                    f"list {str(path)!r} is saved as {encoding.upper()} and damaged at byte {error.start}: save it as "
                    "UTF-8"
                ) from error
    # A text of ASCII has a zero in every second byte then; one zero alone is its line's own trouble.
    if raw.count(0) * 8 >= len(raw) > 0:
        raise DatasetError(
            f"list {str(path)!r} holds {raw.count(0)} zero bytes of {len(raw)}, as if saved as UTF-16 without its "
            "mark: save it as UTF-8"
        )
    return os.fsdecode(raw.removeprefix(codecs.BOM_UTF8))


def _text_entries(text: str, lines: Sequence[tuple[int, str]], is_there: Callable[[str], bool]) -> Iterator[ListEntry]:
    first = _text_entry(*lines[0])
    columns = None if any(map(is_there, first.names)) else _columns(lines[0][1])
    if columns is None:
        yield from (_text_entry(number, line) for number, line in lines)
        return
    separator, place = columns
    for number, row in _rows(text, lines[1:], separator):
        name = row[place].strip() if place < len(row) else ""
        yield ListEntry(number, _unquoted(name)) if name else ListEntry(number, problem=_NAMELESS)


def _text_entry(number: int, line: str) -> ListEntry:
    whole = line.strip()
    separator = _separator(whole)
    name = whole if separator is None else whole.split(separator, 1)[0].strip()
    if not name:
        return ListEntry(number, problem=_NAMELESS)
    names = _unquoted(name)
    if separator in _QUOTING:
        quoted = re.match(r'"((?:[^"]|"")*)"', whole)
        names = (whole, quoted[1].replace('""', '"').strip() if quoted is not None else name)
    return ListEntry(number, tuple(dict.fromkeys(names)))


def _separator(line: str) -> str | None:
    return next((separator for separator in _SEPARATORS if separator in line), None)


def _unquoted(name: str) -> tuple[str, ...]:
    """The name, and what stands in its quotation marks if it has some."""
    quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
    return (name, name[1:-1].strip()) if quoted else (name,)


def _columns(line: str) -> tuple[str, int] | None:
    """The separator of a line of column names and the place of the clip's; None if it is none."""
    separator = _separator(line) or ","
    fields = [field.strip().strip("\"'").lower() for field in line.split(separator)]
    found = [fields.index(name) for name in COLUMNS if name in fields]
    return (separator, found[0]) if found else None


def _rows(text: str, lines: Sequence[tuple[int, str]], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields; a text in quotation marks may go over several lines if all of it is well formed."""
    if not lines:
        return
    if separator not in _QUOTING or '"' not in text:
        yield from ((number, line.split(separator)) for number, line in lines)
        return
    every = re.split(r"\r\n|\n|\r", text)[lines[0][0] - 1 :]
    rows: list[tuple[int, list[str]]] = []
    try:
        number = lines[0][0]
        reader = csv.reader((f"{line}\n" for line in every), delimiter=separator, strict=True)
        for row in reader:
            if any(field.strip() for field in row):
                rows.append((number, row))
            number = lines[0][0] + reader.line_num
    except csv.Error:
        # A mark without its other half would take in all that follows.
        rows = [(number, _split_alone(line, separator)) for number, line in lines]
    yield from rows


def _split_alone(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator))
    except (csv.Error, StopIteration):
        return line.split(separator)


def _json_entry(number: int, line: str) -> ListEntry:
    try:
        values: Any = json.loads(line, object_pairs_hook=each_once)
    except ConfigError as error:
        return ListEntry(number, problem=f"is no entry that can be read: {error}")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return ListEntry(number, problem=f"is no JSON object on one line: {line.strip()[:_SHOWN_CHARACTERS]!r}")
    if isinstance(values.get("offset"), (int, float)) and values["offset"] != 0:
        return ListEntry(
            number,
            problem=f"names a part of a recording, from {values['offset']:g} s on (offset), and whole files are read: "
            "cut it out first",
        )
    for key in COLUMNS:
        value = values.get(key)
        if isinstance(value, dict):
            value = value.get("path")
        if isinstance(value, str) and value.strip():
            return ListEntry(number, (value.strip(),))
    return ListEntry(number, problem=f"has no {COLUMNS[2]} or {COLUMNS[0]}, but {', '.join(map(repr, values))[:100]}")


def _kaldi_entry(number: int, line: str) -> ListEntry:
    path = re.sub(r"^[^ \t]+[ \t]*", "", line)
    if not path:
        return ListEntry(number, problem=f"is not ID PATH: {line[:_SHOWN_CHARACTERS]!r}")
    if path.endswith("|"):
        return ListEntry(number, problem=f"is a command, {path[:_SHOWN_CHARACTERS]!r}, and none is run: name files")
    if re.search(r"\.ark(:\d+)?$", path):
        return ListEntry(number, problem=f"names an archive, {path[:_SHOWN_CHARACTERS]!r}: name files")
    return ListEntry(number, (path,))
