"""Lengths that containers state, held against what the files hold.

The rule: a count that contradicts the file is never silent, too small or too large. What it would leave out is read
where the file tells the end, and the note says both numbers. Where neither can be trusted, the file is refused.
"""

from __future__ import annotations

from typing import BinaryIO

from hifigan_rt.audio.lengths.finding import LengthFinding
from hifigan_rt.audio.lengths.flac import examine_flac
from hifigan_rt.audio.lengths.mp3 import examine_mp3
from hifigan_rt.audio.lengths.ogg import examine_ogg
from hifigan_rt.audio.lengths.wav import examine_wav, wav_codec

__all__ = ["LengthFinding", "examine_length", "wav_codec"]


def examine_length(file: BinaryIO) -> LengthFinding:
    """Find how long a wav, flac, ogg or mp3 is; the file's position is changed.

    Raises:
        AudioError: its counts contradict each other so that its length cannot be told; the text lacks the name.
    """
    file.seek(0)
    magic = file.read(4)
    if magic in (b"RIFF", b"RIFX", b"RF64"):
        return examine_wav(file)
    if magic == b"OggS":
        return examine_ogg(file)
    return examine_flac(file) or examine_mp3(file)
