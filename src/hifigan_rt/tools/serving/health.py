"""`/healthz`, `/readyz` and `/metrics`: for those who keep the server running."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.tools.serving.context import Context, context_of
from hifigan_rt.tools.serving.routes import Endpoint, fresh_json, json_content, object_schema, response


def is_ready(context: Context) -> bool:
    """Tell whether new requests are taken: the server is not shutting down, and no model failed to load.

    Models that are loaded at the start are there before any request is taken; the others are loaded by the first
    request for them, which would never come if they counted as missing.
    """
    return not context.draining and all(status.state != "failed" for status in context.models.statuses())


async def healthz(_: Request) -> Response:
    """Answer that the process is alive and its event loop turns."""
    return fresh_json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Tell whether to send requests here, and the state of each model."""
    context = context_of(request)
    ready = is_ready(context)
    content = {
        "status": "shutting_down" if context.draining else "ready" if ready else "not_ready",
        "models": {status.name: status.state for status in context.models.statuses()},
    }
    return fresh_json(content, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """Give Prometheus what it scrapes."""
    telemetry = context_of(request).telemetry
    return Response(telemetry.exposition(), headers={"Content-Type": telemetry.content_type})


_STATUS = {"status": {"type": "string"}}
_MODELS = {"models": {"type": "object", "additionalProperties": {"type": "string"}}}
_READINESS = json_content(object_schema(_STATUS, _MODELS))

ENDPOINTS = (
    Endpoint(
        "GET", "/healthz", healthz, "healthz", "Is it alive?",
        {"200": response("yes", json_content(object_schema(_STATUS)))},
        token=False, health=True,
    ),
    Endpoint(
        "GET", "/readyz", readyz, "readyz", "Does it take requests?",
        {"200": response("new requests are taken", _READINESS), "503": response("they are not", _READINESS)},
        token=False, health=True,
    ),
    Endpoint(
        "GET", "/metrics", metrics, "metrics", "Prometheus metrics",
        {"200": response("text format", {"text/plain": {"schema": {"type": "string"}}})},
        health=True,
    ),
)  # fmt: skip
