"""`/openapi.json`: every route of the server, in OpenAPI 3.1. It has no words for WebSockets; docs/serving.md has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.serving.error_responses import is_inference
from hifigan_rt.tools.serving.errors import ServingError
from hifigan_rt.tools.serving.routes import Endpoint, json_content, object_schema, response

_DESCRIPTION = (
    "Audio from log-mel spectrograms, with HiFi-GAN models. Errors of /v1 are "
    '{"error": {"code", "message", "request_id"}}; those of /v2 follow the Open Inference Protocol.'
)
_ANY_REQUEST = (400, 401, 403, 404, 405, 429, 500, 503)
"""Statuses of failures that every route may answer with."""
_WITH_BODY = (408, 411, 413, 415, 504)
"""Statuses of failures of routes that read a body and compute something."""


def document_endpoint(endpoints: Sequence[Endpoint], *, with_token: bool) -> Endpoint:
    """Make the route `GET /openapi.json`.

    Args:
        endpoints: all other routes.
        with_token: whether this server asks for a bearer token.
    """

    async def openapi(_: Request) -> Response:
        return JSONResponse(content)

    endpoint = Endpoint(
        "GET", "/openapi.json", openapi, "openapi", "This document",
        {"200": response("OpenAPI 3.1", json_content({"type": "object"}))},
        token=False,
    )  # fmt: skip
    content = _document([*endpoints, endpoint], with_token=with_token)
    return endpoint


def _document(endpoints: Iterable[Endpoint], *, with_token: bool) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    content: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "hifigan-rt", "version": own_version(), "description": _DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": _components(),
    }
    if with_token:
        content["security"] = [{"bearer": []}]
    return content


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    statuses = _ANY_REQUEST + (_WITH_BODY if endpoint.body is not None else ())
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": _failures(statuses, endpoint.path) | dict(endpoint.responses),
    }
    if endpoint.parameters:
        described["parameters"] = [parameter.described for parameter in endpoint.parameters]
    if endpoint.body is not None:
        described["requestBody"] = endpoint.body
    if not endpoint.token:
        described["security"] = []
    return described


def _failures(statuses: Iterable[int], path: str) -> dict[str, Any]:
    codes = _failure_codes()
    retry_after = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    schema = "InferenceError" if is_inference(path) else "Error"
    content = json_content({"$ref": f"#/components/schemas/{schema}"})
    return {
        str(status): response(", ".join(codes[status]), content, retry_after if status in (429, 503) else None)
        for status in sorted(statuses)
    }


def _failure_codes() -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {}
    for error in _error_classes():
        if error.code not in codes.setdefault(error.status, []):
            codes[error.status].append(error.code)
    return codes


def _error_classes() -> Iterator[type[ServingError]]:
    classes = [ServingError]
    for error in classes:
        yield error
        classes += error.__subclasses__()


def _components() -> dict[str, Any]:
    codes = sorted({error.code for error in _error_classes()})
    told = {
        "code": {"type": "string", "enum": codes, "description": "for machines"},
        "message": {"type": "string", "description": "for people"},
        "request_id": {"type": "string", "description": "to be found in the server's log"},
    }
    text = {"type": "string", "description": "the code, a colon, and a text for people"}
    closed = {"additionalProperties": False}
    return {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Error": object_schema({"error": object_schema(told) | closed}) | closed,
            "InferenceError": object_schema({"error": text}) | closed,
        },
        "headers": {
            "RequestId": {"schema": {"type": "string"}, "description": "the request's, or a new one"},
            "RetryAfter": {"schema": {"type": "integer"}, "description": "seconds"},
        },
    }
