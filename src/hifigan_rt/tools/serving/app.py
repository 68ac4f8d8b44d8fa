"""The ASGI application: routes, what stands before them, and the start and end of what they share.

Modules with routes export `routes(context) -> list[BaseRoute]` and `describe() -> PathItems` for the OpenAPI document;
handlers get at the server's parts with `context_of`
and `exchange_of` of `hifigan_rt.tools.serving.context`, and raise `ServingError`, which becomes the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hifigan_rt.tools.serving import copy_synthesis, health, model_routes, open_inference, page, synthesize, websocket
from hifigan_rt.tools.serving.audio_answers import AUDIO_HEADERS
from hifigan_rt.tools.serving.context import Context, exchange_of
from hifigan_rt.tools.serving.error_answers import error_answer, from_router
from hifigan_rt.tools.serving.middleware import Gate, Recorder
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.openapi import document_route
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.vocoder import Vocoder

EXPOSED_HEADERS = (*AUDIO_HEADERS, "X-Request-Id", "Retry-After", "Server-Timing")
"""What a page of another origin may read, if --cors-origin lets it in."""


def make_app(
    settings: ServerSettings,
    sources: Mapping[str, Callable[[], Vocoder]],
    *,
    default: str | None = None,
    preload: Sequence[str] | None = None,
) -> Starlette:
    """Make the application.

    Args:
        settings: limits, token and origins.
        sources: what loads each model, by the name that clients use.
        default: the model of requests that name none; the first by default.
        preload: models that are loaded before the first request is taken; None loads all of them, the others are loaded
            when they are first asked for.

    Raises:
        ConfigError: there is no model, or the default is none of them.
    """
    telemetry = Telemetry()
    context = Context(settings, telemetry, ModelPool(sources, telemetry, default=default))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        context.start()
        try:
            await context.models.load(preload)
            yield
        finally:
            await context.close()

    middleware = [Middleware(Recorder, context=context), Middleware(Gate, context=context)]
    if settings.cors_origins:
        # Outermost, so that answers of the others get its headers, and preflights need no token.
        middleware.insert(0, _cors(settings.cors_origins))
    app = Starlette(
        routes=_routes(context),
        middleware=middleware,
        exception_handlers={HTTPException: _not_routed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = context
    return app


def _routes(context: Context) -> list[BaseRoute]:
    rooms = (synthesize, copy_synthesis, model_routes, open_inference, health, page)
    routes = [route for room in rooms for route in room.routes(context)]
    with_token = context.settings.bearer_token is not None
    # OpenAPI has no words for a WebSocket; docs/serving.md describes it.
    routes += websocket.routes(context)
    return [*routes, document_route([room.describe() for room in rooms], with_token=with_token)]


def _cors(origins: Sequence[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Content-Encoding", "X-Mel-Shape", "X-Request-Id"],
        expose_headers=list(EXPOSED_HEADERS),
        max_age=600,
    )


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    exchange = exchange_of(request)
    failure = from_router(error, request.scope)
    exchange.code = failure.code
    answer = error_answer(failure, request.scope, exchange.request_id)
    answer.headers.update(error.headers or {})
    return answer
