"""Generators behind the flow of a voice: the reference against another writing of it, native against the reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from flow_network import random_state, run_flow
from golden.seeded import seeded_weights
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import FlowConfig, GeneratorConfig, ModelConfig
from hifigan_rt.engines import REGISTRY, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import network_layer
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ConfigError, EngineError
from hifigan_rt.families.flow import couplings_of_state, fold_flow
from hifigan_rt.formats.config_json import config_to_dict, parse_config
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import Weights
from native_generators import ISAS, Case, stream_all

DECODER = GeneratorConfig(16, (4, 2), (8, 4), "2", (3, 5), ((1, 2), (2, 3)), num_mels=10, input_kind="latent")
VECTOR = {"conditioning_channels": 3, "conditioned_layers": ("conv_pre",)}
FLOWS = {
    "of VITS": replace(DECODER, flow=FlowConfig(8)),
    "an odd number of flips": replace(DECODER, flow=FlowConfig(5, couplings=3, layers=2, kernel_size=3)),
    "one layer": replace(DECODER, num_mels=2, flow=FlowConfig(1, couplings=1, layers=1, kernel_size=1)),
    "dilated": replace(DECODER, flow=FlowConfig(20, couplings=2, layers=3, kernel_size=3, dilation_rate=2)),
    "conditioned": replace(DECODER, **VECTOR, flow=FlowConfig(17, couplings=2, layers=2, is_conditioned=True)),
    "conditioned alone": replace(
        DECODER, conditioning_channels=3, flow=FlowConfig(9, couplings=4, layers=1, is_conditioned=True)
    ),
}
FRAMES = 75


def make_case(config, seed=0, frames=FRAMES):
    graph = build_graph(config)
    weights = {name: array.astype(np.float32) for name, array in seeded_weights(graph.weight_shapes(), seed).items()}
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((config.num_mels, frames)).astype(np.float32)
    vector = rng.standard_normal((1, 3)).astype(np.float32)
    return Case(bind(graph, weights), latents, vector if config.conditioning_channels else None)


@pytest.fixture(scope="module", params=FLOWS)
def case(request):
    return make_case(FLOWS[request.param], seed=len(request.param))


@pytest.mark.parametrize("couplings", [1, 3, 4])
@pytest.mark.parametrize("vector", [0, 3])
def test_the_reference_is_the_flow_of_the_paper_and_its_decoder(couplings, vector):
    decoder = replace(DECODER, **VECTOR) if vector else DECODER
    state = random_state(10, 7, 5, 3, couplings, vector, seed=couplings)
    found, order = couplings_of_state(state, is_conditioned=vector > 0)
    config, weights = fold_flow(found)
    assert config == FlowConfig(7, couplings, 3, is_conditioned=vector > 0)
    plain = build_graph(decoder)
    own = seeded_weights(plain.weight_shapes(), 1)
    moved = own | {"conv_pre.weight": own["conv_pre.weight"][:, np.argsort(order)]}
    generator = bind(build_graph(replace(decoder, flow=config)), moved | weights)
    rng = np.random.default_rng(2)
    latents, given = rng.standard_normal((10, 30)), rng.standard_normal(vector) if vector else None
    z = run_flow(state, latents, given)
    assert np.abs(z - latents).max() > 0.5
    expected = generate(bind(plain, own), z, given)
    assert np.abs(generate(generator, latents, given) - expected).max() <= tolerances.REFERENCE_MAX_ABS


def test_a_vector_that_the_voice_does_not_give_leaves_no_trace():
    state = random_state(4, 3, 3, 2, 2, 5)
    config, weights = fold_flow(couplings_of_state(state, is_conditioned=False)[0])
    assert not config.is_conditioned
    assert not any("conds" in name for name in weights)


@pytest.mark.parametrize("isa", ISAS)
def test_native_equals_the_reference(case, isa):
    truth = case.truth()
    for segment, algorithm in ((4, "fft16"), (7, "direct"), (32, "fft8")):
        audio = case.load(isa, segment, threads=2, every=algorithm).run(case.mel[None], case.conditioning)[0]
        assert audio.shape == truth.shape
        assert snr_db(truth, audio) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize(("segment", "transformed"), [(16, set()), (47, set()), (48, {2, 3}), (256, {2, 3})])
def test_a_flow_is_planned_direct_but_for_its_later_half(segment, transformed):
    """The decoder amplifies what a flow rounds."""
    case = make_case(
        replace(DECODER, num_mels=64, flow=FlowConfig(48, couplings=4, layers=2), upsample_initial_channel=128),
        frames=1,
    )
    for isa in ISAS:
        for forced in ({}, {"flow.0.gates.0": "fft8"}):
            plan = {
                layer["layer"]: layer["algorithm"] for layer in case.load(isa, segment_frames=segment, **forced).plan()
            }
            chosen = {f"flow.{i}.gates.{j}": "fft8" for i in transformed for j in range(2)} | forced
            flow = {name: algorithm for name, algorithm in plan.items() if name.startswith("flow")}
            assert flow == dict.fromkeys(flow, "direct") | chosen
            assert {plan[name] for name in plan if name.startswith("resblocks")} - {"direct"}


def test_streams_equal_the_whole(case):
    for isa in ISAS:
        for segment in (1, 5, 16, 100):
            engine = case.load(isa, segment_frames=segment)
            whole = engine.run(case.mel[None], case.conditioning)[0]
            for pushes in ([1], [4, 0, 9], [1000]):
                streamed = stream_all(engine, case.mel, segment, pushes, case.conditioning)
                np.testing.assert_array_equal(streamed, whole)


def test_few_frames_equal_the_reference(case):
    for frames in (1, 2, 3, 9):
        short = replace(case, mel=np.ascontiguousarray(case.mel[:, :frames]))
        engine = short.load(segment_frames=2)
        whole = engine.run(short.mel[None], short.conditioning)[0]
        assert snr_db(short.truth(), whole) >= tolerances.NATIVE_SMALL_SNR_DB
        np.testing.assert_array_equal(stream_all(engine, short.mel, 2, [1], short.conditioning), whole)


def test_all_determined_samples_are_given_at_once(case):
    graph, frames = case.generator.graph, case.mel.shape[1]
    stream, given = case.load().stream(2, case.conditioning), 0
    for frame in range(frames):
        given += len(stream.push(case.mel[:, frame : frame + 1]))
        computed = (frame + 1) // 2 * 2
        assert given == max(0, computed * graph.hop_length + graph.receptive_field.first_sample)
    assert given + len(stream.finish()) == graph.output_length(frames)


def test_reach_and_cost_of_a_medium_voice():
    decoder = GeneratorConfig(
        256, (8, 8, 4), (16, 16, 8), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=192, input_kind="latent"
    )
    alone, both = build_graph(decoder), build_graph(replace(decoder, flow=FlowConfig(192)))
    # 4 couplings of 4 layers that read 2 frames on each side.
    assert both.receptive_field.left_frames == alone.receptive_field.left_frames + 32 == 43
    assert both.receptive_field.first_sample == alone.receptive_field.first_sample - 32 * 256
    gates, pre, residuals, shifts = 4 * 5 * 384 * 192, 96 * 192, 3 * 192 * 192, 4 * 192 * 96
    assert both.macs_per_frame == alone.macs_per_frame + 4 * (gates + pre + residuals + shifts)
    assert both.output_length(50) == alone.output_length(50)


def test_what_follows_the_reach_changes_nothing(case):
    graph, hit = case.generator.graph, 40
    other = case.mel.copy()
    other[:, hit] += 1
    given = None if case.conditioning is None else case.conditioning[0]
    changed = np.flatnonzero(generate(case.generator, case.mel, given) != generate(case.generator, other, given))
    start = hit * graph.hop_length
    assert changed[0] >= start + graph.receptive_field.first_sample
    assert changed[-1] <= start + graph.receptive_field.last_sample


def test_a_config_with_a_flow_is_read_back():
    config = ModelConfig(FLOWS["conditioned"])
    assert parse_config(config_to_dict(config)).generator == config.generator


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_mels": 9}, "num_mels=9 has no halves"),
        ({"input_kind": "mel"}, "a flow takes latents as they are: input_kind='mel'"),
        ({"pre_linear": 5}, "pre_linear=5"),
        ({"flow": FlowConfig(4, is_conditioned=True)}, "conditioning_channels=0"),
    ],
)
def test_contradictions_are_named(change, said):
    with pytest.raises(ConfigError, match=said):
        replace(DECODER, **({"flow": FlowConfig(4)} | change))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"channels": 0}, r"flow.channels=0"),
        ({"channels": 4, "kernel_size": 4}, "flow.kernel_size=4 cannot keep the length"),
        ({"channels": 4, "layers": 3, "dilation_rate": 100}, "dilation of flow.layers=3=10000"),
    ],
)
def test_flows_that_cannot_be(fields, said):
    with pytest.raises(ConfigError, match=said):
        FlowConfig(**fields)


@pytest.mark.parametrize("value", [3, {"layers": 2}, {"channels": 4, "more": 1}, {"channels": "x"}])
def test_a_flow_that_is_no_flow_is_refused(value):
    fields = config_to_dict(ModelConfig(DECODER)) | {"latent_flow": value}
    with pytest.raises(ConfigError, match="latent_flow"):
        parse_config(fields)


def test_engines_without_flows_say_so():
    case = make_case(FLOWS["of VITS"])
    model = Weights("a voice", Path("none"), "none", case.generator)
    for name, entry in REGISTRY.items():
        if entry.computes_flow or not entry.takes(Weights):
            continue
        with pytest.raises(EngineError, match=f"engine '{name}' does not compute the flow .* choose native, reference"):
            create_engine(name, model, EngineOptions(1, "float32", None, {}))


@pytest.mark.parametrize(
    ("index", "change", "said"),
    [
        (1, {"gated": False}, "a gated convolution must stand here"),
        (1, {"out_channels": 10}, "a gated convolution must stand here"),
        (0, {"gated": True}, "of a flow the gated convolutions alone read more than one row"),
        (0, {"padding_mode": "reflect"}, "zeros at its ends"),
        (2, {"residual": "flow.0.shifts.0"}, "it must read|must be added"),
        (3, {"residual": "mel.1"}, "mel.0 must be added to it"),
        (-1, {"gated": True, "out_channels": 2}, "only a flow has gated layers"),
    ],
)
def test_the_core_refuses_what_is_no_flow(index, change, said):
    from hifigan_rt import _native

    case = make_case(FLOWS["of VITS"])
    layers = [network_layer(layer) for layer in case.generator.graph.layers]
    fields = {
        name: getattr(case.generator.graph.layers[index], name)
        for name in ("name", "kind", "in_channels", "out_channels", "kernel_size", "stride", "dilation")
    }
    layer = case.generator.graph.layers[index]
    given = fields | {
        "padding_left": layer.padding[0], "padding_right": layer.padding[1], "padding_mode": "zeros",
        "activation": "none", "slope": 1.0, "bias": True, "inputs": layer.inputs, "residual": layer.residual,
        "conditioning": None, "gated": layer.is_gated, "joins": layer.is_joining,
    }  # fmt: skip
    layers[index] = _native.NetworkLayer(**(given | change))
    weights = {name: np.ascontiguousarray(array, np.float32) for name, array in case.generator.weights.items()}
    with pytest.raises(ValueError, match=said):
        _native.LoadedGenerator(layers, weights, ISAS[0], 4, 1, {})
