"""JSON from clients, read in one place."""

from __future__ import annotations

import json
from typing import NoReturn

from hifigan_rt.tools.serving.errors import BadRequest


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


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(said_twice(name))
        members[name] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
