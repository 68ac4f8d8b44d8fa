"""What descriptions of routes are made of; see `hifigan_rt.tools.serving.openapi`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hifigan_rt.tools.serving.failures import ServingError

PathItems = Mapping[str, Mapping[str, Any]]
"""Path to its path item object."""

ANY_REQUEST = (400, 401, 403, 404, 405, 429, 500, 503)
"""Statuses of failures that every route may answer with."""

WITH_BODY = (408, 411, 413, 415, 504)
"""More of them, where a body is read and something is computed."""


def _failure_codes() -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {}
    classes = [ServingError]
    while classes:
        failure = classes.pop(0)
        classes += failure.__subclasses__()
        if failure.code not in codes.setdefault(failure.status, []):
            codes[failure.status].append(failure.code)
    return codes


COMPONENTS: Mapping[str, Any] = {
    "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    "schemas": {
        "Error": {
            "type": "object",
            "required": ["error"],
            "additionalProperties": False,
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["code", "message", "request_id"],
                    "additionalProperties": False,
                    "properties": {
                        "code": {
                            "type": "string",
                            "enum": sorted({code for codes in _failure_codes().values() for code in codes}),
                            "description": "for machines",
                        },
                        "message": {"type": "string", "description": "for people"},
                        "request_id": {"type": "string", "description": "to be found in the server's log"},
                    },
                }
            },
        },
        "InferenceError": {
            "type": "object",
            "required": ["error"],
            "additionalProperties": False,
            "properties": {"error": {"type": "string", "description": "the code, a colon, and a text for people"}},
        },
    },
    "headers": {
        "RequestId": {"schema": {"type": "string"}, "description": "the request's, or a new one"},
        "RetryAfter": {"schema": {"type": "integer"}, "description": "seconds"},
    },
}


def answer(description: str, content: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A response object; X-Request-Id is added."""
    return {
        "description": description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}, **(headers or {})},
        "content": dict(content),
    }


def json_content(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A content object of JSON."""
    return {"application/json": {"schema": dict(schema)}}


def failures(statuses: Sequence[int], schema: str = "Error") -> dict[str, Any]:
    """Response objects of failures, by status, with the codes that each may have."""
    codes = _failure_codes()
    return {
        str(status): answer(
            ", ".join(codes[status]),
            json_content({"$ref": f"#/components/schemas/{schema}"}),
            {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}} if status in (429, 503) else None,
        )
        for status in sorted(statuses)
    }


def query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """An optional parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def flag_query(name: str, description: str) -> dict[str, Any]:
    """An optional parameter that is 0 or 1."""
    return query(name, description, {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"})


def operation(
    name: str,
    summary: str,
    responses: Mapping[str, Any],
    *,
    parameters: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
    token: bool = True,
    failure_schema: str = "Error",
) -> dict[str, Any]:
    """An operation object.

    Args:
        name: unique.
        summary: one line.
        responses: of success, by status; those of failures are added.
        parameters: of query, path and headers.
        body: the request body object, if there is one.
        token: whether the bearer token is asked for, where the server has one.
        failure_schema: of the failures' bodies.
    """
    statuses = ANY_REQUEST + (WITH_BODY if body is not None else ())
    described: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": failures(statuses, failure_schema) | dict(responses),
    }
    if parameters:
        described["parameters"] = [dict(parameter) for parameter in parameters]
    if body is not None:
        described["requestBody"] = dict(body)
    if not token:
        described["security"] = []
    return described
