"""Mels that are on a device already: taken without a copy through the host, checked where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.mel.arrays import stream_of
from hifigan_rt.mel.shapes import axes_to_leave_out, check_shape


def as_tensors(
    mels: Sequence[object], device: torch.device, num_mels: int, *, listed: bool = False
) -> list[torch.Tensor]:
    """Take mels of DLPack, `__cuda_array_interface__` or PyTorch itself.

    Args:
        mels: `[M, T_i]` or `[B, M, T]` each.
        device: the engine's.
        num_mels: M of the model.
        listed: they are the items of a list: each is one mel, `[M, T_i]` with dimensions of 1 around and within it left
            out, and errors name its index.

    Returns:
        float32 tensors on the device.

    Raises:
        MelError: a shape, dtype or value that no mel can have, or one that requires a gradient.
        EngineError: it is on another device.
    """
    converted = []
    for index, mel in enumerate(mels):
        try:
            converted.append(_checked(_as_tensor(mel, device), device, num_mels, single=listed))
        except (MelError, EngineError) as error:
            raise type(error)(f"item {index} of the list: {error}" if listed else str(error)) from error
    # One look at all of them, since each makes the host wait for the card.
    if converted and not torch.stack([tensor.isfinite().all() for tensor in converted]).all():
        wrong = next(index for index, tensor in enumerate(converted) if not tensor.isfinite().all())
        where = f"item {wrong} of the list: " if listed else ""
        raise MelError(
            f"{where}the mel holds values that are NaN, infinite or beyond float32: every value must be finite"
        )
    return converted


def _checked(tensor: torch.Tensor, device: torch.device, num_mels: int, *, single: bool) -> torch.Tensor:
    if single:
        tensor = tensor.squeeze(axes_to_leave_out(tensor.shape, num_mels))
    check_shape(tuple(tensor.shape), num_mels)
    if single and tensor.ndim != 2:
        raise MelError(f"the mel has shape {list(tensor.shape)}, and [M, T] is needed")
    if tensor.device != device:
        raise EngineError(
            f"the mel is on device {str(tensor.device)!r}, and the model on {str(device)!r}: move one of them"
        )
    if not tensor.is_floating_point():
        raise MelError(f"the mel has dtype {tensor.dtype}, and its values must be floats: pass mel.float()")
    if tensor.requires_grad:
        raise MelError("the mel requires a gradient, and synthesis gives none: pass mel.detach()")
    return tensor.float()


def _as_tensor(mel: object, device: torch.device) -> torch.Tensor:
    if isinstance(mel, torch.Tensor):
        return mel
    try:
        if hasattr(mel, "__dlpack__"):
            tensor: torch.Tensor = torch.from_dlpack(mel)
            return tensor
        if hasattr(mel, "__cuda_array_interface__"):
            return _of_interface(mel, device if device.type == "cuda" else torch.device("cuda"))
    except MelError:
        raise
    except Exception as error:  # foreign arrays raise anything
        raise MelError(f"the mel, a {type(mel).__name__}, cannot be made a tensor: {error}") from error
    raise MelError(f"the mel is a {type(mel).__name__}, and others of its list are on a device: pass tensors there")


def _of_interface(mel: Any, device: torch.device) -> torch.Tensor:
    # PyTorch does not look at the stream.
    stream = stream_of(mel.__cuda_array_interface__)
    if stream is not None:
        torch.cuda.current_stream(device).wait_stream(torch.cuda.ExternalStream(stream, device=device))
    return torch.as_tensor(mel, device=device)
