"""`/v2` for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.tools.serving.openapi_parts import PathItems, answer, json_content, operation

_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "a model that /v1/models lists",
    "schema": {"type": "string"},
}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "every model has version 1",
    "schema": {"type": "string", "enum": ["1"]},
}
_HEADER_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "bytes of the JSON, if raw tensors follow it",
    "schema": {"type": "integer", "minimum": 0},
}
_NUMBERS: Mapping[str, Any] = {"type": "array", "items": {}}
_SIZES = {"type": "array", "items": {"type": "integer", "minimum": 1}}


def describe_open_inference(mel: str, lengths: str, audio: str) -> PathItems:
    """The path items of the Open Inference Protocol.

    Args:
        mel: the name of the input of log-mels.
        lengths: the name of the input of their lengths.
        audio: the name of the output.
    """
    items: dict[str, Any] = {
        "/v2": _get("serverMetadata", "Name, version and extensions", {"name": {}, "version": {}, "extensions": {}}),
        "/v2/health/live": _get("serverLive", "Is it alive?", {"live": {"type": "boolean"}}, token=False),
        "/v2/health/ready": _ready(),
        "/v2/repository/index": {"post": _index()},
    }
    for version in ("", "/versions/{version}"):
        path = f"/v2/models/{{name}}{version}"
        suffix = "OfVersion" if version else ""
        parameters = (_NAME, _VERSION) if version else (_NAME,)
        items |= {
            path: _get("modelMetadata" + suffix, "Inputs and outputs", {"inputs": {}, "outputs": {}}, parameters),
            f"{path}/ready": _get(
                "modelReady" + suffix, "Is the model loaded?", {"ready": {"type": "boolean"}}, parameters
            ),
            f"{path}/infer": {"post": _infer("infer" + suffix, parameters, mel, lengths, audio)},
        }
    return items


def _get(
    name: str,
    summary: str,
    properties: Mapping[str, Any],
    parameters: tuple[Mapping[str, Any], ...] = (),
    *,
    token: bool = True,
) -> dict[str, Any]:
    content = json_content(_object(properties))
    responses = {"200": answer(summary, content)}
    return {
        "get": operation(name, summary, responses, parameters=parameters, token=token, failure_schema="InferenceError")
    }


def _ready() -> dict[str, Any]:
    content = json_content(_object({"ready": {"type": "boolean"}}))
    responses = {"200": answer("new requests are taken", content), "503": answer("they are not", content)}
    return {"get": operation("serverReady", "Does it take requests?", responses, token=False)}


def _index() -> dict[str, Any]:
    model = _object({"name": {"type": "string"}, "version": {}, "state": {}, "reason": {}})
    body = {"content": json_content({"type": "object", "properties": {"ready": {"type": "boolean"}}})}
    responses = {"200": answer("all models, or those that are loaded", json_content({"type": "array", "items": model}))}
    return operation("repositoryIndex", "Models", responses, body=body, failure_schema="InferenceError")


def _infer(name: str, parameters: tuple[Mapping[str, Any], ...], mel: str, lengths: str, audio: str) -> dict[str, Any]:
    def tensor(names: list[str], datatypes: list[str]) -> dict[str, Any]:
        return _object(
            {"name": {"type": "string", "enum": names}, "shape": _SIZES, "datatype": {"enum": datatypes}},
            {"data": _NUMBERS, "parameters": {"type": "object"}},
        )

    request = _object(
        {"inputs": {"type": "array", "minItems": 1, "items": tensor([mel, lengths], ["FP32", "INT64"])}},
        {
            "id": {"type": "string", "maxLength": 256},
            "outputs": {"type": "array", "items": _object({"name": {"enum": [audio]}}, {"parameters": {}})},
            "parameters": {"type": "object"},
        },
    )
    outputs = {"type": "array", "items": tensor([audio], ["FP32"])}
    response = _object({"model_name": {}, "model_version": {}, "outputs": outputs}, {"id": {}})
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return operation(
        name,
        "Audio of mels",
        {
            "200": answer(
                "the audio; raw float32 behind the JSON if that was asked for",
                json_content(response) | raw,
                {"Inference-Header-Content-Length": {"schema": {"type": "integer"}}},
            )
        },
        parameters=(*parameters, _HEADER_LENGTH),
        body={"required": True, "content": json_content(request) | raw},
        failure_schema="InferenceError",
    )


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}
