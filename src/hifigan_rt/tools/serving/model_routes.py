"""`GET /v1/models` and `POST /v1/models/{name}/reload`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hifigan_rt.tools.serving.context import Context, context_of, exchange_of
from hifigan_rt.tools.serving.middleware import check_operator
from hifigan_rt.tools.serving.models import ModelStatus
from hifigan_rt.tools.serving.openapi_parts import PathItems, answer, json_content, operation

_OPTIONAL_TEXT = {"type": ["string", "null"]}
_OPTIONAL_NUMBER = {"type": ["integer", "null"], "description": "null until the model is loaded"}
_MODEL = {
    "type": "object",
    "required": ["name", "state", "engine", "precision", "sample_rate", "hop_length", "num_mels", "loads"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "state": {"type": "string", "enum": ["unloaded", "loading", "ready", "failed"]},
        "engine": _OPTIONAL_TEXT,
        "precision": _OPTIONAL_TEXT,
        "sample_rate": _OPTIONAL_NUMBER,
        "hop_length": _OPTIONAL_NUMBER,
        "num_mels": _OPTIONAL_NUMBER,
        "loads": {"type": "integer", "description": "how often it was loaded"},
    },
}


def routes(_: Context) -> list[BaseRoute]:
    """Both."""
    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{name}", one_model, methods=["GET"]),
        Route("/v1/models/{name}/reload", reload_model, methods=["POST"]),
    ]


def describe() -> PathItems:
    """For the OpenAPI document."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    models = {"default": {"type": "string"}, "models": {"type": "array", "items": _MODEL}}
    listed = {"type": "object", "required": list(models), "properties": models}
    one = {"200": answer("the model", json_content(_MODEL))}
    return {
        "/v1/models": {"get": operation("models", "All models", {"200": answer("models", json_content(listed))})},
        "/v1/models/{name}": {"get": operation("model", "One model", one, parameters=[name])},
        "/v1/models/{name}/reload": {
            "post": operation(
                "reload", "Load a model anew; for holders of the token, else from loopback", one, parameters=[name]
            )
        },
    }


async def list_models(request: Request) -> Response:
    """All models, the default one first named."""
    models = context_of(request).models
    return JSONResponse(
        {"default": models.default, "models": [_described(status) for status in models.statuses()]},
        headers={"Cache-Control": "no-store"},
    )


async def one_model(request: Request) -> Response:
    """How one model is."""
    status = context_of(request).models.status(request.path_params["name"])
    return JSONResponse(_described(status), headers={"Cache-Control": "no-store"})


async def reload_model(request: Request) -> Response:
    """Load a model's files anew; what runs on the old ones is finished on them."""
    context = context_of(request)
    check_operator(request.scope, context)
    name = request.path_params["name"]
    status = context.models.status(name)
    exchange_of(request).model = status.name
    await context.models.reload(name)
    return JSONResponse(_described(context.models.status(name)), headers={"Cache-Control": "no-store"})


def _described(status: ModelStatus) -> dict[str, str | int | None]:
    """What clients may know; why a load failed may name files, and stays in the log."""
    return {
        "name": status.name,
        "state": status.state,
        "engine": status.engine,
        "precision": status.precision,
        "sample_rate": status.sample_rate,
        "hop_length": status.hop_length,
        "num_mels": status.num_mels,
        "loads": status.loads,
    }
