"""Failures as responses: JSON with a code in /v1 and elsewhere, the Open Inference Protocol's form in /v2."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from hifigan_rt.tools.serving.errors import MethodNotAllowed, NotFound, RequestTimeout, ServingError, UpgradeRequired


def error_response(error: ServingError, scope: Scope, request_id: str) -> JSONResponse:
    """Make the response that tells a failure.

    Args:
        error: the failure.
        scope: ASGI scope of the request.
        request_id: id that the response repeats, for reports.
    """
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, RequestTimeout) or _waits_for_leave(scope):
        # The rest of the body may come after all, and must not be taken for the next request.
        headers["Connection"] = "close"
    return JSONResponse(error_content(error, scope["path"], request_id), error.status, headers)


def error_content(error: ServingError, path: str, request_id: str) -> dict[str, object]:
    """Make the JSON that tells a failure, in the form of the protocol that the path belongs to."""
    if is_inference(path):
        return {"error": f"{error.code}: {error.message}"}
    return {"error": {"code": error.code, "message": error.message, "request_id": request_id}}


def is_inference(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol."""
    return re.match(r"/v2(?![^/?])", path) is not None


def told(failure: ServingError) -> dict[str, object]:
    """Make the message that tells a failure over a WebSocket, which has no headers left to tell it in."""
    content: dict[str, object] = {"type": "error", "code": failure.code, "message": failure.message}
    wait = failure.retry_after_seconds
    return content if wait is None else {**content, "retry_after_seconds": wait}


def from_router(error: HTTPException, scope: Scope) -> ServingError:
    """Translate what Starlette's router raises."""
    if error.status_code == MethodNotAllowed.status:
        allowed = (error.headers or {}).get("Allow", "another method")
        method = str(scope.get("method", "GET"))[:20]
        return MethodNotAllowed(f"{_shown_path(scope)} does not take {method}: {allowed} is", allowed)
    if error.status_code == NotFound.status:
        return NotFound(f"there is nothing at {_shown_path(scope)}: /openapi.json lists what there is")
    failure = ServingError(str(error.detail))
    failure.status = error.status_code
    return failure


def no_websocket(scope: Scope, methods: Iterable[str]) -> ServingError:
    """Tell who opens a WebSocket where there is none what there is.

    Args:
        scope: ASGI scope of the handshake.
        methods: that the path takes; none for a path that leads nowhere.
    """
    allowed = ", ".join(sorted(methods))
    if not allowed:
        return NotFound(f"there is nothing at {_shown_path(scope)}: the WebSocket is /v1/stream")
    return MethodNotAllowed(
        f"{_shown_path(scope)} takes no WebSocket: {allowed} is taken there; the WebSocket is /v1/stream", allowed
    )


def websocket_alone(scope: Scope) -> ServingError:
    """Tell who asks for a WebSocket as for a page how to open it: most often, a proxy lost what a handshake has."""
    if scope["method"] not in ("GET", "HEAD"):
        return MethodNotAllowed(f"{_shown_path(scope)} is a WebSocket, which begins with GET", "GET")
    return UpgradeRequired(
        f"{_shown_path(scope)} is a WebSocket: its handshake needs HTTP/1.1 and the headers Upgrade: websocket and "
        "Connection: Upgrade; a proxy in front drops both unless it is told to pass them on"
    )


def _shown_path(scope: Scope) -> str:
    path = str(scope["path"])
    return repr(path if len(path) <= 80 else f"{path[:80]}...")


def _waits_for_leave(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope.get("headers", ()))
