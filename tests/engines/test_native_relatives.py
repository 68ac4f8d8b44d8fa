"""The native engine on what the original's relatives have: other ends, odd rates, other inputs and outputs, vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from hifigan_rt import _native
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import create, network_layer
from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.model.kinds import Weights
from native_generators import ISAS, Case, make_case, stream_all

PLAIN = GeneratorConfig(32, (4, 3), (8, 6), "1", (3, 7), ((1, 3), (1, 5)), num_mels=10)
SINGLE = replace(PLAIN, resblock="2")
RELATIVES = {
    "rows from p on": replace(
        PLAIN, upsample_rates=(5, 4), upsample_kernel_sizes=(10, 9), upsample_paddings=((3, 2), (1, 4))
    ),
    "no overlap": replace(PLAIN, upsample_kernel_sizes=(4, 3)),
    "rows cut further": replace(PLAIN, upsample_paddings=((0, 5), (5, 0))),
    "more rows": replace(SINGLE, upsample_kernel_sizes=(13, 5), upsample_paddings=((0, 2), (1, 1))),
    "reflect": replace(PLAIN, padding_mode="reflect", output="clamp"),
    "reflect, single": replace(SINGLE, padding_mode="reflect", conv_post_kernel_size=3),
    "replicate": replace(PLAIN, padding_mode="replicate", leaky_relu_slope=0.0, final_slope=0.1),
    "replicate, single": replace(SINGLE, padding_mode="replicate", conv_pre_kernel_size=1),
    "causal": replace(PLAIN, causal=True, layers_without_bias=("conv_pre", "ups.1", "resblocks.0.convs2.1")),
    "causal, even kernels": replace(
        SINGLE, causal=True, upsample_kernel_sizes=(14, 4), resblock_kernel_sizes=(2, 4), conv_pre_kernel_size=4
    ),
    "odd slopes": replace(
        PLAIN, leaky_relu_slope=0.0, final_slope=1.0, conv_pre_kernel_size=5, conv_post_kernel_size=13
    ),
    "normalised": replace(PLAIN, input_normalization=True, output="none"),
    "linear": replace(PLAIN, pre_linear=24, padding_mode="reflect"),
    "linear, wider": replace(PLAIN, upsample_initial_channel=8, num_mels=20, pre_linear=7, input_normalization=True),
    "conditioned": replace(PLAIN, conditioning_channels=6, conditioned_layers=("conv_pre",)),
    "conditioned everywhere": replace(
        SINGLE,
        conditioning_channels=3,
        conditioned_layers=("conv_pre", "ups.1", "ups.0"),
        layers_without_bias=("conds.1", "ups.1", "conv_post"),
        num_speakers=4,
    ),
}


@pytest.fixture(scope="module", params=RELATIVES)
def case(request):
    return make_case(RELATIVES[request.param], 21, seed=len(request.param))


@pytest.mark.parametrize("isa", ISAS)
def test_relatives_equal_the_reference(case, isa):
    truth = case.truth()
    for segment, algorithm in ((4, "fft16"), (7, "direct"), (32, "fft8")):
        audio = case.load(isa, segment, every=algorithm).run(case.mel[None], case.conditioning)[0]
        assert audio.shape == truth.shape
        assert snr_db(truth, audio) >= tolerances.NATIVE_SMALL_SNR_DB


def test_relatives_of_few_frames_equal_the_reference(case):
    graph = case.generator.graph
    for frames in range(graph.least_frames, graph.least_frames + 4):
        short = replace(case, mel=np.ascontiguousarray(case.mel[:, :frames]))
        for segment in (1, 3):
            engine = short.load(segment_frames=segment)
            whole = engine.run(short.mel[None], short.conditioning)[0]
            assert snr_db(short.truth(), whole) >= tolerances.NATIVE_SMALL_SNR_DB
            np.testing.assert_array_equal(stream_all(engine, short.mel, segment, [1], short.conditioning), whole)


def test_streams_of_relatives_equal_the_whole(case):
    for segment in (1, 5, 16):
        engine = case.load(segment_frames=segment, threads=2)
        whole = engine.run(case.mel[None], case.conditioning)[0]
        for pushes in ([1], [4, 0, 9], [1000]):
            np.testing.assert_array_equal(stream_all(engine, case.mel, segment, pushes, case.conditioning), whole)


def test_all_determined_samples_of_relatives_are_given_at_once(case):
    graph, frames = case.generator.graph, case.mel.shape[1]
    stream, given = case.load().stream(2, case.conditioning), 0
    for frame in range(frames):
        given += len(stream.push(case.mel[:, frame : frame + 1]))
        computed = (frame + 1) // 2 * 2
        assert given == max(0, computed * graph.hop_length + graph.receptive_field.first_sample)
        if frame + 1 >= graph.least_frames:
            assert given + stream.pending_samples == graph.output_length(frame + 1)
    assert given + len(stream.finish()) == graph.output_length(frames)


def test_too_few_frames_to_mirror_are_refused():
    case = make_case(RELATIVES["reflect"], 21)
    # conv_pre mirrors 3 frames, the longest convolution behind the first upsampling 15 rows.
    assert case.generator.graph.least_frames == 4
    engine, short = case.load(segment_frames=2), np.ascontiguousarray(case.mel[:, :3])
    for call in (lambda: engine.run(short[None]), lambda: engine.run_many([case.mel, short])):
        with pytest.raises(MelError, match=r"T=3 frames: the layers of this generator mirror .* at least 4"):
            call()
    stream = engine.stream(2)
    parts = [stream.push(short)]
    with pytest.raises(MelError, match="T=3 frames"):
        stream.finish()
    assert stream.pending_samples == 0
    parts += [stream.push(case.mel[:, 3:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), engine.run(case.mel[None])[0])


def test_each_item_and_each_stream_has_its_vector():
    case = make_case(RELATIVES["conditioned everywhere"], 20)
    vectors = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    engine = case.load(segment_frames=4, threads=2)
    alone = [engine.run(case.mel[None], vectors[i : i + 1])[0] for i in range(3)]
    assert snr_db(alone[0], alone[1]) < 40
    np.testing.assert_array_equal(engine.run(np.repeat(case.mel[None], 3, axis=0), vectors), alone)
    mels = [np.ascontiguousarray(case.mel[:, :frames]) for frames in (20, 7, 20)]
    np.testing.assert_array_equal(engine.run_many(mels, vectors)[2], alone[2])
    streams = [engine.stream(4, vectors[i : i + 1]) for i in range(3)]
    for stream, audio in zip(streams, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate([stream.push(case.mel), stream.finish()]), audio)
        stream.reset()
        np.testing.assert_array_equal(np.concatenate([stream.push(case.mel), stream.finish()]), audio)


def test_speakers_are_rows_of_the_table():
    case = make_case(RELATIVES["conditioned everywhere"], 20)
    engine = create(Weights("speakers", Path("none"), "none", case.generator), EngineOptions(threads=1))
    table = case.generator.weights["emb_g.weight"]
    audio = engine.run(case.mel[None], np.array([2]))[0]
    np.testing.assert_array_equal(audio, engine.run(case.mel[None], table[2:3])[0])
    truth = Case(case.generator, case.mel, table[2:3]).truth()
    assert snr_db(truth, audio) >= tolerances.NATIVE_SMALL_SNR_DB
    stream = engine.stream(engine.offline_segment_frames, conditioning=np.array(2))
    np.testing.assert_array_equal(np.concatenate([stream.push(case.mel), stream.finish()]), audio)
    assert all(layer.measured_us > 0 for layer in engine.measured_plan(rounds=1) if layer.kind != "conv_post")
    for call in (lambda: engine.run(case.mel[None]), lambda: engine.stream(4)):
        with pytest.raises(EngineError, match=r"nothing is given beside the mel, and this model takes integers"):
            call()


def test_the_core_checks_what_comes_beside_the_layers():
    config = replace(PLAIN, conditioning_channels=6, conditioned_layers=("ups.1",), input_normalization=True)
    generator = make_case(config, 4).generator
    layers = [network_layer(layer) for layer in generator.graph.layers]

    def load(weights, channels=6, output="tanh"):
        more = {"output": output, "input_normalization": True, "conditioning_channels": channels}
        _native.LoadedGenerator(layers, weights, "generic", 4, 1, {}, **more)

    load(dict(generator.weights))
    for name in ("conds.1.weight", "mean", "scale"):
        without = {key: array for key, array in generator.weights.items() if key != name}
        with pytest.raises(ValueError, match=f"weights lack {name}"):
            load(without)
        with pytest.raises(ValueError, match=f"{name} has another shape than its layer"):
            load({**without, name: generator.weights[name][:-1].copy()})
    with pytest.raises(ValueError, match=r"conds\.1\.weight has another shape"):
        load(dict(generator.weights), channels=5)
    with pytest.raises(ValueError, match="no output 'sine'"):
        load(dict(generator.weights), output="sine")


def test_a_vector_of_a_wrong_kind_is_refused_by_the_core():
    conditioned, plain = make_case(RELATIVES["conditioned"], 4), make_case(PLAIN, 4)
    for wrong in (None, np.zeros((2, 6), np.float32), np.zeros((1, 5), np.float32)):
        with pytest.raises(ValueError, match=r"conditioning must be float32 \[1, 6\]"):
            conditioned.load().run(conditioned.mel[None], wrong)
    with pytest.raises(TypeError):
        conditioned.load().run(conditioned.mel[None], np.zeros((1, 6)))
    with pytest.raises(ValueError, match="conditioning must be None"):
        plain.load().stream(4, np.zeros((1, 6), np.float32))
