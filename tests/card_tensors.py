"""PyTorch's tensors on a card, for the tests of the engines that take them."""

import torch

from hifigan_rt.errors import MelError


def behind_work(given: torch.Tensor) -> torch.Tensor:
    """The same numbers, behind work of the current stream that takes a while."""
    busy = torch.ones(4000, 4000, device="cuda")
    for _ in range(20):
        busy = busy @ busy * 1e-4
    return given + busy[0, 0] * 0


def wrong_mels(mel: torch.Tensor) -> list[tuple[object, type[Exception], str]]:
    """What no engine takes, made of a good mel `[M, T]`: the error, and a part of its text."""
    return [
        (mel.clone().requires_grad_(), MelError, "requires a gradient"),
        (mel.T, MelError, "time-major"),
        (mel.long(), MelError, "must be floats"),
        (mel * torch.nan, MelError, "finite"),
        (mel.double() * 1e300, MelError, "finite"),
        ([torch.stack([mel, mel])], MelError, r"and \[M, T\] is needed"),
    ]
