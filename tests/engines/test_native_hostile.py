"""What users do to an engine: wrong arrays, absurd sizes, options and networks that cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.tiny import tiny_generator, tiny_mel
from hifigan_rt import _native
from hifigan_rt.engines import AUTO_ORDER, choose_engine, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import create, load_generator, network_layer
from hifigan_rt.errors import EngineError, EngineUnavailable, MelError, StreamClosed, StreamFinished
from hifigan_rt.graph import Generator, LeakyRelu
from hifigan_rt.model.kinds import OnnxFile, Weights
from hifigan_rt.vocoder import Vocoder
from native_generators import V1_LIKE, make_case

CASE = make_case(V1_LIKE, 30)


def model():
    return Weights("a test", Path("test"), "none", CASE.generator)


@pytest.fixture
def engine():
    return create(model(), EngineOptions(threads=2))


def test_is_the_first_choice():
    assert AUTO_ORDER[0] == choose_engine("auto") == "native"


def test_tells_what_runs(engine):
    assert engine.info.name == "native"
    assert engine.info.threads == 2
    assert engine.info.device == f"cpu ({_native.supported_isas()[-1]})"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"precision": "float16"}, "precision='float16'"),
        ({"settings": {"execution_provider": "CUDA"}}, "no setting 'execution_provider': it has segment_frames, plan"),
        ({"threads": 0}, "threads=0"),
        ({"threads": 100_000}, "threads=100000"),
        ({"settings": {"segment_frames": 0}}, "segment_frames=0"),
        ({"settings": {"segment_frames": 1 << 20}}, "segment_frames=1048576"),
        ({"settings": {"plan": {"*": "fft12"}}}, "no convolution is computed by fft12: choose direct, fft8"),
        ({"settings": {"plan": {"conv_post": "fft16"}}}, "names no convolution of this graph: conv_post"),
        ({"settings": {"plan": {"resblocks.0.convs1.0": "fft64", "nowhere": "direct"}}}, "nowhere"),
    ],
)
def test_options_that_cannot_be(options, text):
    with pytest.raises(EngineError, match=text.replace("*", r"\*")):
        create_engine("native", model(), EngineOptions(**options))


def test_an_algorithm_that_a_kernel_size_rules_out():
    with pytest.raises(EngineError, match="kernel 11 cannot be computed by fft8"):
        create(model(), EngineOptions(settings={"plan": {"resblocks.2.convs1.0": "fft8"}}))


def test_an_onnx_file_is_for_another_engine():
    with pytest.raises(
        EngineError, match=r"runs checkpoints, and x.onnx is an ONNX file: choose auto, onnxruntime, open"
    ):
        create_engine("native", OnnxFile("x.onnx", Path("x.onnx"), "onnx"), EngineOptions())


@pytest.mark.parametrize("isa", ["sse9", "AVX512", "neon" if "avx2" in _native.supported_isas() else "avx2"])
def test_an_impossible_instruction_set_is_refused(monkeypatch, isa):
    monkeypatch.setenv("HIFIGAN_RT_ISA", isa)
    with pytest.raises(EngineUnavailable, match=f"HIFIGAN_RT_ISA='{isa}'"):
        create(model(), EngineOptions())
    with pytest.raises(EngineError, match="not supported by this processor"):
        load_generator(CASE.generator, isa, 16, 1, {})


@pytest.mark.parametrize("isa", _native.supported_isas())
def test_an_instruction_set_can_be_forced(monkeypatch, isa):
    monkeypatch.setenv("HIFIGAN_RT_ISA", isa)
    assert create(model(), EngineOptions()).isa == isa


@pytest.mark.parametrize(
    "mel",
    [
        np.zeros((1, 80, 0), np.float32),
        np.zeros((1, 79, 4), np.float32),
        np.zeros((1, 1, 80, 4), np.float32),
        np.zeros((1, 80, 4), np.complex64),
        np.zeros((1, 80, 4), np.int32),
        np.broadcast_to(np.float32(0), (1, 80, 1 << 25)),
        np.broadcast_to(np.float32(0), (1 << 20, 80, 1 << 24)),
    ],
    ids=["T=0", "bands", "4-D", "complex64", "int32", "frames", "memory"],
)
def test_mels_that_cannot_be(engine, mel):
    with pytest.raises(MelError):
        Vocoder(model(), engine)(mel)


def test_strided_mels_are_copied(engine):
    vocoder = Vocoder(model(), engine)
    wide = np.repeat(CASE.mel[None], 2, axis=2)
    np.testing.assert_array_equal(vocoder(wide[:, :, ::2]), engine.run(CASE.mel[None]))
    reversed_rows = np.ascontiguousarray(CASE.mel[::-1])[::-1]
    np.testing.assert_array_equal(vocoder(reversed_rows[None]), engine.run(CASE.mel[None]))


def test_the_core_takes_only_what_it_can_read():
    core = load_generator(CASE.generator, "generic", 16, 1, {})
    for mel in (CASE.mel, CASE.mel[None].astype(np.float64), CASE.mel[None, :, ::2], [[[0.0]]], None):
        with pytest.raises(TypeError):
            core.run(mel)
    with pytest.raises(ValueError, match="bands"):
        core.run(np.zeros((1, 3, 4), np.float32))
    with pytest.raises(ValueError, match="T=0"):
        core.run(np.zeros((1, 80, 0), np.float32))
    assert core.run(np.zeros((0, 80, 4), np.float32)).shape == (0, 4 * 256)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda weights: weights.pop("conv_pre.bias"), ValueError, "lack conv_pre.bias"),
        (
            lambda weights: weights.update({"ups.0.weight": np.zeros((2, 2, 2), np.float32)}),
            ValueError,
            "another shape",
        ),
        (lambda weights: weights.update({"ups.0.bias": np.zeros(4, np.float64)}), TypeError, "float32"),
    ],
)
def test_the_core_checks_weights(change, error, text):
    weights = {name: array.copy() for name, array in tiny_generator().weights.items()}
    change(weights)
    layers = [network_layer(layer) for layer in tiny_generator().graph.layers]
    with pytest.raises(error, match=text):
        _native.LoadedGenerator(layers, weights, "generic", 16, 1, {})


def test_a_layer_without_a_bias_needs_none():
    weights = dict(tiny_generator().weights) | {"ups.1.bias": np.zeros(2, np.float32)}
    without = {name: array for name, array in weights.items() if name != "ups.1.bias"}
    layers = [replace(layer, bias=layer.name != "ups.1") for layer in tiny_generator().graph.layers]
    graphs = [tiny_generator().graph, replace(tiny_generator().graph, layers=tuple(layers))]
    audios = [
        load_generator(Generator(graph, each), "generic", 16, 1, {}).run(tiny_mel(20)[None])
        for graph, each in zip(graphs, (weights, without), strict=True)
    ]
    np.testing.assert_array_equal(*audios)


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("conv_pre", {"padding": (3, 2)}, "must be the padding on both sides"),
        ("conv_pre", {"inputs": ("audio",)}, "must read mel"),
        ("conv_pre", {"out_channels": 9}, "input channels"),
        ("conv_pre", {"out_channels": -8}, "sizes must be positive"),
        ("conv_pre", {"stride": 2}, "stride 1"),
        ("conv_pre", {"kind": "pool"}, "no kind of layer 'pool'"),
        ("conv_pre", {"residual": "mel"}, "nothing may be added"),
        ("ups.0", {"kernel_size": 3, "padding": (0, 0)}, "at least the stride"),
        ("ups.0", {"padding": (99, 0)}, "one input row must leave an output row"),
        ("ups.0", {"padding_mode": "reflect"}, "a transposed convolution reflects nothing"),
        ("ups.0", {"kind": "conv", "stride": 1, "padding": (7, 0)}, "before the first convolution has a kernel of 1"),
        ("conv_pre", {"padding_mode": "circular"}, "no padding_mode 'circular'"),
        ("conv_pre", {"padding_mode": "reflect", "padding": (4, 2)}, "at most as many as the right"),
        ("conv_pre", {"conditioning": "cond"}, "no vector to condition it with"),
        ("resblocks.1.convs1.0", {"padding_mode": "reflect"}, "must have the same padding_mode"),
        ("ups.0", {"dilation": 2}, "no dilation"),
        ("ups.1", {"inputs": ("ups.0",)}, "must read resblocks.0.convs2.1, resblocks.1.convs2.1"),
        ("ups.1", {"inputs": ("resblocks.1.convs2.1", "resblocks.0.convs2.1")}, "must read resblocks.0"),
        ("resblocks.0.convs1.0", {"activation": LeakyRelu(1.5)}, "slope"),
        ("resblocks.0.convs1.0", {"residual": "conv_pre"}, "nothing may be added"),
        ("resblocks.0.convs2.0", {"residual": None}, "ups.0 must be added"),
        ("resblocks.0.convs2.0", {"residual": "conv_pre"}, "ups.0 must be added"),
        ("resblocks.0.convs2.0", {"out_channels": 3}, "keeps the number of channels"),
        ("resblocks.1.convs1.0", {"inputs": ("conv_pre",)}, "must read ups.0"),
        ("conv_post", {"out_channels": 2}, "one output channel"),
        ("conv_post", {"kind": "conv_transpose", "padding": (2, 2), "kernel_size": 5}, "layer conv_post"),
    ],
)
def test_the_core_checks_graphs(name, change, text):
    layers = [replace(layer, **change) if layer.name == name else layer for layer in tiny_generator().graph.layers]
    with pytest.raises(ValueError, match=text):
        _native.LoadedGenerator([network_layer(layer) for layer in layers], {}, "generic", 16, 1, {})


@pytest.mark.parametrize(
    "kept", [(), ("conv_pre",), ("conv_pre", "conv_post"), ("conv_pre", "ups.0", "ups.1", "conv_post")]
)
def test_the_core_checks_that_nothing_is_left_out(kept):
    layers = [network_layer(layer) for layer in tiny_generator().graph.layers if layer.name in kept]
    with pytest.raises(ValueError, match="layer"):
        _native.LoadedGenerator(layers, {}, "generic", 16, 1, {})


def test_an_activation_that_the_core_does_not_have_is_named():
    fields = {"kind": "conv", "activation": "elu", "slope": 1.0}
    with pytest.raises(ValueError, match="layer x: the core has no activation 'elu'"):
        _native.NetworkLayer(
            **fields, name="x", in_channels=1, out_channels=1, kernel_size=1, stride=1, dilation=1, padding_left=0,
            padding_right=0, padding_mode="zeros", bias=True, inputs=["mel"], residual=None, conditioning=None,
        )  # fmt: skip


def test_a_closed_engine_says_so(engine):
    stream = engine.stream()
    engine.close()
    engine.close()
    for call in (lambda: engine.run(CASE.mel[None]), engine.stream, engine.plan, lambda: engine.run_many([CASE.mel])):
        with pytest.raises(EngineError, match="closed"):
            call()
    # A stream that is open goes on.
    assert len(np.concatenate([stream.push(CASE.mel), stream.finish()])) == 30 * 256
    stream.close()
    with pytest.raises(EngineError, match="closed"):
        stream.push(CASE.mel)


def test_streams_word_their_errors(engine):
    stream = engine.stream()
    stream.finish()
    with pytest.raises(StreamFinished, match=r"^the stream is finished: reset it, or open a new one$"):
        stream.push(CASE.mel)
    stream.reset()
    stream.close()
    for call in (stream.finish, stream.reset, lambda: stream.push(CASE.mel), lambda: stream.state_bytes):
        with pytest.raises(StreamClosed, match=r"^the stream is closed: open a new one$"):
            call()
    assert (stream.segment_frames, stream.pending_samples) == (16, 0)
    with pytest.raises(EngineError, match="segment_frames=0"):
        engine.stream(0)


def test_the_plan_is_shown(engine):
    plan = engine.measured_plan(rounds=1)
    assert [layer.layer for layer in plan][:2] == ["conv_pre", "ups.0"]
    assert plan[-1].kind == "conv_post"
    assert all(layer.predicted_us > 0 and layer.measured_us > 0 for layer in plan)
    assert [layer.layer for layer in engine.plan(16)] == [layer.layer for layer in plan]
