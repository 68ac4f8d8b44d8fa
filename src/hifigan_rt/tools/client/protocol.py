"""Protocol of both clients, without any input or output: requests and responses."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import numpy as np

from hifigan_rt.errors import AudioError, ConditioningError, MelError, RequestFailed, ServerUnreachable
from hifigan_rt.mel.arrays import as_floats
from hifigan_rt.system.arrays import Expected
from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.client.proxies import ProxyAddress, choose_proxy

DEFAULT_URL = "http://127.0.0.1:8004"
SAMPLE_BYTES = 4
_VECTOR = Expected("conditioning", "numpy.load", ConditioningError)
SAMPLE_FORMAT = "float32"
"""Format that is asked for: the model's samples as they are, in little-endian order."""

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteAudio:
    """Audio that a server has sent."""

    samples: np.ndarray
    """float32 `[N]` in [-1, 1]."""
    sample_rate: int
    """Sample rate in Hz."""
    model: str
    request_id: str
    warning: str | None
    """Remark of the server about the recording or the mel, such as a range that looks like another convention."""


def require(name: str) -> ModuleType:
    """Import a package of the extra `client`.

    Raises:
        ServerUnreachable: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ServerUnreachable(
            f"the client needs the package {name.partition('.')[0]}: {how_to_get('client')}"
        ) from error


class ServerAddress:
    """Address of a server, and what every connection to it needs."""

    def __init__(self, url: str, token: str | None, timeout_seconds: float | None) -> None:
        """Check the address, and choose the proxy.

        Raises:
            ServerUnreachable: it is no http or https address, the proxy is none, or no header can carry the token.
        """
        if not isinstance(url, str):
            raise no_address(url)  # such as None, of an environment variable that is not set
        try:
            self._parts = parts = urlsplit(url.strip())
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            valid = valid and not parts.query and not parts.fragment
            (parts.hostname or "").encode("idna")  # as the system's resolver has it
        except ValueError:
            valid = False
        if not valid:
            raise no_address(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        """Address without a password."""
        self.proxy = choose_proxy(self._parts, streamed=False)
        """Proxy of requests; None goes to the server directly."""
        self.timeout_seconds = timeout_seconds
        self._headers = {} if token is None else {"Authorization": f"Bearer {_sendable(token)}"}

    @cached_property
    def stream_proxy(self) -> ProxyAddress | None:
        """Proxy of live streams."""
        return choose_proxy(self._parts, streamed=True)

    @property
    def http_options(self) -> dict[str, Any]:
        """Arguments of httpx2's clients."""
        return {
            "base_url": self.url,
            "headers": self._headers,
            "timeout": self.timeout_seconds,
            "follow_redirects": False,
        }

    @property
    def stream_options(self) -> dict[str, Any]:
        """Arguments of `connect` of websockets."""
        return {
            "uri": f"ws{self.url.removeprefix('http')}/v1/stream",
            "proxy": None if self.stream_proxy is None else self.stream_proxy.url,
            "additional_headers": self._headers,
            "open_timeout": self.timeout_seconds,
            # Pings keep the way open. A server that computes what was pushed reads no further, and so its pong may
            # well take longer than any limit here.
            "ping_timeout": None,
            # No bound on what was received and not read: it is never more than the audio of what was pushed, and a
            # bound would stop a caller who pushes much before reading anything.
            "max_queue": None,
            "max_size": None,
            "compression": None,
        }


def no_address(url: object) -> ServerUnreachable:
    """Make the error of what is no address of a server."""
    return ServerUnreachable(f"server {url!r} is no address: it looks like {DEFAULT_URL}")


def _sendable(token: str) -> str:
    """Leave out what stands around a token, such as the line's end of a file; errors show nothing of it.

    Raises:
        ServerUnreachable: no header can carry it.
    """
    if not isinstance(token, str):
        raise ServerUnreachable(f"the token is a {type(token).__name__}: pass a str")
    token = token.strip()
    if not re.fullmatch("[ -~]+", token):
        raise ServerUnreachable("the token is empty, or holds more than one line of ASCII: no header can carry it")
    return token


@dataclass(frozen=True)
class Call(Generic[T]):
    """HTTP request, and the way its response is read."""

    method: str
    path: str
    read: Callable[[Mapping[str, str], bytes], T]
    """Function that makes the result of the headers and the body of a response with status 200."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `request` and `stream` of httpx2's clients."""
        return {
            "method": self.method,
            "url": self.path,
            "params": self.query,
            "content": self.body,
            "headers": self.headers,
        }

    def result(self, response: Any, server: ServerAddress) -> T:
        """Read one of httpx2's responses, whose body is here.

        Raises:
            RequestFailed: the server refused the request, or something else answered.
        """
        failure = failure_of(response.status_code, response.headers, response.content, server.proxy)
        if not is_answer(response.status_code, response.headers):
            raise failure
        try:
            return self.read(response.headers, response.content)
        except (KeyError, TypeError, ValueError) as error:
            raise failure from error


@dataclass(frozen=True)
class VoiceOfCall:
    """What a model is asked to speak as, as callers give it."""

    speaker: int | str | None = None
    conditioning: object = None

    @property
    def query(self) -> dict[str, str]:
        """Parameter of the query."""
        return {} if self.speaker is None else {"speaker": str(self.speaker)}

    @property
    def headers(self) -> dict[str, str]:
        """Header of a vector.

        Raises:
            ConditioningError: it is no array of numbers.
        """
        if self.conditioning is None:
            return {}
        return {"X-Conditioning": base64.b64encode(self.vector.tobytes()).decode()}

    @property
    def vector(self) -> np.ndarray:
        """The vector, float32 `[G]` in little-endian order.

        Raises:
            ConditioningError: it is no array of numbers.
        """
        array = _VECTOR.array(self.conditioning)
        if array.dtype.kind not in "fiu":
            raise ConditioningError(f"conditioning has dtype {array.dtype}, and its values must be floats")
        return array.astype("<f4").ravel()


def synthesis(mel: np.ndarray, model: str | None, voice: VoiceOfCall, *, streamed: bool = False) -> Call[RemoteAudio]:
    """Ask for the audio of a mel.

    Raises:
        ConditioningError: the vector is no array of numbers.
        MelError: it is no array of floats, as for `Vocoder`, or not [M, T].
    """
    array = as_floats(mel)
    if array.ndim != 2 or not array.size:
        raise MelError(f"mel has shape {list(array.shape)} and dtype {array.dtype}: it must be float [M, T]")
    body = np.ascontiguousarray(array, "<f4").tobytes()
    shape = f"{array.shape[0]},{array.shape[1]}"
    headers = {"Content-Type": "application/octet-stream", "X-Mel-Shape": shape} | voice.headers
    return Call("POST", "/v1/synthesize", read_audio, _query(model, streamed=streamed) | voice.query, body, headers)


def copy_synthesis(
    recording: bytes | bytearray | memoryview | str | Path,
    model: str | None,
    voice: VoiceOfCall,
    *,
    resample: bool,
    mono: bool,
) -> Call[RemoteAudio]:
    """Ask for the resynthesis of a recording.

    Raises:
        ConditioningError: the vector is no array of numbers.
        AudioError: the file cannot be read, or it is neither a path nor the bytes of one.
    """
    if isinstance(recording, (bytearray, memoryview)):
        recording = bytes(recording)
    if not isinstance(recording, bytes):
        try:
            recording = Path(recording).read_bytes()
        except TypeError as error:
            raise AudioError(
                f"the recording is a {type(recording).__name__}: pass the path of a wav, flac, ogg or mp3, or its bytes"
            ) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AudioError(f"recording {str(recording)!r} cannot be read: {reason}") from error
    query = _query(model, streamed=False) | {"resample": str(int(resample)), "mono": str(int(mono))} | voice.query
    headers = {"Content-Type": "application/octet-stream"} | voice.headers
    return Call("POST", "/v1/copy-synthesis", read_audio, query, recording, headers)


def models() -> Call[list[dict[str, Any]]]:
    """Ask for the models that the server offers."""
    return Call("GET", "/v1/models", lambda _, body: json.loads(body)["models"])


def _query(model: str | None, *, streamed: bool) -> dict[str, str]:
    query = {"format": SAMPLE_FORMAT, "stream": str(int(streamed))}
    return query if model is None else query | {"model": model}


def read_audio(headers: Mapping[str, str], body: bytes) -> RemoteAudio:
    """Read a response with audio.

    Raises:
        RequestFailed: fewer or more samples came than were announced.
    """
    check_samples(headers.get("x-samples"), len(body))
    warnings = filter(None, map(headers.get, ("x-recording-warning", "x-mel-warning")))
    return RemoteAudio(
        np.frombuffer(body, "<f4"),
        int(headers["x-sample-rate"]),
        headers.get("x-model", ""),
        headers.get("x-request-id", ""),
        "; ".join(warnings) or None,
    )


def check_samples(announced: str | None, size: int) -> None:
    """Check that so many bytes are the samples that the header X-Samples announced, if it did, and whole ones.

    Raises:
        RequestFailed: they are not.
    """
    if announced is not None and int(announced) * SAMPLE_BYTES != size:
        raise RequestFailed(f"the server announced {announced} samples and sent {size} bytes: ask again")
    if size % SAMPLE_BYTES:
        raise RequestFailed(f"the server sent {size} bytes, which are no whole samples: ask again")


def is_answer(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response is a success of the server, and not a page that something in between puts in its place."""
    return status == 200 and ("x-request-id" in headers or "x-sample-rate" in headers)


def failure_of(status: int, headers: Mapping[str, str], body: bytes, proxy: ProxyAddress | None) -> RequestFailed:
    """Make the error that a response tells; every response of the server has its request's id.

    Args:
        status: of the response.
        headers: by name in lower case.
        body: of the response, or its beginning.
        proxy: that the request went through.
    """
    code, message = "", f"the server answered {status}: {body[:200].decode('utf-8', 'replace')}"
    if "x-request-id" not in headers:
        message = _foreign_answer(status, body, proxy)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(body)["error"]
        code, message = str(told["code"]), f"the server answered {status}: {told['message']}"
    retry_after: float | None = None
    with contextlib.suppress(ValueError, KeyError):
        retry_after = float(headers["retry-after"])
    return RequestFailed(
        message,
        status=status,
        code=code,
        request_id=headers.get("x-request-id", ""),
        retry_after_seconds=retry_after,
    )


def _foreign_answer(status: int, body: bytes, proxy: ProxyAddress | None) -> str:
    """Tell what a proxy or another program said in the server's place."""
    text = body[:10_000].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.IGNORECASE | re.DOTALL)
    said = " ".join((title[1] if title else text).split())[:200]
    with contextlib.suppress(ValueError):
        said = said or HTTPStatus(status).phrase
    if proxy is None:
        return f"what answered {status} is not hifigan serve, but another program or a proxy before it: {said}"
    way_out = f"{proxy.way_around} goes past it"
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        way_out = "give it a user, as in http://USER:PASSWORD@HOST:PORT"
    return f"the proxy {proxy.shown} answered {status} in the server's place: {said}; {way_out}"


def socks_unavailable(proxy: ProxyAddress | None, package: str) -> ServerUnreachable:
    """Make the error of a proxy that needs one more package."""
    shown = "" if proxy is None else f" {proxy.shown}"
    return ServerUnreachable(f"the SOCKS proxy{shown} needs one more package: pip install '{package}'")


class Pieces:
    """Joiner of bytes of any lengths to whole samples, and counter of them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Read how many samples are to come.

        Args:
            headers: of the response, by name in lower case.
        """
        self._announced = headers.get("x-samples")
        self._rest = b""
        self._size = 0

    def add(self, content: bytes) -> np.ndarray:
        """Give the samples that are complete with these bytes: float32 `[n]`, n may be 0."""
        self._size += len(content)
        content = self._rest + content
        whole = len(content) - len(content) % SAMPLE_BYTES
        self._rest = content[whole:]
        return np.frombuffer(content[:whole], "<f4")

    def end(self) -> None:
        """Check that all has come: some proxies make a whole answer of one that was cut off.

        Raises:
            RequestFailed: it has not.
        """
        check_samples(self._announced, self._size)
