"""`/openapi.json`: every route of the server, in OpenAPI 3.1. Each module with routes describes its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hifigan_rt.tools.serving.openapi_parts import COMPONENTS, PathItems, answer, json_content, operation

_DESCRIPTION = (
    "Audio from log-mel spectrograms, with HiFi-GAN models. Errors of /v1 are "
    '{"error": {"code", "message", "request_id"}}; those of /v2 follow the Open Inference Protocol.'
)


def document_route(described: Iterable[PathItems], *, with_token: bool) -> BaseRoute:
    """`GET /openapi.json`.

    Args:
        described: the path items of all other routes.
        with_token: whether this server asks for a bearer token.
    """
    paths: dict[str, Any] = {}
    for items in described:
        paths.update(items)
    paths["/openapi.json"] = {
        "get": operation(
            "openapi", "This document", {"200": answer("OpenAPI 3.1", json_content({"type": "object"}))}, token=False
        )
    }
    content = document(paths, with_token=with_token)

    async def openapi(_: Request) -> Response:
        return JSONResponse(content)

    return Route("/openapi.json", openapi, methods=["GET"])


def document(paths: Mapping[str, Any], *, with_token: bool) -> dict[str, Any]:
    """The document of these path items."""
    content: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "hifigan-rt", "version": version("hifigan-rt"), "description": _DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": COMPONENTS,
    }
    if with_token:
        content["security"] = [{"bearer": []}]
    return content
