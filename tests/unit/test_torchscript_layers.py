"""TorchScript archives: what the code of a layer, and of its weight norm, may compute."""

from __future__ import annotations

import re

import numpy as np
import pytest

from golden.tiny import tiny_mel
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError
from hifigan_rt.model.resolve import resolve_model
from torchscript_networks import build_network, rewritten

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*(weight_norm|jit|TorchScript).*:Warning")]


def convolution_class(torch, change):
    """A class of convolutions with one thing that is different."""
    nn, functional = torch.nn, torch.nn.functional

    class Scaled(nn.Conv1d):
        def forward(self, x):
            return functional.conv1d(x, self.weight * 0.5, self.bias, self.stride, self.padding, self.dilation)

    class Halved(nn.Conv1d):
        def forward(self, x):
            return functional.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation) * 0.5

    class Activated(nn.Conv1d):
        def forward(self, x):
            x = functional.leaky_relu(x, 0.1)
            return functional.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    class Standard(nn.Conv1d):
        def forward(self, x):
            weight = self.weight - self.weight.mean(dim=[1, 2], keepdim=True)
            return functional.conv1d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    class Unbiased(nn.Conv1d):
        def forward(self, x):
            return functional.conv1d(x, self.weight, None, self.stride, self.padding, self.dilation)

    class Flipped(nn.Conv1d):
        def forward(self, x):
            return functional.conv1d(x, self.weight.flip(2), self.bias, self.stride, self.padding, self.dilation)

    class Swapped(nn.Conv1d):
        def forward(self, x):
            bias = self.bias
            assert bias is not None
            return functional.conv1d(x, self.weight, bias * 1.0, self.stride, self.padding, self.dilation)

    class Changing(nn.Conv1d):
        def forward(self, x):
            self.weight.detach().mul_(1.5)
            return functional.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    class Twice(nn.Conv1d):
        def forward(self, x):
            return self.once(self.once(x))

        def once(self, x):
            return functional.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    class Without(nn.Conv1d):
        def forward(self, x):
            return functional.leaky_relu(x, 0.1)

    found = {it.__name__: it for it in (Scaled, Halved, Activated, Standard, Unbiased, Flipped, Swapped, Changing)}
    return (found | {"Twice": Twice, "Without": Without})[change]


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("Scaled", "its weight is not the module's own"),
        ("Halved", "something before or behind it"),
        ("Activated", "something before or behind it"),
        ("Standard", "its weight is not the module's own"),
        ("Unbiased", "its bias is not the module's own"),
        ("Flipped", "its weight is not the module's own"),
        ("Swapped", "its bias is not the module's own"),
        ("Changing", r"torch.mul_ of resblocks.1.convs1.0.weight"),
        ("Twice", "or calls several"),
        ("Without", "or calls several"),
    ],
)
def test_a_layer_that_is_no_plain_convolution_is_refused(torch, saved, how, change, text):
    def put_in(network):
        network.resblocks[1].convs1[0].__class__ = convolution_class(torch, change)

    path, _ = saved(build_network(torch, normed=False, change=put_in), how)
    with pytest.raises(CheckpointError, match=text) as told:
        resolve_model(path)
    assert "resblocks.1.convs1.0" in str(told.value)


def test_weight_norm_of_both_kinds_is_followed(torch, saved):
    norm = torch.nn.utils.parametrizations.weight_norm

    def put_in(network):
        for layer in (network.conv_pre, *network.ups, network.resblocks[0].convs1[1]):
            norm(layer)

    network = build_network(torch, normed=False, change=put_in)
    path, run = saved(network)
    model = resolve_model(path)
    np.testing.assert_allclose(generate(model.generator, tiny_mel(9)), run(tiny_mel(9)), rtol=0, atol=1e-6)
    # PyTorch cannot run what it writes here; the weights and the code are there.
    scripted = resolve_model(saved(network, "script")[0])
    np.testing.assert_array_equal(generate(scripted.generator, tiny_mel(9)), generate(model.generator, tiny_mel(9)))


def test_a_parametrization_that_does_more_is_refused(torch, saved):
    nn = torch.nn

    class Half(nn.Module):
        def forward(self, weight):
            return weight * 0.5

    def put_in(network):
        nn.utils.parametrizations.weight_norm(network.conv_pre)
        nn.utils.parametrize.register_parametrization(network.conv_pre, "weight", Half())

    path, _ = saved(build_network(torch, normed=False, change=put_in))
    with pytest.raises(CheckpointError, match="conv_pre is no plain convolution: its weight is not the module's own"):
        resolve_model(path)
    with pytest.raises(CheckpointError, match="conv_pre has several parametrizations"):
        resolve_model(saved(build_network(torch, normed=False, change=put_in), "script")[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"torch._weight_norm\((\w+), (\w+)", r"torch._weight_norm(\2, \1"),
        (r"torch._weight_norm\((\w+), \w+\)", r"\1"),
        (r"torch._weight_norm\((\w+), (\w+)\)", r"torch._weight_norm(\1, \2, 1)"),
    ],
)
def test_weight_norm_is_that_of_the_reader(torch, saved, tmp_path, old, new):
    path, _ = saved(build_network(torch))
    changed = rewritten(path, tmp_path, lambda code: re.sub(old, new, code))
    with pytest.raises(CheckpointError, match="its weight is not the module's own"):
        resolve_model(changed)


def test_a_convolution_outside_of_its_module_is_refused(torch, saved):
    functional = torch.nn.functional

    def put_in(network):
        class Outside(torch.nn.Module):
            def __init__(self, block):
                super().__init__()
                self.convs1, self.convs2 = block.convs1, block.convs2

            def forward(self, x):
                first = self.convs1[0]
                y = functional.conv1d(functional.leaky_relu(x, 0.1), first.weight * 0.5, first.bias, 1, first.padding)
                x = self.convs2[0](functional.leaky_relu(y, 0.1)) + x
                return self.convs2[1](functional.leaky_relu(self.convs1[1](functional.leaky_relu(x, 0.1)), 0.1)) + x

        network.resblocks[1] = Outside(network.resblocks[1])

    path, _ = saved(build_network(torch, normed=False, change=put_in))
    with pytest.raises(CheckpointError, match=r"calls a convolution outside of resblocks\.1\.convs1\.0"):
        resolve_model(path)


def test_the_numbers_of_a_convolution_are_those_of_its_call(torch, saved, tmp_path):
    """In a scripted archive they stand as constants of the class too."""
    path, _ = saved(build_network(torch, padding=2, output_padding=1, normed=False), "script")
    changed = rewritten(
        path, tmp_path, lambda code: re.sub(r"(conv1d\(\w+, \w+, \w+, \[1\], \[\d\], )\[1\]", r"\1[2]", code)
    )
    with pytest.raises(CheckpointError, match=r"calls conv_pre, of kernel 7, .* dilation 2"):
        resolve_model(changed)


@pytest.mark.parametrize("how", ["trace", "script"])
def test_slopes_are_numbers_of_the_text_or_of_modules(torch, saved, how):
    class Network(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            for name in ("conv_pre", "ups", "resblocks", "conv_post"):
                setattr(self, name, getattr(inner, name))
            self.slope = 0.1

        def forward(self, x):
            x = self.conv_pre(x)
            for i, up in enumerate(self.ups):
                x = up(torch.nn.functional.leaky_relu(x, self.slope))
                total = torch.zeros_like(x)
                for j, block in enumerate(self.resblocks):
                    if j // 2 == i:
                        total = total + block(x)
                x = total / 2
            return torch.tanh(self.conv_post(torch.nn.functional.leaky_relu(x)))

    path, run = saved(Network(build_network(torch, normed=False)).eval(), how)
    model = resolve_model(path)
    assert (model.graph.config.leaky_relu_slope, model.graph.config.final_slope) == (0.1, 0.01)
    np.testing.assert_allclose(generate(model.generator, tiny_mel(9)), run(tiny_mel(9)), rtol=0, atol=1e-6)
