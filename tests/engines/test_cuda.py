"""Engine `cuda` on an imitated card: the kernels themselves, compiled as plain C++ (native/tests/cuda)."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tolerances
from engines.cuda_engines import PRECISIONS, floor, load, mels_of, stream_all
from golden.features import FEATURES, feature_conditioning, feature_generator
from golden.tiny import TINY, tiny_generator
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import create_engine, cuda_network
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import (
    EngineError,
    MelError,
    StreamBroken,
    StreamBusy,
    StreamClosed,
    StreamFinished,
)
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.resolve import resolve_model
from native_generators import V1_LIKE, V3_LIKE, lopsided, make_case, random_case

TINY_GENERATOR = tiny_generator()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))])
def test_networks_of_any_shape(seed, precision):
    case = random_case(seed)
    if seed % 2:
        case = lopsided(case, seed)
    engine = load(case.generator, precision)
    assert snr_db(case.truth(), engine.run(CheckedMel(case.mel[None]))[0]) >= floor(precision)


@cache
def familiar(name):
    case = make_case({"V1": V1_LIKE, "V3": V3_LIKE}[name], 4)
    return case, case.truth()


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("V1", "float16"),
        ("V3", "float32"),
        pytest.param("V1", "float32", marks=pytest.mark.long),
        pytest.param("V3", "float16", marks=pytest.mark.long),
    ],
)
def test_the_published_layers_with_fewer_channels(name, precision):
    case, truth = familiar(name)
    assert snr_db(truth, load(case.generator, precision).run(CheckedMel(case.mel[None]))[0]) >= floor(precision)


@pytest.mark.long
@pytest.mark.pretrained
@pytest.mark.parametrize(("precision", "kept"), [("float32", 542_080), ("float16", 273_024)])
def test_real_weights_and_speech(precision, kept):
    model = resolve_model("ljspeech-v1")
    sound = read_audio(Path(__file__).parents[2] / "samples/harbour.flac").samples
    mel = CheckedMel(np.ascontiguousarray(compute_mel(sound, model.mel)[:, 60:76]))
    engine = create_engine("cuda", model, EngineOptions(precision=precision))
    assert engine._network.plan.state_bytes == kept
    assert snr_db(generate(model.generator, mel), engine.run_many([mel])[0]) >= tolerances.CUDA_V1_SNR_DB[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_that_do_not_fit_into_shared_memory_come_in_parts(precision):
    config = GeneratorConfig(16, (2,), (4,), "1", (101,), ((40,),), num_mels=40, conv_post_kernel_size=301)
    case = make_case(config, 5)
    engine = load(case.generator, precision)
    launches = engine._network.plan.launches
    assert any(branch.taps_at_once < branch.taps for launch in launches for branch in launch.branches)
    mel = CheckedMel(case.mel)
    audio = engine.run_many([mel])[0]
    assert snr_db(case.truth(), audio) >= floor(precision)
    stream = engine.stream(2)
    assert np.array_equal(np.concatenate([stream.push(mel), stream.finish()]), audio)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FEATURES)
def test_what_a_network_can_have_beyond_the_original(name, precision):
    generator = feature_generator(FEATURES[name])
    engine = load(generator, precision)
    lengths = (generator.graph.least_frames, 13, 7)
    mels, given = mels_of(generator, lengths), feature_conditioning(generator, len(lengths))
    audios = engine.run_many(mels, given)
    vectors = ConditioningRule.of_generator(generator).check(given, len(mels))
    for index, (mel, audio) in enumerate(zip(mels, audios, strict=True)):
        vector = None if vectors is None else vectors[index]
        assert snr_db(generate(generator, mel, vector), audio) >= floor(precision)
        assert len(audio) == generator.graph.output_length(mel.shape[1])
    # Streams of the same signals, all at once, by pushes of any size.
    rng = np.random.default_rng(5)
    streams = [engine.stream(3, conditioning=None if given is None else given[index]) for index in range(len(mels))]
    assert stream_all(engine, streams, mels, rng) == [audio.tobytes() for audio in audios]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_item_has_the_bits_that_it_has_alone(precision):
    engine = load(TINY_GENERATOR, precision)
    mels = mels_of(TINY_GENERATOR, (1, 40, 2, 17, 90, 3))
    alone = [engine.run_many([mel])[0] for mel in mels]
    assert all(np.array_equal(a, b) for a, b in zip(engine.run_many(mels), alone, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(engine.run_many(mels[::-1])[::-1], alone, strict=True))


@pytest.mark.parametrize("name", [None, *FEATURES])
def test_long_mels_and_many_are_computed_in_parts_with_the_same_bits(name, monkeypatch):
    generator = TINY_GENERATOR if name is None else feature_generator(FEATURES[name])
    lengths = (70, 5, 33, 4)
    mels, given = mels_of(generator, lengths), None if name is None else feature_conditioning(generator, len(lengths))
    whole = load(generator).run_many(mels, given)
    bytes_per_frame = load(generator)._network.plan.bytes_per_frame()
    monkeypatch.setattr(cuda_network, "PASS_BYTES", 40 * bytes_per_frame)
    engine = load(generator)
    assert engine._network.max_pass_frames < 70
    parts = engine.run_many(mels, given)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_streams_are_the_whole_signal_bit_for_bit(seed, precision):
    rng = np.random.default_rng(seed)
    generator = TINY_GENERATOR if seed == 0 else random_case(seed + 20).generator
    engine = load(generator, precision)
    mels = mels_of(generator, [int(rng.integers(1, 60)) for _ in range(4)], seed)
    streams = [engine.stream(int(rng.integers(1, 9))) for _ in mels]
    assert stream_all(engine, streams, mels, rng) == [audio.tobytes() for audio in engine.run_many(mels)]


def test_a_segment_gives_every_sample_that_is_determined():
    graph = TINY_GENERATOR.graph
    stream = load(TINY_GENERATOR).stream(4)
    mel = mels_of(TINY_GENERATOR, (23,))[0]
    given = sum(len(stream.push(CheckedMel(mel[:, at : at + 1]))) for at in range(23))
    assert given == 20 * graph.hop_length + graph.receptive_field.first_sample


def test_a_stream_that_holds_nothing_back_ends_without_a_sample():
    config = GeneratorConfig(
        16, (2,), (2,), "1", (1,), ((1,),), num_mels=8, conv_pre_kernel_size=1, conv_post_kernel_size=1
    )
    generator = make_case(config, 1).generator
    engine = load(generator)
    mel = mels_of(generator, (6,))[0]
    stream = engine.stream(2)
    np.testing.assert_array_equal(stream.push(mel), engine.run_many([mel])[0])
    assert len(stream.finish()) == 0


def test_a_stream_recomputes_nothing_and_keeps_what_its_layers_reach(imitated_card):
    stream = load(TINY_GENERATOR).stream(4)
    assert stream.state_bytes < 40_000
    stream.push(mels_of(TINY_GENERATOR, (8,))[0])
    before = imitated_card.get("launches")
    stream.push(mels_of(TINY_GENERATOR, (4,))[0])
    assert imitated_card.get("launches") - before < 40


def test_streams_end_in_the_pass_of_their_last_frames(imitated_card):
    engine = load(TINY_GENERATOR)
    mels = mels_of(TINY_GENERATOR, (9, 4, 12))
    expected = engine.run_many(mels)
    streams = [engine.stream(4) for _ in mels]
    first = engine.advance(streams, [CheckedMel(mel[:, :3]) for mel in mels])
    assert [len(audio) for audio in first] == [0, 0, 0]
    before = imitated_card.get("launches")
    audios = engine.advance(streams, [CheckedMel(mel[:, 3:]) for mel in mels], ending=[0, 1, 2])
    assert imitated_card.get("launches") - before == len(engine.plan.launches) + 1
    assert all(np.array_equal(audio, other) for audio, other in zip(audios, expected, strict=True))
    # One that has no frames, one that is too short, and one that goes on.
    mirrored = load(feature_generator(FEATURES["conditioned"]))
    least = mirrored._graph.least_frames
    assert least > 1
    given = feature_conditioning(feature_generator(FEATURES["conditioned"]), 1)[0]
    mel = mels_of(feature_generator(FEATURES["conditioned"]), (3 * least,))[0]
    streams = [mirrored.stream(4, conditioning=given) for _ in range(3)]
    outcomes = mirrored.advance(streams, [mel[:, :0], mel[:, : least - 1], mel], ending=[0, 1, 2])
    assert len(outcomes[0]) == 0
    assert isinstance(outcomes[1], MelError)
    np.testing.assert_array_equal(outcomes[2], mirrored.run_many([mel], given[None])[0])


def test_streams_are_prepared_while_the_card_computes_those_before_them(monkeypatch):
    monkeypatch.setattr(cuda_network, "MAX_PASS_ITEMS", 2)
    engine = load(TINY_GENERATOR)
    mels = mels_of(TINY_GENERATOR, (4,) * 6)
    streams = [engine.stream(4) for _ in mels]
    begin, taken = engine._network._begin, []

    def counting(pieces):
        taken.append(sum(not stream._turn.is_free for stream in streams))
        return begin(pieces)

    monkeypatch.setattr(engine._network, "_begin", counting)
    engine.advance(streams, [CheckedMel(mel) for mel in mels])
    assert taken == [3, 5, 6]
    assert all(stream._turn.is_free for stream in streams)


def test_a_stream_says_what_it_cannot_do():
    engine = load(TINY_GENERATOR)
    mel = mels_of(TINY_GENERATOR, (9,))[0]
    stream = engine.stream(4)
    whole = engine.run_many([mel])[0]
    with stream._claimed(), pytest.raises(StreamBusy):
        stream.push(mel)
    first = stream.push(mel)
    np.testing.assert_array_equal(np.concatenate([first, stream.finish()]), whole)
    with pytest.raises(StreamFinished):
        stream.push(mel)
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.push(mel), stream.finish()]), whole)
    stream.close()
    stream.close()
    with pytest.raises(StreamClosed):
        stream.push(mel)
    empty = engine.stream(4)
    assert len(empty.push(CheckedMel(mel[:, :0]))) == len(empty.finish()) == 0
    other = engine.stream(4)
    audio, error = engine.advance([other, empty], [mel, mel])
    assert isinstance(error, StreamFinished)
    np.testing.assert_array_equal(np.concatenate([audio, other.finish()]), whole)


def test_a_stream_closed_while_another_thread_claims_it_computes_into_no_other_ones_room():
    engine = load(TINY_GENERATOR)
    mel = mels_of(TINY_GENERATOR, (9,))[0]
    stream, others = engine.stream(4), []
    take = stream._turn.take

    def closed_meanwhile(**how):
        stream.close()
        others.append(engine.stream(4))
        others[0].push(CheckedMel(mel[:, :4]))
        take(**how)

    stream._turn.take = closed_meanwhile
    with pytest.raises(StreamClosed):
        stream.push(mel)
    assert others[0]._room == stream._room
    others[0].push(CheckedMel(mel[:, 4:]))
    assert stream._turn.is_free
    # One that is closed after its turn was taken gives its room back itself.
    stream = engine.stream(4)
    claim = stream._turn.take
    stream._turn.take = lambda **how: (claim(**how), stream.close())
    with pytest.raises(StreamClosed):
        stream.push(mel)
    assert engine.stream(4)._room == stream._room


def test_rooms_of_streams_are_used_again(imitated_card):
    engine = load(TINY_GENERATOR)
    for _ in range(200):
        engine.stream(4).close()
    before = imitated_card.get("free")
    for _ in range(1000):
        engine.stream(4)  # dropped
    assert imitated_card.get("free") == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_order_of_a_cards_threads_changes_a_bit(imitated_card, precision):
    engine = load(TINY_GENERATOR, precision)
    mels = mels_of(TINY_GENERATOR, (2, 30))
    expected = engine.run_many(mels)
    with imitated_card.having(backwards=1):
        assert all(np.array_equal(a, b) for a, b in zip(engine.run_many(mels), expected, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_race_of_a_cards_threads_is_an_error(imitated_card, precision):
    engine = load(TINY_GENERATOR, precision)
    mel = mels_of(TINY_GENERATOR, (9,))[0]
    engine.run_many([mel])
    with imitated_card.having(disorder=1), pytest.raises(EngineError, match="illegal memory access"):
        engine.run_many([mel])
    imitated_card.set("lose", 0)


def scaled(factor, layers):
    """The tiny network with the values of some layers made larger, and with them what follows."""
    weights = dict(TINY_GENERATOR.weights)
    for name in layers:
        weights[f"{name}.weight"] = weights[f"{name}.weight"] * np.float32(factor)
        weights[f"{name}.bias"] = weights[f"{name}.bias"] * np.float32(factor)
    return bind(build_graph(TINY.generator), weights)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("factor", [1e7, 1e-6])
@pytest.mark.parametrize("layers", [("conv_pre",), ("resblocks.1.convs1.1",), ("resblocks.0.convs2.0", "ups.1")])
def test_values_outside_float16_are_scaled_into_it(factor, layers, precision):
    generator = scaled(factor, layers)
    # So that the last layer's tanh hides nothing.
    config = replace(TINY.generator, output="none")
    generator = bind(build_graph(config), generator.weights)
    mel = mels_of(generator, (11,))[0]
    audio = load(generator, precision).run_many([mel])[0]
    assert snr_db(generate(generator, mel), audio) >= floor(precision)


def test_a_value_that_does_not_fit_is_an_error_that_names_its_layer():
    engine = load(TINY_GENERATOR)
    mel = mels_of(TINY_GENERATOR, (6,))[0]
    with pytest.raises(EngineError, match=r"^the mel has values up to 1e\+06, beyond what float16 holds here: use"):
        engine.run_many([CheckedMel(np.full_like(mel, 1e6))])
    with pytest.raises(EngineError, match=r"^layer (conv_pre|ups.0|resblocks\S+) has values up to \S+, beyond"):
        load(scaled(300, ("conv_pre",))).run_many([CheckedMel(np.full_like(mel, 6e4))])
    stream = engine.stream(2)
    with pytest.raises(EngineError):
        stream.push(CheckedMel(np.full_like(mel, 1e6)))
    with pytest.raises(StreamBroken):
        stream.push(mel)
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.push(mel), stream.finish()]), engine.run_many([mel])[0])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_that_are_not_there_yet_are_no_values_that_do_not_fit(precision):
    config = GeneratorConfig(32, (2,), (4,), "1", (3,), ((3,),), num_mels=4)
    graph = build_graph(config)
    weights = {name: np.zeros_like(weight) for name, weight in make_case(config, 1).generator.weights.items()}
    weights["conv_pre.weight"][0, 0, 3] = weights["conv_post.weight"][0, 0, 0] = 1
    weights["ups.0.weight"][0, 0] = 0.5
    # The first convolution of the unit: 0 where the signal is even, far too large where half of its rows are missing.
    weights["resblocks.0.convs1.0.weight"][0, 0] = [100, 0, -100]
    engine = load(bind(graph, weights), precision)
    assert any(launch.kernel.startswith("unit") for launch in engine.plan.launches)
    ramp = np.linspace(0, 5000, 60)
    mel = CheckedMel(np.tile(np.concatenate([ramp, np.full(40, 5000), ramp[::-1]]), (4, 1)).astype(np.float32))
    audio = engine.run_many([mel])[0]
    stream = engine.stream(5)
    parts = [stream.push(CheckedMel(mel[:, at : at + 5])) for at in range(0, mel.shape[1], 5)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), audio)
    # A row that is there and does not fit is told where it is read first.
    steep = CheckedMel(np.where(np.arange(mel.shape[1]) < 70, mel, 0).astype(np.float32))
    with pytest.raises(EngineError, match=r"^layer resblocks.0.convs1.0 has values up to"):
        engine.run_many([steep])
    stream.reset()
    with pytest.raises(EngineError, match=r"^layer resblocks.0.convs1.0 has values up to"):
        stream.push(steep)


def test_a_value_that_does_not_fit_ends_its_own_signal_alone():
    engine = load(TINY_GENERATOR)
    mels = mels_of(TINY_GENERATOR, (6, 8, 7, 6))
    wrong = CheckedMel(np.full_like(mels[2], 1e6))
    with pytest.raises(EngineError, match=r"^item 2 of 4: the mel has values up to 1e\+06, beyond"):
        engine.run_many([*mels[:2], wrong, mels[3]])
    expected = engine.run_many(mels)
    streams = [engine.stream(3) for _ in mels]
    # A stream without a frame of its own has no share in a pass.
    pushes = [CheckedMel(mels[0][:, :0]), mels[1], wrong, mels[3]]
    outcomes = engine.advance(streams, pushes)
    assert isinstance(outcomes[2], EngineError)
    with pytest.raises(StreamBroken):
        streams[2].finish()
    outcomes[0] = streams[0].push(mels[0])
    for index in (0, 1, 3):
        audio = np.concatenate([outcomes[index], streams[index].finish()])
        np.testing.assert_array_equal(audio, expected[index])
