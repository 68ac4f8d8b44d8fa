"""Encodes through libsndfile into a file in memory that is emptied meanwhile."""

from __future__ import annotations

import io
from typing import Any

from hifigan_rt.errors import OutputError

_FLAC_RATE = 65535
"""Highest number that the header of a frame holds, of Hz or of tens of Hz (RFC 9639, 9.1.2)."""


class EncodedSink:
    """File that libsndfile writes to; what is appended can be taken at once, so that little of it is ever held."""

    def __init__(self) -> None:
        self._position = 0
        self._size = 0
        self._new = bytearray()
        self.rewritten: list[tuple[int, bytes]] = []
        """Positions and bytes of what was written over: at its close libsndfile completes the header."""

    def write(self, data: Any) -> int:
        """Append, or note what is written over."""
        content = bytes(data)
        if self._position == self._size:
            self._new += content
            self._size += len(content)
        else:
            self.rewritten.append((self._position, content))
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, as of any file."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Tell the position."""
        return self._position

    def flush(self) -> None:
        """Do nothing: nothing is buffered between here and what takes the bytes."""

    def take(self) -> bytes:
        """Take what was appended since the last time."""
        content = bytes(self._new)
        self._new.clear()
        return content


def open_encoder(sink: EncodedSink, sample_rate: int, container: str, subtype: str, **options: Any) -> Any:
    """Open a mono file that libsndfile encodes into a sink.

    Raises:
        OutputError: the container does not hold that sample rate.
    """
    import soundfile

    in_tens = sample_rate % 10 == 0 and sample_rate <= 10 * _FLAC_RATE
    if container == "FLAC" and sample_rate > _FLAC_RATE and not in_tens:
        # libsndfile opens some of these, and fails at the first sample.
        raise OutputError(
            f"sample_rate={sample_rate} does not go into flac, which holds whole Hz up to {_FLAC_RATE} and tens of Hz "
            f"up to {10 * _FLAC_RATE}: choose wav, or another rate"
        )
    try:
        return soundfile.SoundFile(sink, "w", sample_rate, 1, subtype, format=container, **options)
    except soundfile.SoundFileError as error:
        raise OutputError(f"{container.lower()} cannot hold {sample_rate} Hz: {error}") from error
