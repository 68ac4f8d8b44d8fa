"""Failures as responses: JSON with a code in /v1 and elsewhere, the Open Inference Protocol's form in /v2."""

from __future__ import annotations

import math

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from hifigan_rt.tools.serving.errors import MethodNotAllowed, NotFound, RequestTimeout, ServingError, Unauthorized


def error_response(error: ServingError, scope: Scope, request_id: str) -> JSONResponse:
    """Make the response that tells a failure.

    Args:
        error: the failure.
        scope: ASGI scope of the request.
        request_id: id that the response repeats, for reports.
    """
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="hifigan"'
    if isinstance(error, RequestTimeout) or _waits_for_leave(scope):
        # The rest of the body may come after all, and must not be taken for the next request.
        headers["Connection"] = "close"
    if scope["path"] == "/v2" or scope["path"].startswith("/v2/"):
        content: dict[str, object] = {"error": f"{error.code}: {error.message}"}
    else:
        content = {"error": {"code": error.code, "message": error.message, "request_id": request_id}}
    return JSONResponse(content, error.status, headers)


def from_router(error: HTTPException, scope: Scope) -> ServingError:
    """Translate what Starlette's router raises."""
    method, path = scope.get("method", "GET"), str(scope["path"])
    shown = path if len(path) <= 80 else path[:80] + "..."
    if error.status_code == MethodNotAllowed.status:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowed(f"{shown!r} does not take {str(method)[:20]}: {allowed} is")
    if error.status_code == NotFound.status:
        return NotFound(f"there is nothing at {shown!r}: /openapi.json lists what there is")
    failure = ServingError(str(error.detail))
    failure.status = error.status_code
    return failure


def _waits_for_leave(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope.get("headers", ()))
