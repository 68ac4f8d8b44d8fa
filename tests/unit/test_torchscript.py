"""TorchScript archives, written by PyTorch itself, whose modules have the original's names."""

from __future__ import annotations

import io
import re
import warnings
import zipfile

import numpy as np
import pytest

from golden.tiny import tiny_mel
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, ConfigError, HifiganError, ModelAssumptionWarning
from hifigan_rt.model.resolve import resolve_model
from tolerances import REFERENCE_MAX_ABS

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*(weight_norm|jit|TorchScript).*:Warning")]


def build_network(torch, *, padding=1, output_padding=0, normed=True, around=None, change=None, vector=None):
    """A generator of the original's names with the rates 3 and 2, and weights from a seed, in float32.

    The first kernel minus its rate is odd: of a padding of 1 come 3 rows for each and one more, as of the original; of
    a padding of 2 with an output padding of 1, as in ParallelWaveGAN, 3 for each. With `vector` it takes a vector of 3
    numbers, with which that is done before `cond`.
    """
    nn, functional = torch.nn, torch.nn.functional
    norm = nn.utils.weight_norm if normed else lambda layer: layer

    class Block(nn.Module):
        def __init__(self, channels, kernel, dilations):
            super().__init__()
            self.convs1 = nn.ModuleList(
                [norm(nn.Conv1d(channels, channels, kernel, 1, (kernel - 1) * d // 2, d)) for d in dilations]
            )
            self.convs2 = nn.ModuleList(
                [norm(nn.Conv1d(channels, channels, kernel, 1, (kernel - 1) // 2)) for _ in dilations]
            )

        def forward(self, x):
            for first, second in zip(self.convs1, self.convs2):  # noqa: B905 - TorchScript knows no strict
                x = second(functional.leaky_relu(first(functional.leaky_relu(x, 0.1)), 0.1)) + x
            return x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_pre = norm(nn.Conv1d(10, 8, 7, 1, 3))
            self.ups = nn.ModuleList(
                [
                    norm(nn.ConvTranspose1d(8, 4, 6, 3, padding, output_padding)),
                    norm(nn.ConvTranspose1d(4, 2, 4, 2, 1)),
                ]
            )
            self.resblocks = nn.ModuleList(
                [Block(channels, kernel, (1, 2)) for channels in (4, 2) for kernel in (3, 5)]
            )
            self.conv_post = norm(nn.Conv1d(2, 1, 7, 1, 3))

        def forward(self, x):
            return self.after(self.conv_pre(x))

        def after(self, x):
            for i, up in enumerate(self.ups):
                x = up(functional.leaky_relu(x, 0.1))
                total = torch.zeros_like(x)
                for j, block in enumerate(self.resblocks):
                    if j // 2 == i:
                        total = total + block(x)
                x = total / 2
            x = functional.leaky_relu(x)
            return torch.tanh(self.conv_post(x))

    class Conditioned(Network):
        def __init__(self):
            super().__init__()
            self.cond = nn.Conv1d(3, 8, 1)

        def forward(self, x, g):
            return self.after(self.conv_pre(x) + self.cond(vector(g)))

    torch.manual_seed(0)
    network = Network() if vector is None else Conditioned()
    if change is not None:
        change(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(0.1 if "bias" in name else 1.5)
    if around is None:
        return network.eval()

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = network

        def forward(self, mel):
            return around(self.generator, mel)

    return Around().eval()


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def saved(torch, tmp_path_factory):
    """Saves a network, traced or scripted, and gives its path with the function that PyTorch loads from it."""

    def save(network, how="trace"):
        path = tmp_path_factory.mktemp("saved") / "x.ts"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = (
                torch.jit.trace(network, torch.zeros(1, 10, 9), check_trace=False)
                if how == "trace"
                else torch.jit.script(network)
            )
            made.save(str(path))

        def run(mel):
            program = torch.jit.load(str(path)).double()
            with torch.no_grad(), torch.jit.optimized_execution(should_optimize=False):
                return program(torch.from_numpy(mel[None]).double())[0, 0].numpy()

        return path, run

    return save


def truth_of(torch, network, model, mel):
    """The network in float64 with the weights as they were read, which weight norm in float32 is not."""
    layers = dict(network.double().named_modules())
    for name, array in model.generator.weights.items():
        layer, _, parameter = name.rpartition(".")
        if parameter == "weight" and hasattr(layers[layer], "weight_g"):
            torch.nn.utils.remove_weight_norm(layers[layer])
        getattr(layers[layer], parameter).data = torch.from_numpy(array).double()
    with torch.no_grad():
        return network(torch.from_numpy(mel[None]).double())[0, 0].numpy()


@pytest.mark.parametrize(
    ("how", "normed", "padding", "output_padding", "samples"),
    [("trace", True, 2, 1, 54), ("trace", False, 1, 0, 56), ("script", False, 2, 1, 54)],
)
def test_archives_are_read_without_a_config(torch, saved, how, normed, padding, output_padding, samples):
    network = build_network(torch, padding=padding, output_padding=output_padding, normed=normed)
    path, run = saved(network, how)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelAssumptionWarning)
        model = resolve_model(path)
    mel = tiny_mel(9)
    assert model.format == "torchscript"
    audio = generate(model.generator, mel)
    assert len(audio) == len(run(mel)) == samples
    np.testing.assert_allclose(audio, run(mel), rtol=0, atol=1e-6)
    np.testing.assert_allclose(audio, truth_of(torch, network, model, mel), rtol=0, atol=REFERENCE_MAX_ABS)


@pytest.fixture(scope="module")
def plain(torch, saved):
    return saved(build_network(torch, padding=2, output_padding=1, normed=False))[0]


def test_a_config_beside_adds_what_the_code_does_not_tell_and_may_not_contradict_it(plain, tmp_path):
    path = tmp_path / plain.name
    path.write_bytes(plain.read_bytes())
    config = tmp_path / "config.json"
    config.write_text('{"sampling_rate": 8000, "n_fft": 64, "win_size": 64, "hop_size": 6, "fmin": 0, "fmax": 4000}')
    model = resolve_model(path)
    assert (model.sample_rate, model.graph.output_length(9)) == (8000, 54)
    config.write_text('{"upsample_rates": [2, 3], "sampling_rate": 8000}')
    with pytest.raises(
        ConfigError, match=r"upsample_rates: the config says \[2, 3\], the archive's code says \[3, 2\]"
    ):
        resolve_model(path)


def test_a_generator_within_other_modules(torch, saved):
    path, run = saved(build_network(torch, around=lambda generator, mel: generator(mel.contiguous())))
    model = resolve_model(path)
    np.testing.assert_allclose(generate(model.generator, tiny_mel(9)), run(tiny_mel(9)), rtol=0, atol=1e-6)
    path, _ = saved(build_network(torch, around=lambda generator, mel: generator((mel - 1) / 2)))
    with pytest.warns(
        ModelAssumptionWarning, match=r"around the generator calls torch.sub, torch.div, which is not done"
    ):
        resolve_model(path)


def save_conditioned(torch, path, vector):
    network = build_network(torch, normed=False, vector=vector)
    torch.jit.trace(network, (torch.zeros(1, 10, 9), torch.zeros(1, 3, 1)), check_trace=False).save(path)
    return network


def test_a_generator_that_takes_a_vector(torch, tmp_path):
    network = save_conditioned(torch, tmp_path / "x.ts", lambda g: g)
    mel, vector = tiny_mel(9), np.array([0.5, -1, 2], np.float32)
    with torch.no_grad():
        true = network(torch.from_numpy(mel[None]), torch.from_numpy(vector[None, :, None]))[0, 0].numpy()
    ours = generate(resolve_model(tmp_path / "x.ts").generator, mel, vector)
    np.testing.assert_allclose(ours, true, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "vector", [lambda g: g * 2, lambda g: g + 1, lambda g: g.tanh(), lambda g: g / 2, lambda g: g + g]
)
def test_what_is_done_with_the_vector_is_accounted_for(torch, tmp_path, vector):
    save_conditioned(torch, tmp_path / "x.ts", vector)
    with pytest.raises(CheckpointError):
        resolve_model(tmp_path / "x.ts")


@pytest.mark.parametrize(
    ("how", "change", "text"),
    [
        ("trace", lambda nn, it: setattr(it, "conv_pre", nn.Conv1d(10, 8, 7, 1, 3, padding_mode="reflect")),
         "no plain convolution"),
        ("script", lambda nn, it: setattr(it, "conv_pre", nn.Conv1d(10, 8, 7, 1, 3, padding_mode="reflect")),
         "no plain convolution"),
        ("trace", lambda nn, it: setattr(it.ups, "1", nn.ConvTranspose1d(4, 2, 4, 2, 1, dilation=2)),
         "calls ups.1, .*dilation 2"),
        ("trace", lambda nn, it: setattr(it.ups, "1", nn.Sequential(nn.ELU(), it.ups[1])), "calls torch.elu"),
        ("script", lambda nn, it: setattr(it.resblocks[1].convs1, "0", nn.Conv1d(4, 4, 5, 1, 6, 3)),
         "other dilations in each"),
    ],
)  # fmt: skip
def test_what_is_another_network_is_refused(torch, saved, change, text, how):
    path, _ = saved(build_network(torch, normed=False, change=lambda it: change(torch.nn, it)), how)
    with pytest.raises(HifiganError, match=text):
        resolve_model(path)


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
    with pytest.raises(CheckpointError, match=rf"the archive's code .*resblocks\.1\.convs1\.0.*{text}|{text}"):
        resolve_model(path)


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


def rewritten(path, folder, change):
    """A copy of an archive with other code."""
    changed, is_other = folder / "changed.ts", False
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as target:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".py"):
                is_other |= change(data.decode()) != data.decode()
                data = change(data.decode()).encode()
            target.writestr(name, data)
    assert is_other
    return changed


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda code: code.replace("CONSTANTS.c0", "3", 1), "has no division of stage 0 by its 2 residual blocks"),
        (lambda code: re.sub(r"torch.leaky_relu\((\w+)\)", r"\1", code), "activations of the slopes|before conv_post"),
        (lambda code: re.sub(r"(\(conv_pre\).forward\(\w+, \))", r"torch.add(\1, 1)", code), "before ups.0"),
        (
            lambda code: re.sub(r"(torch.tanh\(.*\))\n", r"torch.leaky_relu(\1)\n", code),
            "no return of that alone|slopes",
        ),
    ],
)
def test_every_step_of_the_code_is_accounted_for(plain, tmp_path, change, text):
    changed = rewritten(plain, tmp_path, change)
    with pytest.raises(CheckpointError, match=text):
        resolve_model(changed)


def test_the_decoder_of_a_voice_is_told_by_its_last_layer(torch, saved):
    def without_bias(network):
        network.conv_post = torch.nn.Conv1d(2, 1, 7, 1, 3, bias=False)

    for how in ("trace", "script"):
        path, run = saved(build_network(torch, normed=False, change=without_bias), how)
        model = resolve_model(path)
        assert (model.graph.config.layers_without_bias, model.graph.config.input_kind) == (("conv_post",), "latent")
        assert any("takes latents of 10 channels" in note for note in model.notes)
        np.testing.assert_allclose(generate(model.generator, tiny_mel(9)), run(tiny_mel(9)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (r"torch.tanh", "torch.sin", "the archive's code in the generator calls torch.sin, which a HiFi-GAN generator"),
        (r"torch.leaky_relu\(((?:.(?!, 0))*.), 0.1\d*\)", r"torch.elu(\1)", "calls torch.elu"),
        (r"torch.div\(", "torch.add(", "takes no mean over the residual blocks"),
        (r"0\.10*1", "0.2", None),
        (r"\(input\d*, 0\.10*1\)", "(input, 0.3)", r"activations of the slopes \[0.01, 0.1, 0.3\]"),
        (r", 0\.10*1\)", ", slope)", "a slope that stands as no number"),
    ],
)
def test_code_is_looked_at_and_never_run(plain, tmp_path, old, new, text):
    changed = tmp_path / "changed.ts"
    found = 0
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(changed, "w") as target:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".py"):
                code, count = re.subn(old, new, data.decode())
                data, found = code.encode(), found + count
            target.writestr(name, data)
    assert found
    if text is None:
        assert resolve_model(changed).graph.config.leaky_relu_slope == 0.2
        return
    with pytest.raises(CheckpointError, match=text):
        resolve_model(changed)


def test_archives_without_names(torch, tmp_path):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.freeze(torch.jit.script(build_network(torch, normed=False))), buffer)
    path = tmp_path / "frozen.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match=r"whose modules hold no tensors: torch.jit.freeze .* where they have no"):
        resolve_model(path)
