"""Streams of every engine: equal to the whole, whatever the pushes; nothing given that a later frame could change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tolerances
from effort import examples
from engines.weights_engines import WEIGHTS_ENGINES
from golden.seeded import seeded_mel, seeded_weights
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.engines.streams import OverlapStream, push_together
from hifigan_rt.errors import EngineError, MelError, SamplesNotFinite, StreamBroken, StreamFinished
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import Weights
from native_generators import feed

CONFIGS = {
    "type 1": GeneratorConfig(16, (4, 2), (8, 4), "1", (3, 5), ((1, 3), (1, 2)), num_mels=10),
    "type 2": GeneratorConfig(16, (4, 2), (8, 4), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=7),
    "odd kernel - rate": GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5),
    "kernel = rate": GeneratorConfig(8, (5, 3), (5, 3), "2", (3,), ((1, 2),), num_mels=5),
    "one sample per frame": GeneratorConfig(8, (1,), (3,), "1", (3,), ((1, 1),), num_mels=5),
}
GENERATORS = {
    name: bind(build_graph(config), seeded_weights(build_graph(config).weight_shapes(), seed=5))
    for name, config in CONFIGS.items()
}
PUSHES = ([1], [2], [7], [16], [32], [1000], [3, 1, 20, 5, 0, 11])


def mel_for(generator, frames, seed=0):
    return seeded_mel(1, generator.graph.num_mels, frames, seed)[0].astype(np.float32)


def exact_stream(generator, segment):
    """A stream by overlap in float64, which shows what float32 would hide."""
    return OverlapStream(lambda mel: generate(generator, mel[0])[None], generator.graph, segment)


@pytest.fixture(params=WEIGHTS_ENGINES)
def engine_name(request):
    return request.param


def load(engine_name, generator, **settings):
    model = Weights("small", Path("none"), "none", generator)
    return create_engine(engine_name, model, EngineOptions(threads=2, settings=settings))


def segments(engine_name, frames):
    """The setting that makes a whole mel come out as a stream of such segments does, bit for bit."""
    return {"segment_frames": frames} if engine_name == "native" else {}


def assert_equal(engine_name, expected, audio):
    assert audio.shape == expected.shape
    if engine_name == "native":
        np.testing.assert_array_equal(audio, expected)
    else:
        np.testing.assert_allclose(audio, expected, rtol=0, atol=tolerances.STREAM_MAX_ABS)


@pytest.mark.parametrize("config", CONFIGS)
def test_any_pushes_give_the_whole(engine_name, config):
    generator = GENERATORS[config]
    mel = mel_for(generator, 61)
    for segment in (4, 16):
        whole = load(engine_name, generator, **segments(engine_name, segment)).run(mel[None])[0]
        assert snr_db(generate(generator, mel), whole) >= tolerances.FLOAT32_ENGINE_SNR_DB
        engine = load(engine_name, generator)
        first = None
        for pushes in PUSHES:
            audio = feed(engine.stream(segment, generator.graph), mel, pushes)
            assert_equal(engine_name, whole, audio)
            # Which frames are computed together does not depend on the pushes, so that no bit does.
            first = audio if first is None else first
            if engine_name != "reference":  # whose BLAS gives other bits in other places of memory
                np.testing.assert_array_equal(audio, first)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("segment", [1, 3, 16, 64])
def test_overlap_is_exact_in_float64(config, segment):
    generator = GENERATORS[config]
    for frames in (1, 2, segment - 1, segment, segment + 1, 3 * segment, 47):
        if frames < 1:
            continue
        mel = mel_for(generator, frames)
        for pushes in ([1], [frames], [5, 0, 2]):
            audio = feed(exact_stream(generator, segment), mel, pushes)
            np.testing.assert_allclose(audio, generate(generator, mel), rtol=0, atol=tolerances.REFERENCE_MAX_ABS)


@given(st.sampled_from(sorted(CONFIGS)), st.integers(1, 20), st.lists(st.integers(0, 30), min_size=1, max_size=12))
@settings(max_examples=examples(40))
def test_overlap_takes_any_pushes_in_float64(config, segment, sizes):
    generator = GENERATORS[config]
    mel = mel_for(generator, max(1, sum(sizes)))
    audio = feed(exact_stream(generator, segment), mel, [*sizes, 1])
    np.testing.assert_allclose(audio, generate(generator, mel), rtol=0, atol=tolerances.REFERENCE_MAX_ABS)


@given(st.integers(1, 20), st.lists(st.integers(0, 30), min_size=1, max_size=12))
@settings(max_examples=examples(40))
def test_native_takes_any_pushes_bit_for_bit(segment, sizes):
    generator = GENERATORS["type 2"]
    mel = mel_for(generator, max(1, sum(sizes)))
    whole = load("native", generator, segment_frames=segment).run(mel[None])[0]
    engine = load("native", generator)
    np.testing.assert_array_equal(feed(engine.stream(segment, generator.graph), mel, [*sizes, 1]), whole)


@pytest.mark.parametrize("config", CONFIGS)
def test_all_determined_samples_are_given_after_each_segment(engine_name, config):
    generator = GENERATORS[config]
    graph, given_samples = generator.graph, 0
    stream = load(engine_name, generator).stream(8, graph)
    mel = mel_for(generator, 60)
    for frame in range(60):
        given_samples += len(stream.push(np.ascontiguousarray(mel[:, frame : frame + 1])))
        computed = (frame + 1) // 8 * 8
        assert given_samples == (max(0, computed * graph.hop_length + graph.receptive_field.first_sample))
    assert given_samples + len(stream.finish()) == graph.output_length(60)


def test_frames_beyond_the_look_ahead_change_nothing_already_given(engine_name):
    generator = GENERATORS["type 2"]
    engine = load(engine_name, generator)
    mel = mel_for(generator, 48)
    for known in (16, 24, 40):
        other = mel.copy()
        other[:, known:] = 5 - other[:, known:]
        streams = [engine.stream(8, generator.graph) for _ in range(2)]
        given_parts = [
            stream.push(np.ascontiguousarray(one[:, :known])) for stream, one in zip(streams, (mel, other), strict=True)
        ]
        np.testing.assert_array_equal(*given_parts)
        ends = [
            np.concatenate([stream.push(np.ascontiguousarray(one[:, known:])), stream.finish()])
            for stream, one in zip(streams, (mel, other), strict=True)
        ]
        assert not np.array_equal(*ends)


def test_what_is_given_does_not_depend_on_later_frames_at_all():
    """NaN spreads to everything that it could ever change; only the reference has no tiles that carry it further."""
    for generator in GENERATORS.values():
        mel = mel_for(generator, 40)
        for known in (8, 16, 32):
            poisoned = mel.copy()
            poisoned[:, known:] = np.nan
            determined = known * generator.graph.hop_length + generator.graph.receptive_field.first_sample
            assert np.isfinite(generate(generator, poisoned)[: max(0, determined)]).all()
            assert np.isnan(generate(generator, poisoned)[max(0, determined)])
            stream = exact_stream(generator, 8)
            assert len(stream.push(poisoned[:, :known])) == max(0, determined)
            with pytest.raises(SamplesNotFinite):
                stream.push(poisoned[:, known:])


def test_streams_side_by_side_share_a_model_and_nothing_else(engine_name):
    generator = GENERATORS["type 1"]
    engine = load(engine_name, generator)
    mels = [mel_for(generator, 40, seed) for seed in range(3)]
    streams = [engine.stream(8, generator.graph) for _ in mels]
    parts = [[] for _ in mels]
    for start in range(0, 40, 5):
        for stream, mel, part in zip(streams, mels, parts, strict=True):
            part.append(stream.push(np.ascontiguousarray(mel[:, start : start + 5])))
        engine.run(mels[0][None, :, :9].copy())
    for stream, mel, part in zip(streams, mels, parts, strict=True):
        alone = feed(engine.stream(8, generator.graph), mel, [5])
        assert_equal(engine_name, alone, np.concatenate([*part, stream.finish()]))


def test_reset_leaves_nothing_behind(engine_name):
    generator = GENERATORS["type 1"]
    stream = load(engine_name, generator).stream(8, generator.graph)
    mel = mel_for(generator, 30)
    expected = feed(stream, mel, [7])
    for frames in (0, 3, 8, 29):
        stream.reset()
        stream.push(np.full((10, frames), 3, np.float32))
        stream.reset()
        np.testing.assert_array_equal(feed(stream, mel, [7]), expected)


@pytest.mark.parametrize("name", ["reference", "native"])
def test_a_stream_too_short_to_end_goes_on(name):
    graph = build_graph(replace(CONFIGS["type 1"], padding_mode="reflect"))
    generator = bind(graph, seeded_weights(graph.weight_shapes(), seed=5))
    engine = create_engine(name, Weights("mirrored", Path("none"), "test", generator), EngineOptions(threads=1))
    mel, stream = mel_for(generator, 20), engine.stream(4, graph)
    parts = [stream.push(np.ascontiguousarray(mel[:, :3]))]
    with pytest.raises(MelError, match="T=3 frames"):
        stream.finish()
    parts += [stream.push(np.ascontiguousarray(mel[:, 3:])), stream.finish()]
    assert snr_db(generate(generator, mel), np.concatenate(parts)) >= tolerances.NATIVE_SMALL_SNR_DB


def test_the_state_is_small_and_does_not_grow(engine_name):
    generator = GENERATORS["type 1"]
    stream = load(engine_name, generator).stream(8, generator.graph)
    size = stream.state_bytes
    for _ in range(20):
        stream.push(mel_for(generator, 50))
        assert stream.state_bytes == size
    assert 0 < size < 20_000


@pytest.mark.parametrize("least", [1, 20, 50])
def test_windows_are_as_long_as_an_engine_wants_them_as_soon_as_they_can_be(least):
    generator, lengths = GENERATORS["type 1"], []

    def run(mel):
        lengths.append(mel.shape[2])
        return generate(generator, mel[0])[None]

    mel = mel_for(generator, 100)
    audio = feed(OverlapStream(run, generator.graph, 8, least), mel, [3])
    np.testing.assert_allclose(audio, generate(generator, mel), rtol=0, atol=tolerances.REFERENCE_MAX_ABS)
    assert all(length >= min(least, 8 * (index + 1)) for index, length in enumerate(lengths[:-1]))
    assert lengths[-1] >= least
    field = generator.graph.receptive_field
    assert max(lengths) <= max(least, field.left_frames + field.right_frames + 2) + 8


def test_advancing_together_equals_pushing_one_after_the_other(engine_name):
    generator = GENERATORS["type 1"]
    engine = load(engine_name, generator)
    lengths, sizes = (61, 40, 16, 3), (16, 3, 40, 0)
    mels = [mel_for(generator, frames, seed) for seed, frames in enumerate(lengths)]
    together, alone = ([engine.stream(16, generator.graph) for _ in mels] for _ in range(2))
    for turn in range(6):
        parts = []
        for index, mel in enumerate(mels):
            start = turn * sizes[(index + turn) % len(sizes)]
            parts.append(np.ascontiguousarray(mel[:, start : start + sizes[(index + turn) % len(sizes)]]))
        ending = [1, 3] if turn == 5 else []
        audios = engine.advance(together, parts, ending)
        for index, (stream, part, audio) in enumerate(zip(alone, parts, audios, strict=True)):
            expected = stream.push(part)
            if index in ending:
                expected = np.concatenate([expected, stream.finish()])
            if engine_name == "native":
                np.testing.assert_array_equal(audio, expected)
            else:
                np.testing.assert_allclose(audio, expected, rtol=0, atol=tolerances.STREAM_MAX_ABS)
    for first, second in zip(together[::2], alone[::2], strict=True):
        np.testing.assert_allclose(first.finish(), second.finish(), rtol=0, atol=tolerances.STREAM_MAX_ABS)
    for stream, part in zip(together[1::2], parts[1::2], strict=True):
        with pytest.raises(StreamFinished):
            stream.push(part)


def overlap_streams(generator, count, segment=8):
    return [
        OverlapStream(lambda mel: generate(generator, mel[0])[None], generator.graph, segment) for _ in range(count)
    ]


def computed(generator, calls):
    """What computes windows that are submitted together, in float64, as soon as their audio is waited for."""

    def submit(windows):
        calls.append(len(windows))
        copies = [window.mel.copy() for window in windows]
        return lambda: [generate(generator, window) for window in copies]

    return submit


@pytest.mark.parametrize(("at_once", "most"), [(8, 3), (2, 2), (1, 1)])
def test_windows_of_streams_at_different_places_are_computed_together(at_once, most):
    generator = GENERATORS["type 1"]
    mels = [mel_for(generator, frames, seed) for seed, frames in enumerate((24, 8, 7, 0, 40))]
    streams = overlap_streams(generator, 5)
    calls = []
    audios = push_together(streams, mels, computed(generator, calls), at_once)
    assert sum(calls) == 9  # segments that are complete: 3, 1, 0, 0 and 5
    assert max(calls) == most
    for stream, audio, mel in zip(streams, audios, mels, strict=True):
        whole = np.concatenate([audio, stream.finish()])
        expected = generate(generator, mel) if mel.shape[1] else np.empty(0)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=tolerances.REFERENCE_MAX_ABS)


def test_a_stream_that_cannot_take_frames_keeps_no_other_from_taking_its_own():
    generator = GENERATORS["type 1"]
    mel = mel_for(generator, 8)
    first, second = overlap_streams(generator, 2)
    second.finish()
    error, audio = push_together([second, first], [mel, mel], computed(generator, []), 2)
    assert isinstance(error, StreamFinished)
    whole = np.concatenate([audio, first.finish()])
    np.testing.assert_allclose(whole, generate(generator, mel), rtol=0, atol=tolerances.REFERENCE_MAX_ABS)


def test_an_engine_that_fails_breaks_all_streams_whose_frames_it_has_seen():
    generator = GENERATORS["type 1"]
    mel = mel_for(generator, 8)
    done, waiting, failing, untouched = streams = overlap_streams(generator, 4)
    calls = []

    def fail_in_the_third(windows):
        collect = computed(generator, calls)(windows)
        if len(calls) == 3:
            raise EngineError("no power")
        return collect

    with pytest.raises(EngineError, match="no power"):
        push_together(streams, [mel] * 4, fail_in_the_third, 1)
    for stream in (done, waiting, failing):
        with pytest.raises(StreamBroken):
            stream.push(mel)
        stream.reset()
    for stream in streams:
        assert stream.frames == 0
        assert len(stream.push(mel)) + len(stream.finish()) == generator.graph.output_length(8)
    assert untouched.frames == 8
