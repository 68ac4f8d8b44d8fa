"""`/v1/models`: what the server has, and a reload of it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.tools.serving.access import check_operator
from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import Forbidden
from hifigan_rt.tools.serving.models import ModelStatus
from hifigan_rt.tools.serving.routes import Endpoint, Parameter, fresh_json, json_content, object_schema, response


async def list_models(request: Request) -> Response:
    """List all models, and name the default one."""
    models = context_of(request).models
    described = [_described(status) for status in models.statuses()]
    # As OpenAI's clients read a list of models.
    named = [{"id": model["name"], "object": "model"} for model in described]
    return fresh_json({"default": models.default, "models": described, "object": "list", "data": named})


async def one_model(request: Request) -> Response:
    """Tell the state of one model."""
    status = context_of(request).models.status(request.path_params["name"])
    return fresh_json(_described(status))


async def reload_model(request: Request) -> Response:
    """Load a model's files anew; what runs on the old ones is finished on them."""
    context = context_of(request)
    check_operator(request.scope, context)
    if context.settings.replica:
        raise Forbidden(
            "this replica alone would reload: change the deployment's user_config and deploy again, and all of them do"
        )
    name = request.path_params["name"]
    status = context.models.status(name)
    record_of(request).model = status.name
    await context.models.reload(name)
    return fresh_json(_described(context.models.status(name)))


def _described(status: ModelStatus) -> dict[str, str | int | dict[str, int] | None]:
    """Leave out why a load failed: it may name files, and stays in the log."""
    return {name: getattr(status, name) for name in _MODEL["properties"]}


_OPTIONAL_TEXT = {"type": ["string", "null"]}
_OPTIONAL_NUMBER = {"type": ["integer", "null"], "description": "null until the model is loaded"}
_MODEL = object_schema(
    {
        "name": {"type": "string"},
        "state": {"type": "string", "enum": ["unloaded", "loading", "ready", "failed"]},
        "engine": _OPTIONAL_TEXT,
        "precision": _OPTIONAL_TEXT,
        "sample_rate": _OPTIONAL_NUMBER,
        "hop_length": _OPTIONAL_NUMBER,
        "num_mels": _OPTIONAL_NUMBER,
        "input_kind": {"type": ["string", "null"], "enum": ["mel", "latent", None]},
        "num_speakers": _OPTIONAL_NUMBER,
        "speakers": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "integer"},
            "description": "names of speakers, with their numbers",
        },
        "conditioning_channels": _OPTIONAL_NUMBER,
        "takes_text": {"type": ["boolean", "null"], "description": "whether it is a voice; null until it is loaded"},
        "loads": {"type": "integer", "description": "how often it was loaded"},
    }
) | {"additionalProperties": False}
"""Schema of one model; its keys are the fields of `ModelStatus` that clients may know."""
_ALL_MODELS = object_schema(
    {
        "default": {"type": "string"},
        "models": {"type": "array", "items": _MODEL},
        "object": {"type": "string", "enum": ["list"]},
        "data": {
            "type": "array",
            "items": object_schema({"id": {"type": "string"}, "object": {"type": "string", "enum": ["model"]}}),
            "description": "the names of the models, as OpenAI's clients read them",
        },
    }
)
_ONE_MODEL = {"200": response("the model", json_content(_MODEL))}
_NAME = Parameter("name", "path", {"type": "string", "minLength": 1})

ENDPOINTS = (
    Endpoint(
        "GET", "/v1/models", list_models, "models", "All models",
        {"200": response("models", json_content(_ALL_MODELS))},
    ),
    Endpoint("GET", "/v1/models/{name}", one_model, "model", "One model", _ONE_MODEL, (_NAME,)),
    Endpoint(
        "POST", "/v1/models/{name}/reload", reload_model, "reload",
        "Load a model anew; for holders of the token, else from loopback", _ONE_MODEL, (_NAME,),
    ),
)  # fmt: skip
