"""What the pages of the report and of the listening test share; each page carries it inline, as one file."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def player_script() -> str:
    """JavaScript that defines `SwitchPlayer`: several recordings in step, one of them heard."""
    return files(__package__).joinpath("player.js").read_text(encoding="utf-8")


def json_for_script(content: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
