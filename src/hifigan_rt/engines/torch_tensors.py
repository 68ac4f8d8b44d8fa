"""Mels that are on a device already: taken without a copy through the host, checked where they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.mel.shapes import check_shape


def as_tensors(mels: Sequence[object], device: torch.device, num_mels: int) -> list[torch.Tensor]:
    """Take mels of DLPack, `__cuda_array_interface__` or PyTorch itself.

    Args:
        mels: `[M, T_i]` or `[B, M, T]` each.
        device: the engine's.
        num_mels: M of the model.

    Returns:
        float32 tensors on the device.

    Raises:
        MelError: a shape, dtype or value that no mel can have, or one that requires a gradient.
        EngineError: it is on another device.
    """
    tensors = [_as_tensor(mel) for mel in mels]
    for tensor in tensors:
        check_shape(tuple(tensor.shape), num_mels)
        if tensor.device != device:
            raise EngineError(
                f"the mel is on device {str(tensor.device)!r}, and the model on {str(device)!r}: move one of them"
            )
        if not tensor.is_floating_point():
            raise MelError(f"the mel has dtype {tensor.dtype}, and its values must be floats: pass mel.float()")
        if tensor.requires_grad:
            raise MelError("the mel requires a gradient, and synthesis gives none: pass mel.detach()")
    converted = [tensor.float() for tensor in tensors]
    # One look at all of them, since each makes the host wait for the card.
    if not torch.stack([tensor.isfinite().all() for tensor in converted]).all():
        raise MelError("the mel holds values that are NaN, infinite or beyond float32: every value must be finite")
    return converted


def _as_tensor(mel: object) -> torch.Tensor:
    if isinstance(mel, torch.Tensor):
        return mel
    if hasattr(mel, "__dlpack__"):
        tensor: torch.Tensor = torch.from_dlpack(mel)
        return tensor
    return torch.as_tensor(mel, device="cuda")
