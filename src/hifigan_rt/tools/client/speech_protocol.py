"""Request for speech, for both clients, without any input or output."""

from __future__ import annotations

import json
import math

from hifigan_rt.errors import SpeechError
from hifigan_rt.tools.client.protocol import SAMPLE_FORMAT, Call, RemoteAudio, read_audio


def speech(text: str, voice: str, speaker: int | str | None, speed: float) -> Call[RemoteAudio]:
    """Ask for the audio of a text, which is sent while it is computed.

    Raises:
        SpeechError: text or voice is no str, or the speed is no number.
    """
    for name, given in (("text", text), ("voice", voice)):
        if not isinstance(given, str):
            raise SpeechError(f"the {name} is a {type(given).__name__}: pass a str")
    spoken_by = voice if speaker is None else f"{voice}/{speaker}"
    asked = {"input": text, "voice": spoken_by, "speed": _speed(speed), "response_format": SAMPLE_FORMAT}
    headers = {"Content-Type": "application/json"}
    return Call("POST", "/v1/audio/speech", read_audio, body=json.dumps(asked).encode(), headers=headers)


def _speed(given: object) -> float | None:
    """Make a number that JSON can carry; the server knows which it takes, and its own in place of None."""
    if given is None:
        return None
    try:
        speed = math.nan if isinstance(given, str) else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        speed = math.nan
    if not math.isfinite(speed):
        raise SpeechError(f"speed={repr(given)[:40]} must be a number: 1 is the voice's own speed, 2 is twice as fast")
    return speed
