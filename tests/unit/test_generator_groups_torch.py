"""Generators in files that PyTorch itself wraps."""

from __future__ import annotations

import numpy as np
import pytest

from golden.tiny import TINY, tiny_weights, write_tiny
from hifigan_rt.model.resolve import resolve_model


@pytest.fixture(scope="module")
def network():
    """The tiny generator as PyTorch's modules with weight norm in both spellings, and its folded weights."""
    torch = pytest.importorskip("torch")
    nn, config = torch.nn, TINY.generator

    class Block(nn.Module):
        def __init__(self, channels, kernel, dilations):
            super().__init__()
            self.convs1 = nn.ModuleList(nn.Conv1d(channels, channels, kernel) for _ in dilations)
            self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel) for _ in dilations)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            first = config.upsample_initial_channel
            shapes = list(enumerate(config.upsample_kernel_sizes))
            self.conv_pre = nn.Conv1d(config.num_mels, first, 7)
            self.ups = nn.ModuleList(nn.ConvTranspose1d(first >> i, first >> i + 1, kernel) for i, kernel in shapes)
            blocks = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
            self.resblocks = nn.ModuleList(Block(first >> i + 1, *block) for i, _ in shapes for block in blocks)
            self.conv_post = nn.Conv1d(first >> len(shapes), 1, 7)

    module = Network()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in tiny_weights().items()})
    for spelling, layer in (
        (nn.utils.weight_norm, module.conv_pre),
        (nn.utils.parametrizations.weight_norm, module.ups[0]),
        (nn.utils.parametrizations.weight_norm, module.resblocks[1].convs2[1]),
        (nn.utils.weight_norm, module.conv_post),
    ):
        with torch.no_grad():  # else AveragedModel cannot copy it
            spelling(layer)
    return torch, module


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "save",
    [
        lambda torch, module: {"generator": torch.nn.DataParallel(module).state_dict()},
        lambda torch, module: {"ema": torch.optim.swa_utils.AveragedModel(module).state_dict()},
        lambda torch, module: {
            "state_dict": torch.nn.ModuleDict({"vocoder": module, "mpd": torch.nn.Conv1d(1, 1, 1)}).state_dict(),
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        },
    ],
    ids=["DataParallel", "AveragedModel", "ModuleDict"],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_pytorch_itself_wraps(network, tmp_path, save, legacy):
    torch, module = network
    write_tiny(tmp_path, "unused.safetensors")
    torch.save(save(torch, module), tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    model = resolve_model(tmp_path / "x.pth")
    for name, array in tiny_weights().items():
        np.testing.assert_allclose(model.generator.weights[name], array, rtol=1e-6)
