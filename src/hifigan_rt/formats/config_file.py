"""Reads the file that a config is in: JSON or YAML, or a text that says what it is instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from hifigan_rt.config import PRESETS
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_yaml import decode_yaml

MAX_CONFIG_BYTES = 1 << 20
"""A config is a few hundred bytes; a file beyond this is something else."""

YAML_SUFFIXES = (".yaml", ".yml")

_TEXT = r'"(?:[^"\\\n]|\\.)*"'
_SLIPS: tuple[tuple[str, Callable[[str], str], str], ...] = (
    (
        r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|^[ \t]*#[^\n]*",
        lambda _: "",
        "comments are not JSON: remove the one in line {}",
    ),
    (
        r"'[^'\"\n]*'",
        lambda found: f'"{found[1:-1]}"',
        "texts stand in double quotes in JSON, not in single ones as in line {}",
    ),
)
"""What people write in place of JSON, how it becomes JSON, and what they are told."""

_LAST_COMMA = r",(?=\s*[}\]])"
"""What json5, with which Amphion writes its configs, has before closing brackets."""

_YAML_LINE = re.compile(r"\s*(?:#.*\n\s*|---\s*\n\s*)*[A-Za-z_][\w.-]*\s*:(?:\s|$)")


def read_config_values(path: str | Path) -> object:
    """Decode a config file, JSON or YAML; of a folder, the config.json in it. A BOM and UTF-16 are read as well.

    Raises:
        ConfigError: no such file, too large, or neither JSON nor YAML; the text tells what it is, where that shows.
    """
    name, path = str(path), Path(path)
    try:
        if path.is_dir():
            path = _in_folder(path)
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"config {name!r} cannot be read ({reason}): give a config.json or one of {', '.join(PRESETS)}"
        ) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"config {name!r} is larger than {MAX_CONFIG_BYTES} bytes: that is no config.json")
    try:
        # As json.loads has it: UTF-8, 16 or 32, with a BOM or without.
        text = raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {name!r} is not JSON: it is no text ({error}); save it as UTF-8") from error
    try:
        values: object = _decode_json(text)
    except (ValueError, RecursionError) as error:
        if path.suffix.lower() not in YAML_SUFFIXES and not _YAML_LINE.match(text):
            raise ConfigError(f"config {name!r} is not JSON: {_diagnosis(text, error)}") from error
    else:
        return values
    try:
        values = decode_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"config {name!r}: {error}") from error
    if values is None:
        raise ConfigError(f"config {name!r} is empty: give the one that the model was trained with")
    return values


def _in_folder(folder: Path) -> Path:
    inside = folder / "config.json"
    if inside.is_file():
        return inside
    others = sorted(file.name for file in folder.glob("*.json"))
    found = f"it holds {', '.join(others[:5])}: name one" if others else "there is no config.json in it"
    raise ConfigError(f"config {str(folder)!r} cannot be read (Is a directory): {found}")


def _decode_json(text: str) -> object:
    """Decode JSON, also with commas before closing brackets.

    Raises:
        ValueError: it is something else; RecursionError: it is too deep.
    """
    try:
        return json.loads(text)
    except ValueError:
        mended, line = _mended(text, _LAST_COMMA, lambda _: "")
        if line is None:
            raise
    return json.loads(mended)


def _diagnosis(text: str, error: Exception) -> str:
    """What the text seems to be, and the way out."""
    if not text.strip():
        return "it is empty"
    if text.lstrip().startswith("<"):
        return f"it is a web page or other markup: download the file itself ({error})"
    if text.startswith("version https://git-lfs"):
        return "it is a pointer of Git LFS: fetch the file itself with git lfs pull"
    return _slip(text) or f"{error}; give the config.json or YAML that the model was trained with"


def _slip(text: str) -> str | None:
    """The first of `_SLIPS` in a text, where it is JSON without them: they tell nothing of what is another language."""
    first = None
    for pattern, mend, told in _SLIPS:
        text, line = _mended(text, pattern, mend)
        if line is not None and first is None:
            first = told.format(line)
    try:
        _decode_json(text)
    except (ValueError, RecursionError):
        return None
    return first


def _mended(text: str, pattern: str, mend: Callable[[str], str]) -> tuple[str, int | None]:
    """Mend what matches outside of texts; the line of the first, if there is one."""
    places = []

    def replaced(found: re.Match[str]) -> str:
        if found["slip"] is None:
            return found[0]
        places.append(found.start())
        return mend(found[0])

    mended = re.sub(rf"{_TEXT}|(?P<slip>{pattern})", replaced, text, flags=re.MULTILINE)
    return mended, 1 + text.count("\n", 0, places[0]) if places else None
