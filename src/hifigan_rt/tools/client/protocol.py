"""What both clients say and understand: requests, answers, failures, and the messages of a live stream."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from hifigan_rt.errors import AudioError, MelError, RequestFailed, ServerUnreachable

DEFAULT_URL = "http://127.0.0.1:8004"
SAMPLE_BYTES = 4
_FORMAT = "float32"
"""What is asked for: the model's samples as they are, in little-endian order."""


@dataclass(frozen=True)
class RemoteAudio:
    """A server's answer."""

    samples: np.ndarray
    """float32 `[N]` in [-1, 1]."""
    sample_rate: int
    """In Hz."""
    model: str
    request_id: str
    warning: str | None
    """What the server says about the mel, such as a range that looks like another convention."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, for whichever client sends it."""

    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


def require(name: str) -> ModuleType:
    """Import a package of the extra `client`.

    Raises:
        ServerUnreachable: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ServerUnreachable(
            f"the client needs the package {name.partition('.')[0]}: pip install 'hifigan-rt[client]' "
            "(from a clone: pip install '.[client]')"
        ) from error


def checked_url(url: str) -> str:
    """The server's address without a slash at its end.

    Raises:
        ServerUnreachable: it is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerUnreachable(f"server {url!r} is no address: it looks like {DEFAULT_URL}")
    return url.rstrip("/")


def stream_url(url: str) -> str:
    """Where live streams are, on the same server."""
    return f"ws{url.removeprefix('http')}/v1/stream"


def authorization(token: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def mel_request(mel: np.ndarray, model: str | None, *, streamed: bool) -> Request:
    """Ask for the audio of a mel.

    Raises:
        MelError: it is not [M, T].
    """
    array = np.asarray(mel)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise MelError(f"mel has shape {list(array.shape)} and dtype {array.dtype}: it must be float [M, T]")
    body = np.ascontiguousarray(array, "<f4").tobytes()
    shape = f"{array.shape[0]},{array.shape[1]}"
    headers = {"Content-Type": "application/octet-stream", "X-Mel-Shape": shape}
    return Request("/v1/synthesize", _query(model, streamed=streamed), body, headers)


def recording_request(recording: bytes | str | Path, model: str | None, *, resample: bool, mono: bool) -> Request:
    """Ask for the resynthesis of a recording.

    Raises:
        AudioError: the file cannot be read.
    """
    if not isinstance(recording, bytes):
        try:
            recording = Path(recording).read_bytes()
        except OSError as error:
            raise AudioError(f"recording {str(recording)!r} cannot be read: {error.strerror}") from error
    query = _query(model, streamed=False) | {"resample": str(int(resample)), "mono": str(int(mono))}
    return Request("/v1/copy-synthesis", query, recording, {"Content-Type": "application/octet-stream"})


def _query(model: str | None, *, streamed: bool) -> dict[str, str]:
    query = {"format": _FORMAT, "stream": str(int(streamed))}
    return query if model is None else query | {"model": model}


def read_audio(headers: Mapping[str, str], body: bytes) -> RemoteAudio:
    """Understand an answer.

    Raises:
        RequestFailed: fewer or more samples came than were announced.
    """
    announced = headers.get("x-samples")
    if announced is not None and int(announced) * SAMPLE_BYTES != len(body):
        raise RequestFailed(f"the server announced {announced} samples and sent {len(body)} bytes: ask again")
    return RemoteAudio(
        np.frombuffer(body, "<f4"),
        int(headers["x-sample-rate"]),
        headers.get("x-model", ""),
        headers.get("x-request-id", ""),
        headers.get("x-mel-warning"),
    )


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> RequestFailed:
    """The error that an answer tells."""
    code, message = "", body[:200].decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
    retry_after: float | None = None
    with contextlib.suppress(ValueError, KeyError):
        retry_after = float(headers["retry-after"])
    return RequestFailed(
        f"the server answered {status}: {message}",
        status=status,
        code=code,
        request_id=headers.get("x-request-id", ""),
        retry_after_seconds=retry_after,
    )


class Pieces:
    """Bytes of any lengths in, whole samples out."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, content: bytes) -> np.ndarray:
        """float32 `[n]`, n may be 0."""
        content = self._rest + content
        whole = len(content) - len(content) % SAMPLE_BYTES
        self._rest = content[whole:]
        return np.frombuffer(content[:whole], "<f4")


@dataclass
class StreamFacts:
    """What a server says of a live stream as it opens."""

    model: str
    sample_rate: int
    num_mels: int
    segment_frames: int
    warning: str | None = None


class OpenedStream:
    """What both kinds of live streams tell of themselves."""

    def __init__(self, facts: StreamFacts) -> None:
        self._facts = facts

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._facts.sample_rate

    @property
    def num_mels(self) -> int:
        """Bands of the frames."""
        return self._facts.num_mels

    @property
    def segment_frames(self) -> int:
        """Frames that the server computes together."""
        return self._facts.segment_frames

    @property
    def warning(self) -> str | None:
        """What the server said about the mel, so far."""
        return self._facts.warning


def stream_header(model: str | None, segment_frames: int | None) -> str:
    """The first message."""
    return json.dumps({"model": model, "segment_frames": segment_frames, "output": _FORMAT})


FINISH = json.dumps({"type": "finish"})


def frames_message(frames: np.ndarray, num_mels: int) -> bytes:
    """Frames as they travel, one after the other.

    Raises:
        MelError: they are not [M, F].
    """
    array = np.asarray(frames)
    if array.ndim != 2 or array.shape[0] != num_mels or array.dtype.kind != "f":
        raise MelError(
            f"frames have shape {list(array.shape)} and dtype {array.dtype}: they must be float [M, F], M={num_mels}"
        )
    return np.ascontiguousarray(array.T, "<f4").tobytes()


def opened(message: str | bytes) -> StreamFacts:
    """Understand the first answer.

    Raises:
        RequestFailed: it tells a failure.
    """
    told = _told(message)
    return StreamFacts(told["model"], told["sample_rate"], told["num_mels"], told["segment_frames"])


def understand(message: str | bytes, facts: StreamFacts) -> np.ndarray | None:
    """One message of an open stream: its samples, or None when it was the last.

    Raises:
        RequestFailed: it tells a failure.
    """
    if isinstance(message, bytes):
        return np.frombuffer(message, "<f4")
    told = _told(message)
    if told["type"] == "warning":
        facts.warning = told["message"]
        return np.empty(0, np.float32)
    return None


def _told(message: str | bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(message)
    if told.get("type") == "error":
        raise RequestFailed(
            f"the server ended the stream: {told['message']}",
            code=told["code"],
            retry_after_seconds=told.get("retry_after_seconds"),
        )
    return told
