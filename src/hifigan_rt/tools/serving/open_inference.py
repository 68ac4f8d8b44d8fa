"""`/v2`: the Open Inference Protocol over REST, which Triton's and KServe's clients speak.

Its one route that computes is in `open_inference_infer`.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import BadRequest, ModelUnavailable
from hifigan_rt.tools.serving.health import is_ready
from hifigan_rt.tools.serving.json_values import parse_json
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.open_inference_infer import (
    AUDIO,
    CONDITIONING,
    MODEL_PATHS,
    SPEAKER,
    VERSION,
    frames_and_lengths,
    model_name,
)
from hifigan_rt.tools.serving.open_inference_tensors import TensorSpec
from hifigan_rt.tools.serving.request_bodies import read_body
from hifigan_rt.tools.serving.routes import Endpoint, fresh_json, json_content, object_schema, response

_MAX_INDEX_REQUEST_BYTES = 4096


async def server_metadata(_: Request) -> Response:
    """Tell name, version, and what is spoken beyond the protocol's core."""
    return JSONResponse({"name": "hifigan-rt", "version": own_version(), "extensions": ["binary_tensor_data"]})


async def server_live(_: Request) -> Response:
    """Answer that the process is alive and its event loop turns."""
    return fresh_json({"live": True})


async def server_ready(request: Request) -> Response:
    """Tell whether to send requests here."""
    ready = is_ready(context_of(request))
    return fresh_json({"ready": ready}, 200 if ready else 503)


async def model_ready(request: Request) -> Response:
    """Tell whether a model is loaded; does not load it."""
    status = context_of(request).models.status(model_name(request))
    record_of(request).model = status.name
    if status.state != "ready":
        told = "could not be loaded" if status.state == "failed" else "is loaded by the first request for it"
        raise ModelUnavailable(f"model {status.name!r} {told}")
    return fresh_json({"name": status.name, "ready": True})


async def model_metadata(request: Request) -> Response:
    """Describe the tensors that a model takes and gives; loads it if it is not loaded."""
    with await context_of(request).models.lease(model_name(request)) as lease:
        record_of(request).model = lease.name
        content = {
            "name": lease.name,
            "versions": [VERSION],
            "platform": f"hifiganrt_{lease.vocoder.engine_info.name}",
            "inputs": _inputs(lease),
            "outputs": [{"name": AUDIO, "datatype": "FP32", "shape": [-1, -1]}],
        }
    return fresh_json(content)


async def repository_index(request: Request) -> Response:
    """List all models and their states; with {"ready": true} those that are loaded."""
    only_ready = False
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        only_ready = _only_ready(await read_body(request, _MAX_INDEX_REQUEST_BYTES))
    statuses = context_of(request).models.statuses()
    listed = [
        {
            "name": status.name,
            "version": VERSION,
            "state": {"ready": "READY", "loading": "LOADING"}.get(status.state, "UNAVAILABLE"),
            "reason": "" if status.state in ("ready", "loading") else status.state,
        }
        for status in statuses
        if status.state == "ready" or not only_ready
    ]
    return fresh_json(listed)


def _inputs(lease: ModelLease) -> list[dict[str, object]]:
    """Describe the tensors that a model takes; a vector may stand in place of a speaker."""
    rule = lease.speaker_choice.rule
    batch, lengths = frames_and_lengths(lease)
    inputs = [_described(batch, [-1, lease.num_mels or -1, -1]), _described(lengths, [-1], optional=True)]
    if rule.takes_speakers:
        inputs.append(_described(SPEAKER, [-1], optional=rule.takes_vectors or rule.speakers == 1))
    if rule.takes_vectors:
        inputs.append(_described(CONDITIONING, [-1, rule.channels or -1], optional=rule.takes_speakers))
    return inputs


def _described(spec: TensorSpec, shape: list[int], *, optional: bool = False) -> dict[str, object]:
    described: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": shape}
    return {**described, "optional": True} if optional else described


def _only_ready(body: bytes | bytearray) -> bool:
    asked = parse_json(bytes(body), "the body") if body.strip() else {}
    only_ready = asked.get("ready", False) if isinstance(asked, dict) else None
    if not isinstance(only_ready, bool):
        raise BadRequest('the body must be empty, or {"ready": true} or {"ready": false}')
    return only_ready


_BOOLEAN = {"type": "boolean"}
_SERVER = json_content(object_schema({"name": {}, "version": {}, "extensions": {}}))
_LIVE = json_content(object_schema({"live": _BOOLEAN}))
_READY = json_content(object_schema({"ready": _BOOLEAN}))
_TENSORS = json_content(object_schema({"inputs": {}, "outputs": {}}))
_INDEX = json_content(
    {
        "type": "array",
        "items": object_schema({"name": {"type": "string"}, "version": {}, "state": {}, "reason": {}}),
    }
)

ENDPOINTS = (
    Endpoint(
        "GET", "/v2", server_metadata, "serverMetadata", "Name, version and extensions",
        {"200": response("Name, version and extensions", _SERVER)},
    ),
    Endpoint(
        "GET", "/v2/health/live", server_live, "serverLive", "Is it alive?", {"200": response("Is it alive?", _LIVE)},
        token=False, health=True,
    ),
    Endpoint(
        "GET", "/v2/health/ready", server_ready, "serverReady", "Does it take requests?",
        {"200": response("new requests are taken", _READY), "503": response("they are not", _READY)},
        token=False, health=True,
    ),
    Endpoint(
        "POST", "/v2/repository/index", repository_index, "repositoryIndex", "Models",
        {"200": response("all models, or those that are loaded", _INDEX)},
        body={"content": json_content({"type": "object", "properties": {"ready": _BOOLEAN}})},
    ),
    *(
        Endpoint(
            "GET", path, model_metadata, f"modelMetadata{suffix}", "Inputs and outputs",
            {"200": response("Inputs and outputs", _TENSORS)}, parameters,
        )
        for path, suffix, parameters in MODEL_PATHS
    ),
    *(
        Endpoint(
            "GET", f"{path}/ready", model_ready, f"modelReady{suffix}", "Is the model loaded?",
            {"200": response("Is the model loaded?", _READY)}, parameters,
        )
        for path, suffix, parameters in MODEL_PATHS
    ),
)  # fmt: skip
