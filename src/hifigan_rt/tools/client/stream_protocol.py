"""Messages of a live stream, for both clients, without any input or output."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hifigan_rt.errors import MelError, RequestFailed
from hifigan_rt.mel.arrays import as_floats
from hifigan_rt.tools.client.protocol import SAMPLE_FORMAT, ServerAddress, VoiceOfCall


@dataclass
class StreamFacts:
    """Facts that a server tells of a live stream as it opens."""

    model: str
    sample_rate: int
    num_mels: int
    segment_frames: int
    warning: str | None = None


class OpenedStream:
    """Part of a live stream that both clients share: its facts, and the meaning of its messages."""

    _message_bytes: ClassVar[int]
    """Most of a message."""

    def __init__(self, socket: Any, facts: StreamFacts, server: ServerAddress) -> None:
        self._socket, self._facts, self._server = socket, facts, server

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self._facts.sample_rate

    @property
    def num_mels(self) -> int:
        """Number of bands of the frames."""
        return self._facts.num_mels

    @property
    def segment_frames(self) -> int:
        """Frames that the server computes together."""
        return self._facts.segment_frames

    @property
    def warning(self) -> str | None:
        """Remark of the server about the mel, so far."""
        return self._facts.warning

    def _messages(self, frames: np.ndarray) -> list[bytes]:
        """Pack frames as they travel, one after the other, in messages that a server takes.

        Raises:
            MelError: they are no array of floats, as for `Vocoder`, or not [M, F].
        """
        array, bands = as_floats(frames), self.num_mels
        if array.ndim != 2 or array.shape[0] != bands:
            raise MelError(
                f"frames have shape {list(array.shape)} and dtype {array.dtype}: they must be float [M, F], M={bands}"
            )
        rows = np.ascontiguousarray(array.T, "<f4")
        at_once = max(1, self._message_bytes // (4 * bands))
        return [rows[start : start + at_once].tobytes() for start in range(0, max(1, len(rows)), at_once)]

    def _samples(self, message: str | bytes) -> np.ndarray | None:
        """Read one message: its samples, or None when it was the last.

        Raises:
            RequestFailed: it tells a failure.
        """
        if isinstance(message, bytes):
            return np.frombuffer(message, "<f4")
        told = _told(message)
        if told["type"] == "warning":
            self._facts.warning = told["message"]
            return np.empty(0, np.float32)
        return None


FINISH = json.dumps({"type": "finish"})
"""Message after the last frames."""


def stream_header(model: str | None, segment_frames: int | None, voice: VoiceOfCall) -> str:
    """Make the first message of a live stream.

    Raises:
        ConditioningError: the vector is no array of numbers.
    """
    header: dict[str, object] = {"model": model, "segment_frames": segment_frames, "output": SAMPLE_FORMAT}
    if voice.speaker is not None:
        header["speaker"] = voice.speaker
    if voice.conditioning is not None:
        header["conditioning"] = voice.vector.tolist()
    return json.dumps(header, default=operator.index)  # of NumPy's whole numbers


def opened(message: str | bytes) -> StreamFacts:
    """Read the server's first message.

    Raises:
        RequestFailed: it tells a failure.
    """
    told = _told(message)
    return StreamFacts(told["model"], told["sample_rate"], told["num_mels"], told["segment_frames"])


def _told(message: str | bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(message)
    if told.get("type") == "error":
        raise RequestFailed(
            f"the server ended the stream: {told['message']}",
            code=told["code"],
            retry_after_seconds=told.get("retry_after_seconds"),
        )
    return told
