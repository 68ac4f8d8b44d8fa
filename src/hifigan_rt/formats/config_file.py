"""Reads the file that a config is in: JSON or YAML, or a text that says what it is instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from hifigan_rt.config import PRESETS
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_values import each_once
from hifigan_rt.formats.config_yaml import decode_yaml

MAX_CONFIG_BYTES = 1 << 20
"""A config is a few hundred bytes; a file beyond this is something else."""

YAML_SUFFIXES = (".yaml", ".yml")

_TEXT = r'"(?:[^"\\\n]|\\.)*"?'
"""A text of JSON, or one without an end: else each quote in that would be tried as the beginning of another."""
_SINGLE_QUOTED = r"'[^'\"\n]*'"
"""What people write in place of a text in JSON."""
_ADDITIONS = (r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|^[ \t]*#[^\n]*", r",(?=\s*[}\]])")
"""What is read beside JSON: comments, as old configs of Coqui TTS have them, and then commas before closing brackets,
as json5 writes those of Amphion."""

_YAML_LINE = re.compile(r"\s*(?:#.*\n\s*|---\s*\n\s*)*[A-Za-z_][\w.-]*\s*:(?:\s|$)")


def read_config_values(path: str | Path) -> object:
    """Decode a config file, JSON or YAML; of a folder, the config.json in it. A BOM and UTF-16 are read as well.

    Raises:
        ConfigError: no such file, too large, or neither JSON nor YAML; the text tells what it is, where that shows.
            Or a name stands twice in one object, with different values.
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
    except ConfigError as error:
        raise ConfigError(f"config {name!r}: {error}") from error
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
    """Decode JSON, also with `_ADDITIONS`.

    Raises:
        ValueError: it is something else; RecursionError: it is too deep; ConfigError: see `each_once`.
    """
    try:
        return json.loads(text, object_pairs_hook=each_once)
    except ValueError as error:
        try:
            return json.loads(_without_additions(text), object_pairs_hook=each_once)
        except ValueError:
            raise error from None


def _without_additions(text: str) -> str:
    """The text without `_ADDITIONS`, in the same lines."""
    for pattern in _ADDITIONS:
        text, _ = _mended(text, pattern, lambda found: "\n" * found.count("\n"))
    return text


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
    """Tell of single quotes in a text that is JSON with double ones: they tell nothing of what is another language."""
    mended, line = _mended(_without_additions(text), _SINGLE_QUOTED, lambda found: f'"{found[1:-1]}"')
    try:
        json.loads(mended)
    except (ValueError, RecursionError):
        return None
    return f"texts stand in double quotes in JSON, not in single ones as in line {line}"


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
