"""Lengths that containers state, held against what the files hold.

The rule: a count that contradicts the file is never silent, too small or too large. What it would leave out is read
where the file tells the end, and the note says both numbers. Where neither can be trusted, the file is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import BinaryIO

from hifigan_rt.audio.lengths.finding import LengthFinding
from hifigan_rt.audio.lengths.flac import examine_flac, flac_bits
from hifigan_rt.audio.lengths.mp3 import examine_mp3
from hifigan_rt.audio.lengths.ogg import examine_ogg
from hifigan_rt.audio.lengths.pieces import ByteWindow, FilePart, id3_bytes, pieced_file
from hifigan_rt.audio.lengths.wav import examine_wav, wav_codec

__all__ = ["LengthFinding", "examine_length", "flac_bits", "wav_codec"]


def examine_length(file: BinaryIO) -> LengthFinding:
    """Find how long a wav, flac, ogg or mp3 is; the file's position is changed.

    Raises:
        AudioError: its counts contradict each other so that its length cannot be told; the text lacks the name.
    """
    window = ByteWindow(file)
    tag = id3_bytes(window, 0)
    examine = _EXAMINE.get(window.read(tag, 4))
    if examine is None:
        return examine_mp3(file)
    if tag == 0:
        return examine(file)
    # libsndfile takes the length of the tag off the samples of some.
    untagged = pieced_file(file, FilePart(tag, window.size))
    finding = examine(untagged)
    return replace(finding, sources=finding.sources or (untagged,))


_EXAMINE: Mapping[bytes, Callable[[BinaryIO], LengthFinding]] = {
    b"RIFF": examine_wav, b"RIFX": examine_wav, b"RF64": examine_wav, b"OggS": examine_ogg, b"fLaC": examine_flac,
}  # fmt: skip
"""How to find the length of what begins so; an MP3 may begin with anything."""
