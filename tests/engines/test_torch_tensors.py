"""Mels that are on a device already: their shapes, and the errors that name them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from golden.tiny import tiny_mel
from hifigan_rt.engines.torch_device import open_device
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


class OnACard:
    """An array as Numba describes one, whose memory is the host's."""

    def __init__(self, array, stream):
        self.array = array
        self.__cuda_array_interface__ = {"version": 3, "stream": stream}


def test_arrays_without_dlpack_are_waited_for_on_their_stream(monkeypatch):
    cpu, mel, waited = torch.device("cpu"), torch.from_numpy(tiny_mel(5)), []
    current = SimpleNamespace(wait_stream=lambda other: waited.append(other))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda number, device: (number, device))
    as_tensor = torch.as_tensor
    monkeypatch.setattr(torch, "as_tensor", lambda array, device: as_tensor(array.array))
    for stream in (None, 1, 4711):
        as_tensors([OnACard(mel, stream)], cpu, 10)
    assert waited == [(1, torch.device("cuda")), (4711, torch.device("cuda"))]
    with pytest.raises(MelError, match=r"^the mel names stream 0, and version 3"):
        as_tensors([OnACard(mel, 0)], cpu, 10)


def test_a_device_without_its_number_is_that_of_its_tensors(monkeypatch):
    class Tried:
        device = torch.device("xpu:0")

        def add(self, _):
            return torch.zeros(1)

    monkeypatch.setattr(torch, "ones", lambda *_, **__: Tried())
    assert open_device("xpu") == torch.device("xpu:0")
