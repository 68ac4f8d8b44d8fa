"""Texts that a client of `WS /v1/stream` sends: one header, one finish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.json_values import parse_json

OUTPUTS = ("pcm16", "float32")

_MAX_TEXT_CHARACTERS = 4096


@dataclass(frozen=True)
class StreamHeader:
    """Options of a stream, as its client states them."""

    model: str | None = None
    """Name of the model; None for the default one."""
    segment_frames: int | None = None
    """Frames that are computed together; None for the server's choice."""
    output: str = "pcm16"
    """Format of the audio, one of `OUTPUTS`."""


def parse_header(text: str) -> StreamHeader:
    """Read the first text.

    Raises:
        BadRequest: it is no header of a stream.
    """
    content = _object(text, "the header", ("model", "segment_frames", "output"))
    model, segment_frames = content.get("model"), content.get("segment_frames")
    output = content.get("output", "pcm16")
    if model is not None and not isinstance(model, str):
        raise BadRequest("the header's model must be a name")
    if segment_frames is not None and type(segment_frames) is not int:
        raise BadRequest("the header's segment_frames must be a whole number")
    if not isinstance(output, str) or output not in OUTPUTS:
        raise BadRequest(f"the header's output must be one of {', '.join(OUTPUTS)}")
    return StreamHeader(model, segment_frames, output)


def check_finish(text: str) -> None:
    """Read a text after the first, which must say finish.

    Raises:
        BadRequest: it says something else.
    """
    if _object(text, "a text after the header", ("type",)).get("type") != "finish":
        raise BadRequest('a text after the header must be {"type": "finish"}; frames are binary')


def _object(text: str, what: str, known: tuple[str, ...]) -> Mapping[str, object]:
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise BadRequest(f"{what} has {len(text)} characters, and at most {_MAX_TEXT_CHARACTERS} are taken")
    content = parse_json(text, what)
    if not isinstance(content, dict):
        raise BadRequest(f"{what} must be a JSON object")
    unknown = [name for name in content if name not in known]
    if unknown:
        raise BadRequest(f"{what} has {unknown[0][:40]!r}, which is not known: {', '.join(known)} are")
    return content
