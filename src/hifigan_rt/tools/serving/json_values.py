"""JSON from clients, read in one place."""

from __future__ import annotations

import json
from typing import NoReturn

from hifigan_rt.tools.serving.errors import BadRequest

_SHOWN_ITEMS = 8


def parse_json(content: bytes | str, what: str) -> object:
    """Parse JSON strictly: NaN, Infinity and names given twice, which Python would take, are refused.

    Args:
        content: the text.
        what: what the text is, for the error: "the body".

    Raises:
        BadRequest: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_members)
    except RecursionError as error:
        raise BadRequest(f"{what} is no JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        # Also UnicodeDecodeError, and integers of more digits than Python converts.
        raise BadRequest(f"{what} is no JSON: {str(error)[:200]}") from error


def said_twice(name: object) -> str:
    """Say that an object has a name twice: which value was meant, nobody can tell."""
    return f"an object has {str(name)[:40]!r} twice"


def shown(value: object) -> str:
    """Show what a client sent in an error's text: a value of any type, and never much of it."""
    if value is None:
        return "missing"
    if isinstance(value, list) and len(value) <= _SHOWN_ITEMS and all(isinstance(item, (int, float)) for item in value):
        return f"[{', '.join(map(shown, value))}]"
    # The others may be nested so deeply that they cannot be written out.
    if isinstance(value, (dict, list)):
        return "a JSON list" if isinstance(value, list) else "a JSON object"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(said_twice(name))
        members[name] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
