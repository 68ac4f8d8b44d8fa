"""Generators wherever a file has them: any wrapping, any common prefix."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoint_files import Ordered, Tensor, zip_file
from generator_nodes import as_tree, nested, other, state
from golden.tiny import tiny_weights, write_tiny
from hifigan_rt.errors import CheckpointError, ModelFileError, WeightMismatch
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint.tree import Unread
from hifigan_rt.model.resolve import resolve_model


@pytest.fixture
def read(tmp_path):
    def read(root, weights_at=None, write=zip_file):
        write_tiny(tmp_path, "unused.safetensors")
        path = tmp_path / "x.pth"
        path.write_bytes(write(root))
        return resolve_model(path, weights_at=weights_at)

    return read


def assert_is(model, seed=0):
    for name, array in tiny_weights(seed=seed).items():
        np.testing.assert_array_equal(model.generator.weights[name], array)


EMPTY_LISTS = [[], {"lr": 1e-4}]


@pytest.mark.parametrize(
    ("root", "notes"),
    [
        (lambda: {"generator": Ordered(state())}, ()),
        (lambda: state(), ()),
        (
            lambda: {"model_g": state(), "model_d": {}, "optim_g": {}, "step": 1},
            ("the weights are taken from model_g",),
        ),
        (lambda: {"generator": {"model": state()}}, ("the weights are taken from generator.model",)),
        (lambda: {"state_dict": state()}, ("the weights are taken from state_dict",)),
        (lambda: {"model": state(prefix="dec.")}, ("the weights are taken from model, prefix 'dec.'",)),
        (
            lambda: {"generator": state(prefix="_orig_mod.")},
            ("the weights are taken from generator, prefix '_orig_mod.'",),
        ),
        (
            lambda: state(prefix="module.generator._orig_mod."),
            ("the weights are taken from the top level, prefix 'module.generator._orig_mod.'",),
        ),
        (
            lambda: {
                "state_dict": {**state(prefix="net_g.vocoder.module."), **other("mpd.x.weight", "msd.x.weight")},
                "hyper_parameters": {"lr": 2e-4},
                "callbacks": {"EarlyStopping": {"best_score": Tensor(np.ones((), np.float32), "score")}},
            },
            ("the weights are taken from state_dict, prefix 'net_g.vocoder.module.'",),
        ),
        (lambda: {"model": [state(), (other("mpd.x"),)]}, ("the weights are taken from model.0",)),
        (lambda: (EMPTY_LISTS, {"g": state()}), ("the weights are taken from 1.g",)),
        (lambda: {7: {"g": state()}}, ("the weights are taken from 7.g",)),
        (lambda: {"params": as_tree(state())}, ("the weights are taken from params",)),
        (lambda: as_tree(state(prefix="a.b.")), ("the weights are taken from a.b",)),
        (
            lambda: {"generator": {**state(), "steps": 7, 3: Tensor(np.ones(1), "3")}, "epoch": 4},
            (
                "left out entry 'steps', which is 7 and no tensor",
                "left out the tensor of entry 3, whose name is no text",
            ),
        ),
        (
            lambda: {**state(), "optimizer": {"state": {0: {"exp_avg": Tensor(np.ones(2), "e")}}}, "epoch": 3},
            (
                "left out entry 'optimizer', which is a dict and no tensor",
                "left out entry 'epoch', which is 3 and no tensor",
            ),
        ),
        (
            lambda: {"generator": state(), "ema": {"decay": 0.9, "shadow_params": list(state(1).values())}},
            (),
        ),
        (lambda: {"generator": state(rename=nested)}, ()),
        (
            lambda: {"state_dict": state(prefix="generator.", rename=nested)},
            ("the weights are taken from state_dict, prefix 'generator.'",),
        ),
        (
            lambda: {"g": state(rename=lambda name: name.replace("conv_pre.", "conv_pre._orig_mod."))},
            ("the weights are taken from g",),
        ),
    ],
    ids=range(20),
)
def test_one_generator_is_taken_and_said(read, root, notes):
    model = read(root())
    assert_is(model)
    assert model.notes == notes


@pytest.mark.parametrize("prefix", ["module.", "generator.module.", "dec.", "a.b.c.d.e."])
def test_safetensors_with_a_prefix(tmp_path, prefix):
    write_tiny(tmp_path, "unused.safetensors")
    save_file({prefix + name: array for name, array in tiny_weights().items()}, tmp_path / "x.safetensors")
    model = resolve_model(tmp_path / "x.safetensors")
    assert_is(model)
    assert model.notes == (f"the weights are taken from the top level, prefix {prefix!r}",)


def test_a_prefix_is_removed_only_from_all(tmp_path):
    """Names that only some have a wrapper in are one generator's; the same name with and without is none."""
    path = tmp_path / "x"
    names = state(rename=lambda name: name.replace("ups.0.", "ups.module.0."))
    path.write_bytes(zip_file(names))
    assert read_checkpoint(path).weights.keys() == tiny_weights().keys()
    path.write_bytes(zip_file({**names, "ups.0.bias": Tensor(np.ones(4, np.float32), "twice")}))
    with pytest.raises(CheckpointError, match=r"holds ups\.0\.bias twice, once as wrappers of PyTorch name it"):
        read_checkpoint(path)


TWO = {
    "generator and its average": (
        lambda: {"generator": state(), "generator_ema": state(1)},
        "generator",
        "generator_ema",
    ),
    "in one dictionary": (lambda: {**state(), **state(1, prefix="ema.")}, ".", "ema"),
    "in a list": (lambda: {"models": [state(), state(1)]}, "models.0", "models.1"),
    "deep": (
        lambda: {"state_dict": {**state(prefix="g."), **state(1, prefix="g_ema.module.")}},
        "state_dict.g",
        "state_dict.g_ema.module",
    ),
}


@pytest.mark.parametrize(("root", "first", "second"), TWO.values(), ids=TWO)
def test_of_several_generators_one_must_be_named(read, root, first, second):
    with pytest.raises(CheckpointError) as caught:
        read(root())
    assert (
        f"holds 2 generators, and only you know which one is wanted: its generators are at {first!r}, {second!r}"
        in str(caught.value)
    )
    assert f"--weights-at {first} (in Python weights_at={first!r})" in str(caught.value)
    assert_is(read(root(), first))
    assert_is(read(root(), second), seed=1)
    assert_is(read(root(), f"{second}."), seed=1)
    if second.endswith(".module"):
        assert_is(read(root(), second.removesuffix(".module")), seed=1)
    with pytest.raises(CheckpointError, match=r"holds no generator at 'generator_emma': its generators are at '"):
        read(root(), "generator_emma")


def test_one_state_dict_under_two_keys_is_one_generator(read):
    weights = state()
    model = read({"generator": weights, "model": weights})
    assert_is(model)
    assert model.notes == ()
    assert_is(read({"generator": weights, "model": weights}, "model"))


def test_weights_at_is_for_checkpoints(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"weights_at='a' is for checkpoints, and .* is a converted model"):
        resolve_model(tmp_path / "x.onnx", weights_at="a")


@pytest.mark.parametrize(
    ("neighbours", "named"),
    [
        (("enc_p.emb.weight", "flow.flows.0.weight", "enc_q.pre.weight"), "enc_p, enc_q, flow"),
        (("emb_g.weight",), "emb_g"),
        (("posterior_encoder.pre.weight",), "posterior_encoder"),
        (("dp.conv.weight",), "dp"),
    ],
)
@pytest.mark.parametrize("weights_at", [None, "model.net_g.dec"])
def test_the_decoder_of_a_voice_takes_latents(read, neighbours, named, weights_at):
    root = {"model": {**state(prefix="net_g.dec."), **other(*(f"net_g.{name}" for name in neighbours))}}
    model = read(root, weights_at)
    assert model.graph.config.input_kind == "latent"
    assert model.mel is None
    assert f"it is the decoder of a VITS voice: {named} beside it are not run" in model.notes


@pytest.mark.parametrize("wrapper", ["", "_orig_mod.", "module._orig_mod."])
def test_the_decoder_of_a_voice_keeps_its_speakers_where_it_is_wrapped_alone(read, wrapper):
    channels, table = tiny_weights()["conv_pre.bias"].size, np.arange(15, dtype=np.float32).reshape(5, 3)
    place = f"net_g.dec.{wrapper}"
    root = state(prefix=place) | {
        f"{place}cond.weight": Tensor(np.ones((channels, 3, 1), np.float32), "cond"),
        f"{place}cond.bias": Tensor(np.ones(channels, np.float32), "bias"),
        "net_g.emb_g.weight": Tensor(table, "table"),
    }
    np.testing.assert_array_equal(read({"model": root}).generator.speaker_table, table)


@pytest.mark.parametrize(
    "neighbour",
    ["encoder.x.weight", "text_encoder.x.weight", "quantizer.x.weight", "backbone.x.weight", "frontend.x.weight"],
)
@pytest.mark.parametrize("root", [
    lambda beside: {"state_dict": {**state(prefix="vocoder."), **other(beside)}},
    lambda beside: {"state_dict": {"vocoder": state()}, **as_tree(other(beside))},
])  # fmt: skip
def test_a_part_of_another_network_is_taken_only_by_name(read, neighbour, root):
    with pytest.raises(CheckpointError, match=r"is part of another network, by \w+ beside it, and may take .* else"):
        read(root(neighbour))
    assert_is(read(root(neighbour), "state_dict.vocoder"))


def test_a_generator_among_the_modules_of_one_state_dict_is_a_part_as_any_other(read):
    joint = {**state(prefix="generator."), **other("am.encoder.weight")}  # JETS, as EmotiVoice has it
    with pytest.raises(CheckpointError, match="at 'generator' that is part of another network, by am beside it"):
        read(joint)
    assert_is(read(joint, "generator"))
    assert_is(read({"generator": state(), "am": other("encoder.weight")}))
    assert_is(read({"generator": state(prefix="module."), "am": other("encoder.weight")}))


@pytest.mark.parametrize(
    "beside",
    [
        ("mpd.x.weight", "msd.x.weight"), ("discriminator_wavlm.x.weight",), ("wavlm.x.weight", "mpd.x.weight"),
        ("frontend.spectrogram.window", "discriminator.x.weight"), ("mel_frontend.mel_scale.fb",),
        ("speaker_encoder.x.weight", "mpd.x.weight"), ("slm_hubert.x.weight",),
    ],
)  # fmt: skip
def test_a_generator_beside_what_only_its_training_needs_is_taken(read, beside):
    assert_is(read({**state(prefix="generator."), **other(*beside)}))


@pytest.mark.parametrize(
    ("place", "beside", "named"),
    [
        # music_vocoder of ACE-Step and firefly-gan-base of fish-speech: F.silu in place of leaky_relu.
        ("generator.head", ("generator.backbone.stages.0.0.dwconv.weight",), "the head of a Firefly GAN .*SiLU"),
        ("head", ("backbone.norms.0.weight", "quantizer.residual_fsq.rvqs.0.weight"), "the head of a Firefly GAN"),
        # academicodec/models/hificodec: LRELU_SLOPE before conv_post as well.
        ("generator", ("encoder.conv_pre.weight", "quantizer.quantizer_modules.0.weight"), "the decoder of HiFi-Codec"),
        (
            "codec.generator.decoder",
            ("codec.generator.encoder.x.weight", "codec.generator.quantizer.x.weight"),
            "the decoder of HiFi-Codec",
        ),
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("wrapper", ["", "._orig_mod", ".module._orig_mod"])
def test_a_head_whose_activations_are_others_is_never_taken(read, place, beside, named, by_name, wrapper):
    place += wrapper
    root = {**state(prefix=f"{place}."), **other(*beside)}
    with pytest.raises(CheckpointError, match=rf"holds at '{place}' what seems to be {named}"):
        read(root, place if by_name else None)
    assert_is(read(state(prefix=f"{place}.")))


@pytest.mark.parametrize(
    ("extra", "network"),
    [
        (("noise_convs.0.weight", "m_source.l_linear.weight"), "an NSF-HiFi-GAN, which also takes the pitch, by "),
        (("resblocks.0.activations.0.act.alpha",), "a BigVGAN, by "),
        (
            ("cond_up.0.bias", "res_output.0.1.bias"),
            "a Fre-GAN, which adds repeated rows to its stages, by cond_up.0.bi",
        ),
        (("conv_post.1.weight",), "an Avocodo generator, whose slopes are 0.2 and whose"),
        (("spk_proj.weight",), "a generator that a speaker or another voice conditions in a way that is not read, by "),
        (("unit_embedding.weight",), "a unit HiFi-GAN, which takes tokens, by unit_embedding.weight"),
        (("code_vq.level_blocks.0.k",), "a unit HiFi-GAN, which takes tokens, by code_vq.level_blocks.0.k"),
        (("pqmf.synthesis_filter",), "a generator with an inverse STFT or several bands at its end, by pqmf."),
        (("source_downs.0.weight",), "a HiFT generator (CosyVoice, Chatterbox), by "),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.dec."])
def test_other_networks_are_named_and_never_run_without_their_parts(read, extra, network, prefix):
    with pytest.raises(WeightMismatch) as caught:
        read({"a": {**state(prefix=prefix), **other(*(prefix + name for name in extra))}})
    assert caught.value.unexpected == extra
    assert f"x.pth' seems to be {network}" in str(caught.value)


def test_of_another_network_it_is_not_said_that_it_lacks_a_config(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file({**state(), **other("m_source.l_linear.weight")}))
    with pytest.raises(CheckpointError, match=r"by m_source.l_linear.weight: it is not run without those parts\Z"):
        resolve_model(path)


def test_more_channels_at_the_end_are_another_network(read):
    wide = Tensor(np.ones((18, 2, 7), np.float32), "wide")
    with pytest.raises(
        WeightMismatch, match="inverse STFT or several bands at its end, by the 18 channels of conv_pos"
    ):
        read({"state_dict": {**state(prefix="g."), "g.conv_post.weight": wide}})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda name: name.replace("resblocks.1.1.", "resblocks.1.7."),
            "in 2 stages of 8 blocks by the highest, and resblocks.0.2 is missing",
        ),
        (lambda name: name.replace("resblocks.1.1.", "resblocks.1.x."), "resblocks.1.x.convs1.0."),
        (lambda name: name.replace("resblocks.1.1.", "resblocks.3."), "resblocks.3.convs1.0."),
        (lambda name: name.replace("resblocks.1.", "resblocks.2."), "resblocks.2.0.convs1.0."),
    ],
)
def test_nested_blocks_that_do_not_fit(read, change, named):
    with pytest.raises(CheckpointError) as caught:
        read({"generator": state(rename=lambda name: change(nested(name)))})
    assert "the residual blocks are named resblocks.STAGE.BLOCK in 2 stages" in str(caught.value)
    assert named in str(caught.value)


def mend(text, changes):
    """Run the lines of PyTorch in an error, filled in as it says."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert len(lines) == 2
    code = "\n".join(lines)
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    exec(code, {"torch": pytest.importorskip("torch")})  # noqa: S102 - what a user would run


@pytest.mark.torch
def test_what_does_not_fit_is_named_with_lines_that_mend_it(read, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read({"net": {"g": state(rename=lambda name: name.replace("resblocks", "mrf"))}})
    text = str(caught.value)
    assert "those at 'net.g' lack resblocks.N.convs1.N or .convs.N and hold names that do not fit: mrf.0." in text
    path = tmp_path / "mended.pth"
    mend(text, {"['KEY']": "['net']['g']", "OLD": "mrf", "NEW": "resblocks", "'generator.pth'": repr(str(path))})
    assert_is(resolve_model(path))
    renamed = {name.replace("resblocks", "mrf"): array for name, array in tiny_weights().items()}
    save_file(renamed, tmp_path / "renamed.safetensors")
    with pytest.raises(CheckpointError) as caught:
        resolve_model(tmp_path / "renamed.safetensors")
    mend(str(caught.value), {"OLD": "mrf", "NEW": "resblocks", "'generator.pth'": repr(str(path))})
    assert_is(resolve_model(path))


def test_plain_values_beside_the_weights(tmp_path):
    path = tmp_path / "x.pth"
    lists = [1, 3, 5]
    root = {
        "epoch": 3,
        "config": {
            "rates": (8, 8),
            "lists": [lists, lists, lists],
            "t": Tensor(np.ones(1), "t"),
            "bad": [Tensor(np.ones(1), "u")],
        },
        "inner": {"h": {"hop_size": 256, 4: "no text"}, "generator": state()},
    }
    path.write_bytes(zip_file(root))
    weights, near, far = read_checkpoint(path).beside
    assert weights == {}
    assert near == {"h": {"hop_size": 256}, "generator": {}}
    assert far == {
        "epoch": 3,
        "config": {"rates": [8, 8], "lists": [lists, lists, lists], "t": Unread((1,)), "bad": [Unread((1,))]},
        "inner": {"h": {"hop_size": 256}, "generator": {}},
    }
