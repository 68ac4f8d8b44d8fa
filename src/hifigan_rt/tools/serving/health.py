"""`/healthz`, `/readyz` and `/metrics`: for those who keep the server running."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hifigan_rt.tools.serving.context import Context, context_of
from hifigan_rt.tools.serving.openapi_parts import PathItems, answer, json_content, operation


def routes(_: Context) -> list[BaseRoute]:
    """The three of them."""
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def describe() -> PathItems:
    """For the OpenAPI document."""
    alive = {"status": {"type": "string"}}
    status = {"type": "object", "required": ["status"], "properties": alive}
    models = {"type": "object", "additionalProperties": {"type": "string"}}
    readiness = json_content(status | {"properties": alive | {"models": models}})
    ready = {"200": answer("new requests are taken", readiness), "503": answer("they are not", readiness)}
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/healthz": {
            "get": operation("healthz", "Is it alive?", {"200": answer("yes", json_content(status))}, token=False)
        },
        "/readyz": {"get": operation("readyz", "Does it take requests?", ready, token=False)},
        "/metrics": {"get": operation("metrics", "Prometheus metrics", {"200": answer("text format", text)})},
    }


def is_ready(context: Context) -> bool:
    """Whether new requests are taken: it is not shutting down, and no model failed to load.

    Models that are loaded at the start are there before any request is taken; the others are loaded by the first
    request for them, which would never come if they counted as missing.
    """
    return not context.draining and all(status.state != "failed" for status in context.models.statuses())


async def healthz(_: Request) -> Response:
    """The process is alive and its event loop turns."""
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: Request) -> Response:
    """Whether to send requests here; says of each model how it is."""
    context = context_of(request)
    ready = is_ready(context)
    content = {
        "status": "shutting_down" if context.draining else "ready" if ready else "not_ready",
        "models": {status.name: status.state for status in context.models.statuses()},
    }
    return JSONResponse(content, 200 if ready else 503, headers={"Cache-Control": "no-store"})


async def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    telemetry = context_of(request).telemetry
    return Response(telemetry.exposition(), headers={"Content-Type": telemetry.content_type})
