"""Routes, each described once: the router and the OpenAPI document are made from the same rows.

A module with routes has a tuple `ENDPOINTS`. Its handlers get at the server's parts with `context_of` and `record_of`
of `hifigan_rt.tools.serving.context`, and raise `ServingError`, which becomes the response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

JsonObject = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """Parameter of a request."""

    name: str
    place: Literal["path", "query", "header"]
    schema: JsonObject
    description: str | None = None
    example: str | None = None

    @property
    def described(self) -> dict[str, Any]:
        """Parameter object of OpenAPI."""
        optional = {"description": self.description, "example": self.example}
        return {
            "name": self.name,
            "in": self.place,
            "schema": self.schema,
            **{key: value for key, value in optional.items() if value is not None},
            **({"required": True} if self.place == "path" else {}),
        }


@dataclass(frozen=True)
class Endpoint:
    """Route: one method of one path."""

    method: Literal["GET", "POST"]
    path: str
    """Pattern of Starlette's router and of OpenAPI, such as `/v1/models/{name}`."""
    handler: Callable[[Request], Awaitable[Response]]
    name: str
    """Operation id, unique in the document."""
    summary: str
    responses: Mapping[str, JsonObject]
    """Responses of success by status; see `response`. Those of failures are added to the document."""
    parameters: tuple[Parameter, ...] = ()
    body: JsonObject | None = None
    """Request body object of OpenAPI; None for a route that reads none."""
    token: bool = True
    """Whether the bearer token is asked for, where the server has one."""
    health: bool = False
    """Whether it answers while the server is full or shuts down, and is logged for debugging only."""

    def route(self) -> Route:
        """Make the row of the router; GET answers HEAD as well."""
        return Route(self.path, self.handler, methods=[self.method])


def fresh_json(content: object, status: int = 200) -> JSONResponse:
    """Answer with JSON of this moment, which nobody is to keep."""
    return JSONResponse(content, status, {"Cache-Control": "no-store"})


def query(name: str, description: str, schema: JsonObject) -> Parameter:
    """Describe an optional parameter of the query."""
    return Parameter(name, "query", schema, description)


def flag_query(name: str, description: str) -> Parameter:
    """Describe an optional parameter of the query that is 0 or 1."""
    return query(name, description, {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"})


def response(description: str, content: JsonObject, headers: JsonObject | None = None) -> dict[str, Any]:
    """Make a response object of OpenAPI; the header X-Request-Id is added."""
    return {
        "description": description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}, **(headers or {})},
        "content": dict(content),
    }


def json_content(schema: JsonObject) -> dict[str, Any]:
    """Make a content object of JSON."""
    return {"application/json": {"schema": schema}}


def object_schema(required: JsonObject, optional: JsonObject | None = None) -> dict[str, Any]:
    """Make the schema of a JSON object from the schemas of its keys."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}
