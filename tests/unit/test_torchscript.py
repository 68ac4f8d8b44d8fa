"""TorchScript archives, written by PyTorch itself, whose modules have the original's names."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import pytest

from golden.tiny import tiny_mel
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, ConfigError, HifiganError, ModelAssumptionWarning
from hifigan_rt.model.resolve import resolve_model
from tolerances import REFERENCE_MAX_ABS
from torchscript_networks import build_network, build_of_modules, rewritten

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*(weight_norm|jit|TorchScript).*:Warning")]


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


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize(("end", "output"), [("Tanh", "tanh"), ("Hardtanh", "clamp"), ("Identity", "none")])
def test_activations_may_be_modules_as_in_parallel_wavegan(torch, saved, how, end, output):
    path, run = saved(build_of_modules(torch, getattr(torch.nn, end)()), how)
    model = resolve_model(path)
    assert model.graph.config.output == output
    np.testing.assert_allclose(generate(model.generator, tiny_mel(9)), run(tiny_mel(9)), rtol=0, atol=1e-6)


def test_samples_that_a_module_bounds_more_closely_are_refused(torch, saved):
    path, _ = saved(build_of_modules(torch, torch.nn.Hardtanh(-0.5, 0.5)))
    with pytest.raises(CheckpointError, match=r"clamps to \['-0.5', '0.5'\]: samples are in \[-1, 1\]"):
        resolve_model(path)


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


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("torch.add_(last, 0.5)", "no tanh of that"),
        ("torch.div_(last, torch.zeros_like(last))", "no tanh of that"),
        ("torch.add_(torch.slice(last, 2, 0, 20), 0.5)", "torch.add_ in place, of what may be a part of other rows"),
        ("torch.tanh_(torch.select(last, 2, 3))", "torch.tanh_ in place, of what may be a part of other rows"),
    ],
)
def test_what_is_changed_in_place_is_another_value_under_every_name(torch, plain, tmp_path, step, text):
    changed = rewritten(
        plain,
        tmp_path,
        lambda code: re.sub(r"( +\w+ = torch.tanh\()(.*)\)\n", rf"    last = \2\n    unused = {step}\n\1last)\n", code),
    )
    mel = torch.from_numpy(tiny_mel(9)[None])
    with torch.no_grad():
        assert not torch.allclose(torch.jit.load(changed)(mel), torch.jit.load(plain)(mel), atol=1e-3)
    with pytest.raises(CheckpointError, match=text):
        resolve_model(changed)


@pytest.mark.parametrize("zero", ["0", "0."])
def test_a_zero_that_is_added_as_pythons_sum_begins_changes_nothing(plain, tmp_path, zero):
    changed = rewritten(
        plain, tmp_path, lambda code: re.sub(r"(\(conv_pre\).forward\(\w+, \))", rf"torch.add(\1, {zero})", code)
    )
    mel = tiny_mel(9)
    np.testing.assert_array_equal(
        generate(resolve_model(changed).generator, mel), generate(resolve_model(plain).generator, mel)
    )


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
        (r"torch.div\(", "torch.add(", "no division of stage 0 by its 2 residual blocks"),
        (r"0\.10*1", "0.2", None),
        (r"\(input\d*, 0\.10*1\)", "(input, 0.3)", r"activations of the slopes \[0.01, 0.1, 0.3\]"),
        (r", 0\.10*1\)", ", slope)", "a slope that stands as no number"),
    ],
)
def test_code_is_looked_at_and_never_run(plain, tmp_path, old, new, text):
    changed = rewritten(plain, tmp_path, lambda code: re.sub(old, new, code))
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
