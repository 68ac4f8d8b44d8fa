"""JSON from clients, read in one place."""

from __future__ import annotations

import json
from typing import NoReturn

from hifigan_rt.tools.serving.errors import BadRequest


def parse_json(content: bytes | str, what: str) -> object:
    """Parse JSON strictly: NaN and Infinity, which Python would take, are refused.

    Args:
        content: the text.
        what: what the text is, for the error: "the body".

    Raises:
        BadRequest: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadRequest(f"{what} is no JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        # Also UnicodeDecodeError, and integers of more digits than Python converts.
        raise BadRequest(f"{what} is no JSON: {str(error)[:200]}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
