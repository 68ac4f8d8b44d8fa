"""Puts a listening test's page together: one file, with style, scripts and audio inside."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Mapping
from importlib.resources import files

from hifigan_rt.system.files import readable
from hifigan_rt.tools.listening.definition import Definition
from hifigan_rt.tools.web import json_for_script, player_script

_SLOT = re.compile(r"\{\{(\w+)\}\}")


def render(definition: Definition, audio: Mapping[str, str]) -> bytes:
    """The page.

    Args:
        definition: of the test.
        audio: stimulus to data URI.
    """
    parts = {
        "title": html.escape(definition.title),
        "style": _asset("page.css"),
        "player": player_script(),
        "schedule": _asset("schedule.js"),
        "trials": _asset("trials.js"),
        "session": _asset("session.js"),
        "definition": json_for_script(dataclasses.asdict(definition)),
        "audio": json_for_script(dict(audio)),
    }
    # In one pass: what is put in is never searched for slots again.
    return readable(_SLOT.sub(lambda slot: parts[slot[1]], _asset("page.html"))).encode()


def _asset(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
