"""Mels that are on a device already: their shapes, and the errors that name them."""

import numpy as np
import pytest
import torch

from golden.tiny import tiny_mel
from hifigan_rt.engines.torch_tensors import as_tensors
from hifigan_rt.errors import EngineError, MelError

pytestmark = pytest.mark.torch


def test_items_of_a_list_on_a_device_are_one_mel_each_and_named():
    """PyTorch's CPU stands for the card: `Vocoder` sends lists here that hold mels on a device."""
    cpu, mel = torch.device("cpu"), torch.from_numpy(tiny_mel(5))
    items = as_tensors([mel, mel[None], mel[:, None], mel.half()], cpu, 10, listed=True)
    assert [tuple(item.shape) for item in items] == [(10, 5)] * 4
    assert as_tensors([mel[None]], cpu, 10, listed=False)[0].shape == (1, 10, 5)
    nan = mel.clone()
    nan[3, 4] = float("nan")
    for wrong, text in (
        (nan, "holds values that are NaN"),
        (mel[:9], "has 9 bands"),
        (torch.stack([mel, mel]), r"has shape \[2, 10, 5\], and \[M, T\] is needed"),
        (mel.int(), "has dtype torch.int32"),
        (mel.clone().requires_grad_(), "requires a gradient"),
        (None, "is a NoneType, and others of its list are on a device"),
        (np.array(["text"]), "a ndarray, cannot be made a tensor"),
    ):
        with pytest.raises(MelError, match=f"^item 2 of the list: the mel,? {text}"):
            as_tensors([mel, mel, wrong], cpu, 10, listed=True)
    with pytest.raises(EngineError, match=r"^item 0 of the list: the mel is on device 'meta'"):
        as_tensors([mel.to("meta"), mel], cpu, 10, listed=True)
    with pytest.raises(MelError, match=r"^the mel holds values that are NaN"):
        as_tensors([nan], cpu, 10, listed=False)
