"""ASGI application: routes, what stands before them, and the start and end of what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from hifigan_rt.tools.serving import (
    health,
    model_routes,
    open_inference,
    open_inference_infer,
    speech,
    static_page,
    synthesize,
    websocket,
)
from hifigan_rt.tools.serving.access import AccessControl
from hifigan_rt.tools.serving.audio_responses import AUDIO_HEADERS
from hifigan_rt.tools.serving.context import Context, record_of
from hifigan_rt.tools.serving.error_responses import error_response, from_router, no_websocket, websocket_alone
from hifigan_rt.tools.serving.memory_budget import MemoryBudget
from hifigan_rt.tools.serving.models import ModelPool, Source
from hifigan_rt.tools.serving.openapi import document_endpoint
from hifigan_rt.tools.serving.request_log import RequestLog
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

EXPOSED_HEADERS = (*AUDIO_HEADERS, open_inference_infer.HEADER_LENGTH, "X-Request-Id", "Retry-After", "Server-Timing")
"""Headers that a page of another origin may read, if --cors-origin lets it in."""

_ENDPOINTS = (
    *synthesize.ENDPOINTS,
    *speech.ENDPOINTS,
    *model_routes.ENDPOINTS,
    *open_inference.ENDPOINTS,
    *open_inference_infer.ENDPOINTS,
    *health.ENDPOINTS,
    *static_page.ENDPOINTS,
)


def make_app(settings: ServerSettings, sources: Mapping[str, Source]) -> Starlette:
    """Make the application; a model is loaded when it is first asked for, unless its pool has loaded it before.

    Args:
        settings: limits, token and origins.
        sources: function that loads each model, by the name that clients use; requests that name none get the first.

    Raises:
        ConfigError: there is no model.
    """
    telemetry = Telemetry(settings.replica)
    memory = MemoryBudget(settings, telemetry)
    models = ModelPool(sources, telemetry, loaded=memory.fit_to_machine)
    context = Context(settings, telemetry, models, memory)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        context.start()
        try:
            yield
        finally:
            await context.close()

    with_token = bool(settings.bearer_tokens)
    endpoints = (*_ENDPOINTS, document_endpoint(_ENDPOINTS, with_token=with_token))
    middleware = [
        Middleware(RequestLog, context=context, endpoints=endpoints),
        Middleware(AccessControl, context=context, endpoints=endpoints),
    ]
    if settings.cors_origins:
        # Outermost, so that answers of the others get its headers, and preflights need no token.
        middleware.insert(0, _cors(settings.cors_origins))
    app = Starlette(
        routes=[*(endpoint.route() for endpoint in endpoints), websocket.ROUTE],
        middleware=middleware,
        exception_handlers={HTTPException: _not_routed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.router.default = _or_other_kind(app.router)
    app.state.context = context
    return app


def _cors(origins: Sequence[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        # Clients add headers of their own, and none gives a page more than its token does.
        allow_headers=["*"],
        expose_headers=list(EXPOSED_HEADERS),
        max_age=600,
    )


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    record = record_of(request)
    failure = from_router(error, request.scope)
    record.code = failure.code
    return error_response(failure, request.scope, record.request_id)


def _or_other_kind(router: Router) -> ASGIApp:
    """Make what answers requests that no route takes; a path may be one of the other kind, page or WebSocket."""
    not_found = router.default

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"]
        if asked in ("http", "websocket"):
            other = {**scope, "type": "http" if asked == "websocket" else "websocket", "method": "GET"}
            taking = [route for route in router.routes if route.matches(other)[0] is not Match.NONE]
            if asked == "websocket":
                methods = {method for route in taking if isinstance(route, Route) for method in route.methods or ()}
                raise no_websocket(scope, methods)
            if taking:
                raise websocket_alone(scope)
        await not_found(scope, receive, send)

    return answer
