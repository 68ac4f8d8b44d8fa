"""Errors that a client is told of: a code for machines, a status, and a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hifigan_rt.errors import (
    AudioError,
    ConditioningError,
    ConfigError,
    EngineError,
    HifiganError,
    MelError,
    OutputMismatch,
    SamplesNotFinite,
)


class ServingError(HifiganError):
    """Base of the errors that a client may be told of.

    Attributes:
        code: name for machines.
        status: status of the HTTP response.
        message: text for people, which holds nothing of the server's insides.
        retry_after_seconds: time after which another try is worth while; None if that is never, or not known.
        headers: headers of the HTTP response that belong to the failure.
    """

    code = "internal"
    status = 500
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        # What a client sent and the text repeats may be a half of a surrogate pair, which no UTF-8 has.
        self.message = message.encode(errors="backslashreplace").decode()
        super().__init__(self.message)
        self.retry_after_seconds = retry_after_seconds


class BadRequest(ServingError):
    """A header, parameter or body that cannot be understood."""

    code, status = "bad_request", 400


class MelInvalid(ServingError):
    """A mel that the model cannot take."""

    code, status = "mel_invalid", 400


class AudioInvalid(ServingError):
    """A recording that cannot be read."""

    code, status = "audio_invalid", 400


class ConditioningInvalid(ServingError):
    """A speaker or a conditioning vector that the model does not take, or none where it needs one."""

    code, status = "conditioning_invalid", 400


class Unauthorized(ServingError):
    """A request without the bearer token, or with a wrong one."""

    code, status = "unauthorized", 401
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="hifigan"'})


class Forbidden(ServingError):
    """A request from another site's page, or one that only the operator may make."""

    code, status = "forbidden", 403


class NotFound(ServingError):
    """A path that leads nowhere."""

    code, status = "not_found", 404


class UnknownModel(NotFound):
    """A model's name that this server does not have."""

    code = "model_not_found"


class MethodNotAllowed(ServingError):
    """A method that the path does not take."""

    code, status = "method_not_allowed", 405

    def __init__(self, message: str, allowed: str = "") -> None:
        """Name the methods that it takes, with commas between."""
        super().__init__(message)
        self.headers = {"Allow": allowed}


class RequestTimeout(ServingError):
    """A client that was too slow."""

    code, status = "request_timeout", 408


class LengthRequired(ServingError):
    """A request that must have a body, and does not say how it is delimited."""

    code, status = "length_required", 411


class PayloadTooLarge(ServingError):
    """A body or mel beyond the server's limits."""

    code, status = "payload_too_large", 413


class UnsupportedMediaType(ServingError):
    """A content type or encoding that the server does not know."""

    code, status = "unsupported_media", 415


class ExpectationFailed(ServingError):
    """A header Expect with something that the server does not do."""

    code, status = "expectation_failed", 417


class AnalysisUnavailable(ServingError):
    """A recording for a model that takes mels alone, since its config does not tell how to make them."""

    code, status = "analysis_unavailable", 422


class UpgradeRequired(ServingError):
    """A request for a WebSocket that is none, or of another version of the protocol."""

    code, status = "upgrade_required", 426
    headers = MappingProxyType({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})


class TooManyRequests(ServingError):
    """A request or stream beyond the number that may be open."""

    code, status = "too_many_requests", 429


class HeadersTooLarge(ServingError):
    """Headers of more bytes than the server reads."""

    code, status = "headers_too_large", 431


class InternalFailure(ServingError):
    """A fault of the server, whose details are in its log."""


class EngineFailed(InternalFailure):
    """An engine that failed while it computed."""

    code = "engine_failed"


class NotImplementedHere(ServingError):
    """A part of HTTP that the server does not have, and need not have."""

    code, status = "not_implemented", 501


class QueueFull(ServingError):
    """A request that would have to wait too long, or for which there is no memory."""

    code, status = "queue_full", 503


class ShuttingDown(ServingError):
    """A request to a server that is about to end."""

    code, status = "shutting_down", 503

    def __init__(self, message: str, retry_after_seconds: float | None = 5.0) -> None:
        """Tell to try again after some seconds: another server, or this one started again, may be there."""
        super().__init__(message, retry_after_seconds)


CUT_OFF = ShuttingDown("the server is shutting down and could not finish this request")
"""What those are told whom the end of the time for a shutdown cuts off."""


class ModelUnavailable(ServingError):
    """A model that could not be loaded; the details are in the server's log."""

    code, status = "model_unavailable", 503


class ReplicaLost(ServingError):
    """A request whose replica of a cluster was lost before the end of the answer."""

    code, status = "replica_lost", 503


class DeadlineExceeded(ServingError):
    """A request that was not finished in the time it had."""

    code, status = "deadline_exceeded", 504


class HttpVersionUnknown(ServingError):
    """A request of another version of HTTP than 1.x."""

    code, status = "http_version_unknown", 505


def as_serving_error(error: BaseException) -> ServingError:
    """Translate an error into what the client may know of it; those of the server's insides lose their text."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, MelError):
        return MelInvalid(str(error))
    if isinstance(error, ConditioningError):
        return ConditioningInvalid(str(error))
    if isinstance(error, AudioError):
        return AudioInvalid(str(error))
    if isinstance(error, ConfigError):
        return BadRequest(str(error))
    if isinstance(error, (OutputMismatch, SamplesNotFinite)):
        return EngineFailed("the model gave values that are no audio: the server's log tells why")
    if isinstance(error, EngineError):
        return EngineFailed("the engine failed: the server's log tells why")
    return InternalFailure("the server failed: its log tells why")


def let_go(error: BaseException) -> None:
    """Part an error from the frames that it came through, once it has been told.

    They hold one another in rings: a task that failed is a variable where it was awaited, in a frame that its error
    holds. Python frees them when it next looks for rings, late in a server: until then bodies, mels and audio of
    requests that failed stayed, beyond the memory budget. (The frames are not cleared: one that several requests wait
    for fails in all of them, and another's may be at work.)
    """
    passed: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in passed:
            passed.add(id(one))
            one.__traceback__ = None
            left += (one.__cause__, one.__context__)
