"""`/v2`: the Open Inference Protocol over REST, which Triton's and KServe's clients speak.

A model takes `mel_spec` FP32 [B, M, T], and `mel_lengths` INT64 [B] for mels of different lengths; it gives `wavs` FP32
[B, N] with N samples for T frames. Each item comes out as it would alone, and is followed by zeros.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.audio_answers import while_connected
from hifigan_rt.tools.serving.context import Context, context_of, exchange_of
from hifigan_rt.tools.serving.failures import BadRequest, EngineFailed, MelInvalid, ModelUnavailable, UnknownModel
from hifigan_rt.tools.serving.health import is_ready
from hifigan_rt.tools.serving.mel_bodies import check_byte_order, check_length
from hifigan_rt.tools.serving.models import ModelLease
from hifigan_rt.tools.serving.open_inference_description import describe_open_inference
from hifigan_rt.tools.serving.open_inference_tensors import (
    TensorAnswer,
    TensorRequest,
    TensorSpec,
    check_json_output,
    decode_request,
    encode_answer,
)
from hifigan_rt.tools.serving.openapi_parts import PathItems
from hifigan_rt.tools.serving.request_bodies import decoded, read_body
from hifigan_rt.tools.serving.settings import ServerSettings

MEL = TensorSpec("mel_spec", "FP32", 3, "[B, M, T]: log-mels")
LENGTHS = TensorSpec("mel_lengths", "INT64", 1, "[B]: frames of each mel", optional=True)
AUDIO = "wavs"
HEADER_LENGTH = "Inference-Header-Content-Length"
VERSION = "1"
"""Of every model: a file that is loaded anew takes the place of the one before."""

_SENT_AT_ONCE_BYTES = 1 << 20
_MAX_INDEX_REQUEST_BYTES = 4096
_NO_STORE = {"Cache-Control": "no-store"}


def routes(_: Context) -> list[BaseRoute]:
    """All of `/v2`."""
    models = [
        Route(f"/v2/models/{{name}}{version}{path}", handler, methods=[method])
        for version in ("", "/versions/{version}")
        for path, handler, method in (
            ("", model_metadata, "GET"),
            ("/ready", model_ready, "GET"),
            ("/infer", infer, "POST"),
        )
    ]
    return [
        Route("/v2", server_metadata, methods=["GET"]),
        Route("/v2/health/live", server_live, methods=["GET"]),
        Route("/v2/health/ready", server_ready, methods=["GET"]),
        Route("/v2/repository/index", repository_index, methods=["POST"]),
        *models,
    ]


def describe() -> PathItems:
    """For the OpenAPI document."""
    return describe_open_inference(MEL.name, LENGTHS.name, AUDIO)


async def server_metadata(_: Request) -> Response:
    """Name, version, and what beyond the protocol's core is spoken."""
    return JSONResponse({"name": "hifigan-rt", "version": version("hifigan-rt"), "extensions": ["binary_tensor_data"]})


async def server_live(_: Request) -> Response:
    """The process is alive and its event loop turns."""
    return JSONResponse({"live": True}, headers=_NO_STORE)


async def server_ready(request: Request) -> Response:
    """Whether to send requests here."""
    ready = is_ready(context_of(request))
    return JSONResponse({"ready": ready}, 200 if ready else 503, headers=_NO_STORE)


async def model_ready(request: Request) -> Response:
    """Whether a model is loaded; does not load it."""
    status = context_of(request).models.status(_model_name(request))
    exchange_of(request).model = status.name
    if status.state != "ready":
        told = "could not be loaded" if status.state == "failed" else "is loaded by the first request for it"
        raise ModelUnavailable(f"model {status.name!r} {told}")
    return JSONResponse({"name": status.name, "ready": True}, headers=_NO_STORE)


async def model_metadata(request: Request) -> Response:
    """The tensors that a model takes and gives; loads it if it is not loaded."""
    with await context_of(request).models.lease(_model_name(request)) as lease:
        exchange_of(request).model = lease.name
        content = {
            "name": lease.name,
            "versions": [VERSION],
            "platform": f"hifiganrt_{lease.vocoder.engine_info.name}",
            "inputs": [_described(MEL, [-1, lease.num_mels or -1, -1]), _described(LENGTHS, [-1])],
            "outputs": [{"name": AUDIO, "datatype": "FP32", "shape": [-1, -1]}],
        }
    return JSONResponse(content, headers=_NO_STORE)


async def repository_index(request: Request) -> Response:
    """All models and how they are; with {"ready": true} those that are loaded."""
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
    return JSONResponse(listed, headers=_NO_STORE)


async def infer(request: Request) -> Response:
    """Answer mels with audio: bit for bit `vocoder(mel)` of each."""
    context, exchange = context_of(request), exchange_of(request)
    with await context.models.lease(_model_name(request)) as lease:
        exchange.model = lease.name
        asked, mels, frames = await _read(request, lease)
        total_frames = sum(mel.shape[1] for mel in mels)
        exchange.facts.update(
            items=len(mels), frames=total_frames, audio_seconds=round(lease.audio_seconds(total_frames), 3)
        )
        deadline = exchange.started + context.settings.request_timeout_seconds
        work = context.scheduler.synthesize(lease, mels, deadline=deadline)
        audios = await while_connected(request.receive, work)
        samples = lease.vocoder.output_length(frames)
    answer = await asyncio.to_thread(_encoded, lease.name, asked, audios, samples)
    headers = {
        **_NO_STORE,
        "Content-Type": "application/json" if answer.header_length is None else "application/octet-stream",
        "Content-Length": str(sum(len(part) for part in answer.parts)),
    }
    if answer.header_length is not None:
        headers[HEADER_LENGTH] = str(answer.header_length)
    return StreamingResponse(_pieces(answer.parts), headers=headers)


def _model_name(request: Request) -> str:
    name: str = request.path_params["name"]
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise UnknownModel(f"version {version[:40]!r} is not known here: every model has version {VERSION}")
    return name


def _described(spec: TensorSpec, shape: list[int]) -> dict[str, object]:
    described: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": shape}
    return {**described, "optional": True} if spec.optional else described


def _only_ready(body: bytes) -> bool:
    try:
        asked = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is no JSON") from error
    only_ready = asked.get("ready", False) if isinstance(asked, dict) else None
    if not isinstance(only_ready, bool):
        raise BadRequest('the body must be empty, or {"ready": true} or {"ready": false}')
    return only_ready


async def _read(request: Request, lease: ModelLease) -> tuple[TensorRequest, list[CheckedMel], int]:
    """What `_decoded` makes of the body, which is not kept."""
    context = context_of(request)
    body = await read_body(request, admit=lambda: context.scheduler.admit(lease, 0))
    header_length = request.headers.get(HEADER_LENGTH)
    return await decoded(lambda: _decoded(body, header_length, lease, context.settings), len(body))


def _decoded(
    body: bytes, header_length: str | None, lease: ModelLease, settings: ServerSettings
) -> tuple[TensorRequest, list[CheckedMel], int]:
    """The request, its mels [M, T_i], and T."""
    request = decode_request(
        body, header_length, (MEL, LENGTHS), AUDIO, max_json_bytes=min(settings.max_json_bytes, settings.max_body_bytes)
    )
    batch = request.tensors[MEL.name]
    items, _, frames = batch.shape
    if items > settings.max_batch_items:
        raise BadRequest(
            f"{MEL.name} has {items} mels, and at most {settings.max_batch_items} are taken in one request"
        )
    check_length(lease, frames, settings.max_mel_seconds)
    if AUDIO in request.wants and not request.wants[AUDIO]:
        check_json_output(items * lease.vocoder.output_length(frames), settings.max_json_bytes)
    check_byte_order(batch)
    lengths = _lengths(request.tensors.get(LENGTHS.name), items, frames)
    mels = []
    for index, (mel, length) in enumerate(zip(batch, lengths, strict=True)):
        try:
            mels.append(lease.check_mel(mel[:, :length]))
        except MelInvalid as error:
            raise MelInvalid(f"{MEL.name}, item {index}: {error}") from error
    return request, mels, frames


def _lengths(lengths: np.ndarray | None, items: int, frames: int) -> list[int]:
    if lengths is None:
        return [frames] * items
    if len(lengths) != items:
        raise BadRequest(f"{LENGTHS.name} has {len(lengths)} values, and {MEL.name} has {items} mels")
    wrong = lengths[(lengths < 1) | (lengths > frames)]
    if len(wrong):
        raise BadRequest(f"{LENGTHS.name} holds {int(wrong[0])}: each must be from 1 to the {frames} frames given")
    return [int(length) for length in lengths]


def _encoded(model: str, request: TensorRequest, audios: Sequence[np.ndarray], samples: int) -> TensorAnswer:
    wavs = np.zeros((len(audios), samples), np.float32)
    for row, audio in zip(wavs, audios, strict=True):
        row[: len(audio)] = audio
    if not np.isfinite(wavs).all():
        raise EngineFailed("the model gave values that are no audio: the server's log tells more")
    return encode_answer(model, VERSION, request, AUDIO, wavs)


async def _pieces(parts: Sequence[bytes | memoryview]) -> AsyncIterator[memoryview]:
    """Few enough bytes at a time that a slow client holds up no more memory than the answer itself."""
    for part in parts:
        whole = memoryview(part)
        for start in range(0, len(whole), _SENT_AT_ONCE_BYTES):
            yield whole[start : start + _SENT_AT_ONCE_BYTES]
