"""What a client is told when something cannot be done: a code for machines, a status, and a text for people.

ServingError
+-- BadRequest              bad_request             400
+-- MelInvalid              mel_invalid             400
+-- AudioInvalid            audio_invalid           400
+-- Unauthorized            unauthorized            401
+-- Forbidden               forbidden               403   another site's page, or not the operator
+-- NotFound                not_found               404
|   +-- UnknownModel        model_not_found         404
+-- MethodNotAllowed        method_not_allowed      405
+-- RequestTimeout          request_timeout         408   the client was too slow
+-- LengthRequired          length_required         411
+-- PayloadTooLarge         payload_too_large       413
+-- UnsupportedMediaType    unsupported_media       415
+-- TooManyRequests         too_many_requests       429
+-- HeadersTooLarge         headers_too_large       431
+-- InternalFailure         internal                500
|   +-- EngineFailed        engine_failed           500
+-- QueueFull               queue_full              503
+-- ShuttingDown            shutting_down           503
+-- ModelUnavailable        model_unavailable       503
+-- DeadlineExceeded        deadline_exceeded       504
"""

from __future__ import annotations

from hifigan_rt.errors import AudioError, ConfigError, EngineError, HifiganError, MelError


class ServingError(HifiganError):
    """Base of all that a client may be told.

    Attributes:
        code: for machines.
        status: of HTTP.
        message: for people; holds nothing of the server's insides.
        retry_after_seconds: when it is worth another try; None if it never is, or nobody knows.
    """

    code = "internal"
    status = 500

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
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


class Unauthorized(ServingError):
    """No bearer token, or a wrong one."""

    code, status = "unauthorized", 401


class Forbidden(ServingError):
    """The page of another site asks, or somebody who is not the operator."""

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


class RequestTimeout(ServingError):
    """The client was too slow."""

    code, status = "request_timeout", 408


class LengthRequired(ServingError):
    """A request that must have a body, and does not say how it is delimited."""

    code, status = "length_required", 411


class PayloadTooLarge(ServingError):
    """More than the server's limits allow."""

    code, status = "payload_too_large", 413


class UnsupportedMediaType(ServingError):
    """A content type or encoding that the server does not know."""

    code, status = "unsupported_media", 415


class TooManyRequests(ServingError):
    """As many clients or streams are there as may be."""

    code, status = "too_many_requests", 429


class HeadersTooLarge(ServingError):
    """Headers of more bytes than the server reads."""

    code, status = "headers_too_large", 431


class InternalFailure(ServingError):
    """The server's own fault; the details are in its log."""


class EngineFailed(InternalFailure):
    """The engine failed while it computed."""

    code = "engine_failed"


class QueueFull(ServingError):
    """As much work waits as may wait."""

    code, status = "queue_full", 503


class ShuttingDown(ServingError):
    """The server is about to end and takes no new work."""

    code, status = "shutting_down", 503

    def __init__(self, message: str, retry_after_seconds: float | None = 5.0) -> None:
        """By default, a client may find another server, or this one started again, after some seconds."""
        super().__init__(message, retry_after_seconds)


class ModelUnavailable(ServingError):
    """The model could not be loaded; the details are in the server's log."""

    code, status = "model_unavailable", 503


class DeadlineExceeded(ServingError):
    """The request could not be finished in the time it had."""

    code, status = "deadline_exceeded", 504


def as_serving_error(error: BaseException) -> ServingError:
    """Translate an error into what the client may know of it; those of the server's insides lose their text."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, MelError):
        return MelInvalid(str(error))
    if isinstance(error, AudioError):
        return AudioInvalid(str(error))
    if isinstance(error, ConfigError):
        return BadRequest(str(error))
    if isinstance(error, EngineError):
        return EngineFailed("the engine failed: the server's log tells why")
    return InternalFailure("the server failed: its log tells why")
