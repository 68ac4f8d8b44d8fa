"""Messages of a live stream, for both clients, without any input or output."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hifigan_rt.errors import MelError, RequestFailed
from hifigan_rt.mel.arrays import as_floats
from hifigan_rt.tools.client.protocol import SAMPLE_FORMAT, ServerAddress, VoiceOfCall


class OpenedStream:
    """Part of a live stream that both clients share: its facts, and the meaning of its messages."""

    _message_bytes: ClassVar[int]
    """Most of a message."""

    def __init__(self, socket: Any, ready: Mapping[str, Any], server: ServerAddress) -> None:
        self._socket, self._server = socket, server
        self.sample_rate: int = ready["sample_rate"]
        """Sample rate in Hz."""
        self.num_mels: int = ready["num_mels"]
        """Number of bands of the frames."""
        self.segment_frames: int = ready["segment_frames"]
        """Frames that the server computes together."""
        self.warning: str | None = None
        """Remark of the server about the mel, so far."""

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
        told = read_text(message)
        if told["type"] == "warning":
            self.warning = told["message"]
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


def read_text(message: str | bytes) -> dict[str, Any]:
    """Read a message that is no audio; the first one tells the stream's facts.

    Raises:
        RequestFailed: it tells a failure.
    """
    told: dict[str, Any] = json.loads(message)
    if told.get("type") == "error":
        raise RequestFailed(
            f"the server ended the stream: {told['message']}",
            code=told["code"],
            retry_after_seconds=told.get("retry_after_seconds"),
        )
    return told
