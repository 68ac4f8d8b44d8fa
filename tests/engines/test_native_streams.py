"""Streams of the native engine: equal to the whole bit for bit, and every sample as soon as it is determined."""

import itertools

import numpy as np
import pytest

import tolerances
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.errors import StreamFinished
from native_generators import ISAS, V1_LIKE, V3_LIKE, lopsided, make_case, random_case, stream_all

PUSHES = ([1], [2], [7], [16], [32], [1000], [3, 1, 20, 5, 0, 11])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("config", [V1_LIKE, V3_LIKE])
@pytest.mark.parametrize("segment", [1, 5, 16, 64])
def test_a_stream_equals_the_whole(isa, config, segment):
    case = make_case(config, 41)
    engine = case.load(isa, segment_frames=segment, threads=2)
    whole = engine.run(case.mel[None])[0]
    for pushes in PUSHES:
        np.testing.assert_array_equal(stream_all(engine, case.mel, segment, pushes), whole)


@pytest.mark.parametrize("seed", range(200, 215))
def test_random_generators_stream_to_the_whole(seed):
    case = random_case(seed)
    for segment in (1, 3, 16):
        engine = case.load(segment_frames=segment)
        whole = engine.run(case.mel[None])[0]
        for pushes in ([1], [4, 0, 9], [1000]):
            np.testing.assert_array_equal(stream_all(engine, case.mel, segment, pushes), whole)


@pytest.mark.parametrize("config", [V1_LIKE, V3_LIKE])
def test_all_determined_samples_are_given_after_each_segment(config):
    case = make_case(config, 64)
    graph = case.generator.graph
    stream = case.load(segment_frames=8).stream(8)
    given = 0
    for frame in range(64):
        given += len(stream.push(np.ascontiguousarray(case.mel[:, frame : frame + 1])))
        computed = (frame + 1) // 8 * 8
        assert given == max(0, computed * graph.hop_length + graph.receptive_field.first_sample)
    assert given + len(stream.finish()) == graph.output_length(64)


@pytest.mark.parametrize("seed", range(300, 312))
def test_lengths_and_reach_are_those_of_the_graph(seed):
    """The core has rules of its own for what a segment determines, for graphs with padding on one side too."""
    case = lopsided(random_case(seed), seed) if seed % 2 else random_case(seed)
    graph, segment = case.generator.graph, 1 + seed % 5
    engine = case.load(segment_frames=segment)
    whole, stream, given = engine.run(case.mel[None])[0], engine.stream(segment), 0
    assert whole.shape == (graph.output_length(case.mel.shape[1]),)
    assert snr_db(case.truth(), whole) >= tolerances.NATIVE_SMALL_SNR_DB
    parts = []
    for frame in range(case.mel.shape[1]):
        parts.append(stream.push(case.mel[:, frame : frame + 1]))
        given += len(parts[-1])
        computed = (frame + 1) // segment * segment
        assert given == max(0, computed * graph.hop_length + graph.receptive_field.first_sample)
        assert given + stream.pending_samples == graph.output_length(frame + 1)
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), whole)


def test_segments_of_other_lengths_agree_to_rounding():
    case = make_case(V1_LIKE, 60)
    whole = case.load(segment_frames=64).run(case.mel[None])[0]
    engine = case.load(segment_frames=64)
    for segment in (1, 16, 33):
        assert snr_db(whole, stream_all(engine, case.mel, segment, [7])) >= tolerances.NATIVE_SMALL_SNR_DB


def test_streams_side_by_side_do_not_touch_each_other():
    case = make_case(V1_LIKE, 40)
    engine = case.load(segment_frames=8, threads=2)
    mels = [case.mel, np.ascontiguousarray(case.mel[:, ::-1])]
    streams = [engine.stream(8) for _ in mels]
    parts = [[], []]
    for start in range(0, 40, 5):
        for stream, mel, part in zip(streams, mels, parts, strict=True):
            part.append(stream.push(np.ascontiguousarray(mel[:, start : start + 5])))
    for stream, mel, part in zip(streams, mels, parts, strict=True):
        part.append(stream.finish())
        np.testing.assert_array_equal(np.concatenate(part), engine.run(mel[None])[0])


def test_a_stream_outlives_the_name_of_its_generator():
    case = make_case(V3_LIKE, 20)
    expected = case.load(segment_frames=4).run(case.mel[None])[0]
    stream = case.load(segment_frames=4).stream(4)
    np.testing.assert_array_equal(np.concatenate([stream.push(case.mel), stream.finish()]), expected)


@pytest.mark.parametrize("segment", [4, 16])
def test_slices_are_read_where_they_lie(segment):
    case = make_case(V3_LIKE, 41)
    engine = case.load(segment_frames=segment)
    whole, stream = engine.run(case.mel[None])[0], engine.stream(segment)
    upside_down = np.ascontiguousarray(case.mel[::-1])[::-1]
    parts = [stream.push(case.mel[:, :7]), stream.push(case.mel[:, 7:30]), stream.push(upside_down[:, 30:])]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), whole)


def test_the_count_of_frames_and_what_is_left():
    case = make_case(V3_LIKE, 30)
    stream, samples = case.load().stream(4), 0
    for size in (1, 0, 6, 4):
        samples += len(stream.push(case.mel[:, :size]))
        assert samples + stream.pending_samples == case.generator.graph.hop_length * stream.frames
    assert len(stream.finish()) + samples == 11 * case.generator.graph.hop_length
    assert stream.pending_samples == 0


def test_nothing_in_nothing_out():
    case = make_case(V3_LIKE, 1)
    stream = case.load().stream(4)
    assert len(stream.push(np.ascontiguousarray(case.mel[:, :0]))) == 0
    assert len(stream.finish()) == 0


def test_a_finished_stream_takes_no_more():
    case = make_case(V3_LIKE, 6)
    for pushes in ([], [case.mel]):
        stream = case.load().stream(4)
        for mel in pushes:
            stream.push(mel)
        stream.finish()
        for call in (stream.finish, lambda s=stream: s.push(case.mel)):
            with pytest.raises(StreamFinished):
                call()


def test_pushes_of_a_wrong_kind_are_refused():
    case = make_case(V3_LIKE, 6)
    stream = case.load().stream(4)
    wrong = [case.mel.astype(np.float64), case.mel[None], case.mel[:, ::2], case.mel.T]
    for mel, error in itertools.zip_longest(wrong, [TypeError] * 4):
        with pytest.raises(error):
            stream.push(mel)
    with pytest.raises(ValueError, match="bands"):
        stream.push(np.zeros((3, 4), np.float32))
    # None of that has touched the stream.
    parts = [stream.push(case.mel), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), case.load(segment_frames=4).run(case.mel[None])[0])
