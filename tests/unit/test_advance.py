"""`advance`: many streams in one call, of which each is as if it were alone."""

import re
import typing
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import TINY, tiny_generator, tiny_mel, write_tiny
from hifigan_rt import streaming
from hifigan_rt.config import MelConfig, ModelConfig
from hifigan_rt.errors import EngineError, MelError, StreamFinished, StreamsFailed
from hifigan_rt.mel.check import CONVENTION_FRAMES
from hifigan_rt.mel.padding import flat_frames, may_have_flat_frames
from hifigan_rt.model.kinds import Weights

GRAPH = tiny_generator().graph


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="native") as loaded:
        yield loaded


def test_advance_gives_what_pushes_give(tmp_path):
    path = write_tiny(tmp_path)
    vocoders = [hifigan_rt.load(path, engine=engine) for engine in ("native", "reference")]
    mels = [tiny_mel(40), tiny_mel(23), tiny_mel(16), tiny_mel(5)[:, :0]]
    streams, others = ([vocoders[index % 2].stream(8) for index in range(4)] for _ in range(2))
    audios = hifigan_rt.advance(streams, mels)
    assert isinstance(audios, list)
    for audio, other, mel in zip(audios, others, mels, strict=True):
        np.testing.assert_allclose(audio, other.push(mel), rtol=0, atol=1e-12)


def test_advance_gives_an_array_for_an_array_if_all_give_as_much(vocoder):
    mel = np.stack([tiny_mel(16)] * 3)
    streams = [vocoder.stream(8) for _ in range(3)]
    audio = hifigan_rt.advance(streams, mel)
    assert isinstance(audio, np.ndarray)
    np.testing.assert_array_equal(audio[0], vocoder.stream(8).push(mel[0]))
    assert hifigan_rt.advance(streams, list(mel))[0].shape == (16 * GRAPH.hop_length,)
    streams[0].push(mel[0][:, :3])
    assert isinstance(hifigan_rt.advance(streams, mel[:, :, :5]), list)
    assert hifigan_rt.advance([], []) == []


def test_type_checkers_know_that_a_list_gives_a_list():
    kinds = [typing.get_type_hints(one) for one in typing.get_overloads(hifigan_rt.advance)]
    assert [kind["return"] for kind in kinds if kind["mels"] != np.ndarray] == [list[np.ndarray]]


def test_a_stream_that_fails_alone_takes_nothing_from_the_others(vocoder):
    mels = [tiny_mel(24, seed) for seed in range(3)]
    streams = [vocoder.stream(8) for _ in mels]
    streams[1].finish()
    with pytest.raises(StreamsFailed, match=r"^1 of 3 streams failed, stream 1 since the stream is finished") as failed:
        hifigan_rt.advance(streams, mels)
    outcomes = failed.value.outcomes
    assert isinstance(outcomes[1], StreamFinished)
    for index in (0, 2):
        audio = np.concatenate([outcomes[index], streams[index].finish()])
        np.testing.assert_array_equal(audio, vocoder(mels[index], segment_frames=8))


def test_an_engine_that_fails_takes_nothing_from_the_streams_of_another(tmp_path, monkeypatch):
    path = write_tiny(tmp_path)
    well, failing = (hifigan_rt.load(path, engine=engine) for engine in ("native", "reference"))
    mel = tiny_mel(24)

    def fail(*arguments):
        raise EngineError("no power")

    monkeypatch.setattr(failing._engine, "advance", fail)
    streams = [failing.stream(8), well.stream(8)]
    with pytest.raises(StreamsFailed, match=r"^1 of 2 streams failed, stream 0 since no power") as failed:
        hifigan_rt.advance(streams, [mel, mel])
    audio = np.concatenate([failed.value.outcomes[1], streams[1].finish()])
    np.testing.assert_array_equal(audio, well(mel, segment_frames=8))
    with pytest.raises(EngineError, match=r"^no power"):
        hifigan_rt.advance(streams[:1], [mel])


@pytest.mark.parametrize("streams", [[1], 3, "ab", None])
def test_advance_of_what_are_no_streams(streams):
    with pytest.raises(EngineError, match=r"stream 0 is a \w+: give a list of what vocoder.stream\(\) returned"):
        hifigan_rt.advance(streams, [tiny_mel(3)])


def test_frames_that_come_again_after_a_refusal_are_watched_once(vocoder):
    """Two flat frames are padding, and one that comes twice is not."""
    flat = np.full((tiny_mel(1).shape[0], 1), 0.5, np.float32)
    streams = [vocoder.stream(8) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MelError, match="finite"):
            hifigan_rt.advance(streams, [flat, flat * np.nan])
        hifigan_rt.advance(streams, [flat, flat])
    with pytest.warns(hifigan_rt.MelConventionWarning, match="padding"):
        hifigan_rt.advance(streams, [flat, flat])


@pytest.mark.parametrize("as_array", [False, True])
def test_padding_is_noticed_in_frames_that_are_checked_together(vocoder, as_array):
    mel = tiny_mel(3 * CONVENTION_FRAMES)
    streams = [vocoder.stream(8) for _ in range(3)]
    for stream in streams:
        stream.push(mel)
    pushed = [mel[:, at : at + 8].copy() for at in (0, 8, 16)]
    pushed[1][:, 3:6] = 0.5
    with pytest.warns(hifigan_rt.MelConventionWarning, match="0.5 in every band") as told:
        hifigan_rt.advance(streams, np.stack(pushed) if as_array else pushed)
    assert len(told) == 1
    first, last = len(mel[0]) + 3, len(mel[0]) + 5
    assert f"frames {first} to {last}" in str(told[0].message)


def test_no_flat_frame_is_passed_over():
    rng = np.random.default_rng(0)
    mels = rng.uniform(-11, 2, (300, 80, 4)).astype(np.float32)
    for mel in mels[::2]:
        value = rng.uniform(-100, 100)
        mel[:, rng.integers(4)] = value + rng.uniform(-4e-4, 4e-4, 80)
    config = MelConfig(22050, 1024, 1024, 256, 80)
    found = [flat_frames(mel, config) is not None for mel in mels]
    assert 100 < sum(found) <= 150
    assert may_have_flat_frames(mels)[found].all()
    assert not may_have_flat_frames(mels).all()


def test_a_stream_that_would_be_too_long_is_named(vocoder, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_FRAMES", 10)
    streams = [vocoder.stream(8) for _ in range(2)]
    streams[1].push(tiny_mel(8))
    for mels in ([tiny_mel(4)] * 2, np.stack([tiny_mel(4)] * 2)):
        with pytest.raises(MelError, match="item 1 of the list: the stream would have more than 10 frames"):
            hifigan_rt.advance(streams, mels)


def test_the_values_of_a_dictionary_are_a_list_of_mels(vocoder):
    mel = tiny_mel(8)
    audios = hifigan_rt.advance([vocoder.stream(8) for _ in range(2)], {"a": mel, "b": mel.copy()}.values())
    np.testing.assert_array_equal(*audios)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(), (10,), (10, 8), (1, 1, 10, 8)])
def test_tensors_of_another_shape_are_told_it(vocoder, torch, shape):
    with pytest.raises(MelError, match=re.escape(f"frames are of shape {list(shape)}: [B, M, F] is needed")):
        hifigan_rt.advance([vocoder.stream(8)], torch.zeros(shape))


def test_what_advance_refuses_changes_no_stream(vocoder):
    mel = tiny_mel(16)
    streams = [vocoder.stream(8) for _ in range(2)]
    for wrong, error, text in (
        ((streams, [mel]), MelError, "1 mels are given for 2 streams"),
        ((streams, mel), MelError, r"\[B, M, F\] is needed"),
        ((streams, [mel, mel * np.nan]), MelError, "item 1 of the list: .* finite"),
        ((streams, [mel.T, mel]), MelError, "item 0 of the list: .* time-major"),
        ((streams, iter([mel, mel])), MelError, "the mels are a list_iterator: pass an array"),
        ((streams, {"a": mel, "b": mel}), MelError, "the mels are a dict: pass an array"),
        ((streams, {1, 2}), MelError, "the mels are a set: pass an array"),
        (([streams[0], streams[0]], [mel, mel]), EngineError, "a stream is named twice"),
        ((streams[0], [mel]), EngineError, "streams is one Stream: give a list of them"),
    ):
        with pytest.raises(error, match=text):
            hifigan_rt.advance(*wrong)
    assert [stream.pending_samples for stream in streams] == [0, 0]
    vocoder.close()
    with pytest.raises(EngineError, match="closed"):
        hifigan_rt.advance(streams, [mel, mel])


def test_latents_are_called_so_by_advance_as_by_a_push():
    decoder = tiny_generator(ModelConfig(replace(TINY.generator, input_kind="latent")))
    stream = hifigan_rt.load(Weights("decoder", Path("none"), "none", decoder)).stream()
    wrong = np.zeros((9, 4), np.float32)
    for push in (stream.push, lambda latent: hifigan_rt.advance([stream], latent[None])):
        with pytest.raises(MelError, match=r"^the latent has"):
            push(wrong)
    with pytest.raises(MelError, match=r"^item 0 of the list: the latent has"):
        hifigan_rt.advance([stream], [wrong])
