"""JavaScript that several pages share: the report, the listening tests and the server's page.

Classic scripts, without modules: reports and tests are single files that carry them inline.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def player_script() -> str:
    """JavaScript that defines `SwitchPlayer`: several recordings in step, one of them heard."""
    return _text("player.js")


@cache
def spectrogram_script() -> str:
    """JavaScript from samples to pictures: `spectrogram`, `difference`, `paint` and their palettes."""
    return _text("spectrogram.js")


@cache
def transport_script() -> str:
    """JavaScript that defines `Transport`: one clip with a place in it, over a `SwitchPlayer`."""
    return _text("transport.js")


def json_for_script(content: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
