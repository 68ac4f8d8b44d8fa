"""Texts that a client of `WS /v1/stream` sends: one header, one finish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.json_values import parse_json, shown

OUTPUTS = ("pcm16", "float32")

HEADER_KEYS = ("model", "segment_frames", "output", "speaker", "conditioning")

_MAX_TEXT_CHARACTERS = 4096
_MAX_HEADER_CHARACTERS = 1 << 16
"""A vector of 1024 numbers takes 24,000."""


@dataclass(frozen=True)
class StreamHeader:
    """Options of a stream, as its client states them."""

    model: str | None = None
    """Name of the model; None for the default one."""
    segment_frames: int | None = None
    """Frames that are computed together; None for the server's choice."""
    output: str = "pcm16"
    """Format of the audio, one of `OUTPUTS`."""
    speaker: int | str | None = None
    """Number or name of who speaks."""
    conditioning: list[float] | None = None
    """Vector in place of a speaker."""


def parse_header(text: str) -> StreamHeader:
    """Read the first text.

    Raises:
        BadRequest: it is no header of a stream.
    """
    header = StreamHeader(**_object(text, "the header", HEADER_KEYS, _MAX_HEADER_CHARACTERS))
    conditioning = header.conditioning
    if not isinstance(header.model, (str, NoneType)):
        raise BadRequest(f"the header's model must be a name, and is {shown(header.model)}")
    if type(header.segment_frames) not in (int, NoneType):
        raise BadRequest(f"the header's segment_frames must be a whole number, and is {shown(header.segment_frames)}")
    if header.output not in OUTPUTS:
        raise BadRequest(f"the header's output must be one of {', '.join(OUTPUTS)}, and is {shown(header.output)}")
    if type(header.speaker) not in (int, str, NoneType):
        raise BadRequest(f"the header's speaker must be a number or a name, and is {shown(header.speaker)}")
    numbers = isinstance(conditioning, list) and all(type(value) in (int, float) for value in conditioning)
    if conditioning is not None and not numbers:
        raise BadRequest(f"the header's conditioning must be a list of numbers, and is {shown(conditioning)}")
    return header


def check_finish(text: str) -> None:
    """Read a text after the first, which must say finish.

    Raises:
        BadRequest: it says something else.
    """
    kind = _object(text, "a text after the header", ("type",)).get("type")
    if kind != "finish":
        raise BadRequest(
            f'a text after the header must be {{"type": "finish"}}, and its type is {shown(kind)}; frames are binary'
        )


def _object(text: str, what: str, known: tuple[str, ...], most: int = _MAX_TEXT_CHARACTERS) -> Mapping[str, Any]:
    if len(text) > most:
        raise BadRequest(f"{what} has {len(text)} characters, and at most {most} are taken")
    content = parse_json(text, what)
    if not isinstance(content, dict):
        raise BadRequest(f"{what} must be a JSON object, and is {shown(content)}")
    unknown = [name for name in content if name not in known]
    if unknown:
        raise BadRequest(f"{what} has {unknown[0][:40]!r}, which is not known: {', '.join(known)} are")
    return content
