"""`POST /v2/models/{name}/infer`: tensors in, audio out.

A model takes `mel_spec` FP32 [B, M, T], and `mel_lengths` INT64 [B] for mels of different lengths; where it has several
speakers `speaker` INT64 [B], and where it takes vectors `conditioning` FP32 [B, G]. For a decoder of latents the former
two are `latent` and `latent_lengths`. It gives `wavs` FP32 [B, N] with N
samples for T frames. Each item comes out as it would alone, and is followed by zeros.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import BadRequest, MelInvalid, UnknownModel
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.mel_bodies import check_byte_order, check_length
from hifigan_rt.tools.serving.memory_costs import JSON_BYTES_PER_VALUE, REQUEST_BYTES, audio_bytes, mel_bytes
from hifigan_rt.tools.serving.open_inference_tensors import (
    JSON_BYTES_PER_SAMPLE,
    TensorRequest,
    TensorSpec,
    check_json_output,
    decode_request_steps,
    encode_response_steps,
    json_length,
)
from hifigan_rt.tools.serving.request_bodies import damage_explained, decoded, read_body, while_connected
from hifigan_rt.tools.serving.routes import Endpoint, Parameter, json_content, object_schema, response
from hifigan_rt.tools.serving.whole_response import whole_response

MEL = TensorSpec("mel_spec", "FP32", 3, "[B, M, T]: log-mels")
LENGTHS = TensorSpec("mel_lengths", "INT64", 1, "[B]: frames of each mel", optional=True)
LATENT = TensorSpec("latent", "FP32", 3, "[B, C, T]: latents")
LATENT_LENGTHS = TensorSpec("latent_lengths", "INT64", 1, "[B]: frames of each latent", optional=True)
SPEAKER = TensorSpec("speaker", "INT64", 1, "[B]: numbers of speakers", optional=True)
CONDITIONING = TensorSpec("conditioning", "FP32", 2, "[B, G]: vectors in place of speakers", optional=True)
AUDIO = "wavs"
HEADER_LENGTH = "Inference-Header-Content-Length"
VERSION = "1"
"""Version of every model: a file that is loaded anew takes the place of the one before."""

_NAME = Parameter("name", "path", {"type": "string"}, "a model that /v1/models lists")
_VERSION = Parameter("version", "path", {"type": "string", "enum": [VERSION]}, "every model has version 1")

MODEL_PATHS = (
    ("/v2/models/{name}", "", (_NAME,)),
    ("/v2/models/{name}/versions/{version}", "OfVersion", (_NAME, _VERSION)),
)
"""Paths that lead to a model, the ends of their operation ids, and their parameters."""


async def infer(request: Request) -> Response:
    """Answer mels with audio: bit for bit `vocoder(mel)` of each."""
    context, record = context_of(request), record_of(request)
    with await context.models.lease(model_name(request)) as lease:
        record.model = lease.name
        asked, mels, frames = await _read(request, lease)
        voices = _voices(asked, lease, len(mels))
        total_frames = sum(mel.shape[1] for mel in mels)
        finding = await decoded(lambda: _finding(lease, mels), 4 * total_frames * len(mels[0]))
        record.facts.update(
            items=len(mels), frames=total_frames, audio_seconds=round(lease.audio_seconds(total_frames), 3)
        )
        deadline = record.started + context.settings.request_timeout_seconds
        work = context.scheduler.synthesize(lease, mels, voices, client=record.client, deadline=deadline)
        audios = await while_connected(request.receive, work)
        samples = lease.vocoder.output_length(frames)
    wavs = await asyncio.to_thread(_padded, audios, samples)
    encoded = await context.pieces.run(encode_response_steps(lease.name, VERSION, asked, AUDIO, wavs))
    headers = {
        "Cache-Control": "no-store",
        "Content-Type": "application/json" if encoded.header_length is None else "application/octet-stream",
    }
    if finding is not None:
        headers["X-Mel-Warning"] = record.facts["mel_warning"] = finding
    if encoded.header_length is not None:
        headers[HEADER_LENGTH] = str(encoded.header_length)
    return whole_response(encoded.parts, headers)


def frames_and_lengths(lease: ModelLease) -> tuple[TensorSpec, TensorSpec]:
    """Name the tensors with a model's frames, and with their numbers."""
    return (LATENT, LATENT_LENGTHS) if lease.vocoder.takes_latents else (MEL, LENGTHS)


def model_name(request: Request) -> str:
    """Read the name of the model from the path.

    Raises:
        UnknownModel: the path names a version that no model has.
    """
    name: str = request.path_params["name"]
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise UnknownModel(f"version {version[:40]!r} is not known here: every model has version {VERSION}")
    return name


def _finding(lease: ModelLease, mels: Sequence[CheckedMel]) -> str | None:
    """Say what is odd about the first mel with something odd."""
    for index, mel in enumerate(mels):
        finding = lease.diagnose(mel)
        if finding is not None:
            return f"item {index}: {finding}"
    return None


async def _read(request: Request, lease: ModelLease) -> tuple[TensorRequest, list[CheckedMel], int]:
    """Give what `_decoded` makes of the body, which is not kept."""
    context, record = context_of(request), record_of(request)
    settings = context.settings
    header_length = request.headers.get(HEADER_LENGTH)
    most = min(settings.max_json_bytes, settings.max_body_bytes)
    body = await read_body(
        request,
        check_room=lambda: context.scheduler.check_room(lease, client=record.client),
        becomes=lambda body_bytes: _becomes(lease, 1, body_bytes // (4 * (lease.num_mels or 1)), as_json=False),
    )
    with damage_explained(body, text=header_length is None):
        numbers = body.count(b",", 0, min(json_length(header_length, len(body)), most)) + 1
        held = REQUEST_BYTES + len(body) + JSON_BYTES_PER_VALUE * numbers
        await context.memory.reserve(record, held)
        specs = (*frames_and_lengths(lease), SPEAKER, CONDITIONING)
        steps = decode_request_steps(body, header_length, specs, AUDIO, max_json_bytes=most)
        tensors = await context.pieces.run(steps)
    batch, _ = frames_and_lengths(lease)
    items, _, frames = tensors.tensors[batch.name].shape
    if items > settings.max_batch_items:
        raise BadRequest(
            f"{batch.name} has {items} mels, and at most {settings.max_batch_items} are taken in one request"
        )
    check_length(lease, frames, settings.max_mel_seconds)
    if not tensors.binary:
        check_json_output(items * lease.vocoder.output_length(frames), settings.max_json_bytes)
    await context.memory.reserve(record, held + _becomes(lease, items, frames, as_json=not tensors.binary))
    return tensors, await decoded(lambda: _checked(tensors, lease), len(body)), frames


def _becomes(lease: ModelLease, items: int, frames: int, *, as_json: bool) -> int:
    """Bytes of a batch of mels and of their audio, once as it was computed and once padded, or as text."""
    samples = frames * lease.hop_length
    padded = samples * (4 + (JSON_BYTES_PER_SAMPLE if as_json else 0))
    return items * (mel_bytes(lease.num_mels or 1, frames) + audio_bytes(lease, frames) + padded)


def _checked(request: TensorRequest, lease: ModelLease) -> list[CheckedMel]:
    """Give the mels [M, T_i] of a request."""
    mels_spec, lengths_spec = frames_and_lengths(lease)
    batch = request.tensors[mels_spec.name]
    check_byte_order(batch)
    items, _, frames = batch.shape
    lengths = _lengths(request.tensors.get(lengths_spec.name), lengths_spec.name, items, frames)
    mels = []
    for index, (mel, length) in enumerate(zip(batch, lengths, strict=True)):
        try:
            mels.append(lease.check_mel(mel[:, :length]))
        except MelInvalid as error:
            raise MelInvalid(f"{mels_spec.name}, item {index}: {error}") from error
    return mels


def _voices(request: TensorRequest, lease: ModelLease, items: int) -> np.ndarray | None:
    """Give what the engine takes beside the mels."""
    speakers, vectors = (request.tensors.get(spec.name) for spec in (SPEAKER, CONDITIONING))
    if speakers is not None and len(speakers) != items:
        raise BadRequest(f"{SPEAKER.name} has {len(speakers)} values for {items} mels")
    if vectors is not None and len(vectors) != items:
        raise BadRequest(f"{CONDITIONING.name} has {len(vectors)} vectors for {items} mels")
    return lease.conditioning(speakers, vectors, items)


def _lengths(lengths: np.ndarray | None, name: str, items: int, frames: int) -> list[int]:
    if lengths is None:
        return [frames] * items
    if len(lengths) != items:
        raise BadRequest(f"{name} has {len(lengths)} values, and the request has {items} mels")
    outside = (lengths < 1) | (lengths > frames)
    if outside.any():
        index = int(np.flatnonzero(outside)[0])
        raise BadRequest(
            f"{name} holds {int(lengths[index])} for item {index}: each must be from 1 to the {frames} frames given"
        )
    return [int(length) for length in lengths]


def _padded(audios: Sequence[np.ndarray], samples: int) -> np.ndarray:
    wavs = np.zeros((len(audios), samples), np.float32)
    for row, audio in zip(wavs, audios, strict=True):
        row[: len(audio)] = audio
    return wavs


def _tensor(names: list[str], datatypes: list[str]) -> dict[str, Any]:
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 1}}
    return object_schema(
        {"name": {"type": "string", "enum": names}, "shape": sizes, "datatype": {"enum": datatypes}},
        {"data": {"type": "array", "items": {}}, "parameters": {"type": "object"}},
    )


_RAW = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ALL = (MEL, LENGTHS, LATENT, LATENT_LENGTHS, SPEAKER, CONDITIONING)
_INPUTS = _tensor([spec.name for spec in _ALL], list(dict.fromkeys(spec.datatype for spec in _ALL)))
_REQUEST = object_schema(
    {"inputs": {"type": "array", "minItems": 1, "items": _INPUTS}},
    {
        "id": {"type": "string", "maxLength": 256},
        "outputs": {"type": "array", "items": object_schema({"name": {"enum": [AUDIO]}}, {"parameters": {}})},
        "parameters": {"type": "object"},
    },
)
_OUTPUTS = {"type": "array", "items": _tensor([AUDIO], ["FP32"])}
_RESPONSE = response(
    "the audio; raw float32 behind the JSON if that was asked for",
    json_content(object_schema({"model_name": {}, "model_version": {}, "outputs": _OUTPUTS}, {"id": {}})) | _RAW,
    {HEADER_LENGTH: {"schema": {"type": "integer"}}},
)
_HEADER_LENGTH = Parameter(
    HEADER_LENGTH, "header", {"type": "integer", "minimum": 0}, "bytes of the JSON, if raw tensors follow it"
)

ENDPOINTS = tuple(
    Endpoint(
        "POST", f"{path}/infer", infer, f"infer{suffix}", "Audio of mels", {"200": _RESPONSE},
        (*parameters, _HEADER_LENGTH), {"required": True, "content": json_content(_REQUEST) | _RAW},
    )
    for path, suffix, parameters in MODEL_PATHS
)  # fmt: skip
