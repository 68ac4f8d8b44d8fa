"""A model with several speakers: who is meant, per call, per item and per stream; and what is refused, and how."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

from golden.tiny import tiny_mel, write_tiny
from golden.tiny_speakers import ENGINE, LATENT, SPEAKERS, VECTORS_ALONE, write_speaking
from hifigan_rt import advance, load
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.speakers import SpeakerChoice
from hifigan_rt.errors import ConditioningError, ConfigError, HifiganError, MelError
from hifigan_rt.formats.onnx_graph import build_onnx
from tolerances import BATCH_MAX_ABS

G = 6
MEL = tiny_mel(20)
VECTOR = np.linspace(-1, 1, G).astype(np.float32)


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    with load(write_speaking(tmp_path_factory.mktemp("voice")), engine=ENGINE) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    with load(write_speaking(tmp_path_factory.mktemp("vectors"), VECTORS_ALONE), engine=ENGINE) as loaded:
        yield loaded


def test_names_numbers_and_rows_of_the_table_are_the_same(voice):
    table = voice.model.generator.speaker_table
    assert dict(voice.speakers) == SPEAKERS
    made = [voice(MEL, speaker=number) for number in range(4)]
    assert len({audio.tobytes() for audio in made}) == 4
    for name, number in SPEAKERS.items():
        for speaker in (name, number, np.int32(number), np.array(number), str(number)):
            np.testing.assert_array_equal(voice(MEL, speaker=speaker), made[number])
    for number in range(4):
        np.testing.assert_array_equal(voice(MEL, conditioning=table[number]), made[number])


@pytest.mark.parametrize(
    "given", [VECTOR, VECTOR.tolist(), VECTOR.astype(np.float64), VECTOR[None], VECTOR[:, None], VECTOR[None, :, None]]
)
def test_a_vector_in_any_form(vectors, given):
    np.testing.assert_array_equal(vectors(MEL, conditioning=given), vectors(MEL, conditioning=VECTOR))


@pytest.mark.parametrize("segment_frames", [None, 16])
def test_each_item_of_a_batch_and_of_a_list_has_its_own(voice, segment_frames):
    rows, names = [3, 0, 2], ["225", "anna", "bob"]
    table = voice.model.generator.speaker_table
    batch = np.stack([tiny_mel(20, seed) for seed in range(3)])
    listed = [tiny_mel(20 - seed, seed) for seed in range(3)]
    for mels in (batch, listed):
        wanted = [voice(mel, speaker=row, segment_frames=segment_frames) for mel, row in zip(mels, rows, strict=True)]
        ways = [{"speaker": way} for way in (rows, names, tuple(rows), np.array(names), np.array(rows)[:, None])]
        ways += [
            {"conditioning": way}
            for way in (table[rows], list(table[rows]), table[rows][:, None], table[rows][:, :, None])
        ]
        for way in ways:
            for audio, one in zip(voice(mels, **way, segment_frames=segment_frames), wanted, strict=True):
                np.testing.assert_array_equal(audio, one)
    both = voice(batch[:2], speaker="bob", segment_frames=segment_frames)
    np.testing.assert_array_equal(both[1], voice(batch[1], speaker=2, segment_frames=segment_frames))
    assert voice([], speaker="bob") == voice([], speaker=[]) == voice([], conditioning=VECTOR) == []


def test_streams_of_different_speakers_side_by_side(voice):
    mel = tiny_mel(70)
    asked = [{"speaker": "bob"}, {"speaker": 0}, {"conditioning": VECTOR}, {"speaker": "225"}]
    streams = [voice.stream(8, **way) for way in asked]
    parts = [advance(streams, [mel[:, start : start + 9]] * 4) for start in range(0, 70, 9)]
    for index, way in enumerate(asked):
        wanted = voice(mel, **way, segment_frames=8)
        audio = np.concatenate([*(part[index] for part in parts), streams[index].finish()])
        np.testing.assert_array_equal(audio, wanted)
        streams[index].reset()
        np.testing.assert_array_equal(np.concatenate([streams[index].push(mel), streams[index].finish()]), wanted)


def test_copies_and_pickles_speak_alike(voice):
    wanted = voice(MEL, speaker="bob")
    for other in (copy.copy(voice), pickle.loads(pickle.dumps(voice)), load(voice.model, engine=ENGINE)):
        np.testing.assert_array_equal(other(MEL, speaker="bob"), wanted)


WAYS = "give speaker=NUMBER from 0 to 3 or NAME, one of 'anna', 'bob', '225', or conditioning=VECTOR of 6 values"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, f"no speaker is named, and VOICE needs one: {WAYS}"),
        ({"speaker": "ana"}, f"speaker='ana' is not known to VOICE: {WAYS}; did you mean 'anna'?"),
        ({"speaker": 4}, f"speaker=4 is not known to VOICE: {WAYS}"),
        ({"speaker": np.array([4])}, f"speaker=4 is not known to VOICE: {WAYS}"),
        ({"speaker": 225}, f"speaker=225 is not known to VOICE: {WAYS}; speaker='225', a text, is a name"),
        ({"speaker": -1}, f"speaker=-1 is not known to VOICE: {WAYS}"),
        ({"speaker": True}, f"speaker=True is not known to VOICE: {WAYS}"),
        ({"speaker": 1.0}, f"speaker=1.0 is not known to VOICE: {WAYS}"),
        ({"speaker": "٣"}, f"speaker='٣' is not known to VOICE: {WAYS}"),
        ({"speaker": [1, 2]}, "2 speakers are given for 1 mel: give one for all, or one for each"),
        ({"speaker": 1, "conditioning": VECTOR}, "are both given, and each names a voice: give one of them"),
        ({"conditioning": VECTOR[:5]}, "conditioning has shape [5], and VOICE takes a vector [6] of float32"),
        ({"conditioning": np.stack([VECTOR] * 2)}, "conditioning has shape [2, 6], and VOICE takes a vector [6]"),
        ({"conditioning": VECTOR * np.nan}, "conditioning holds values that are NaN, infinite or beyond float32"),
        ({"conditioning": np.full(G, 1e300)}, "beyond float32"),
        (
            {"conditioning": "x.npy"},
            "the conditioning is text, 'x.npy': pass an array; numpy.load reads that of a file",
        ),
        ({"conditioning": ["a"] * G}, "its values must be floats"),
        ({"conditioning": {"g": VECTOR}}, "the conditioning is a dict with the keys 'g': pass one of its arrays"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(voice, given, told):
    told = told.replace("VOICE", voice.name)
    for call in (lambda: voice(MEL, **given), lambda: voice.stream(**given)):
        with pytest.raises(ConditioningError, match=re.escape(told)):
            call()


def test_a_batch_with_too_few(voice):
    with pytest.raises(ConditioningError, match="1 speaker is given for 2 mels"):
        voice(np.stack([MEL, MEL]), speaker=[1])
    with pytest.raises(
        ConditioningError, match=re.escape("takes a vector [6], or [2, 6], one for each mel, of float32")
    ):
        voice([MEL, MEL], conditioning=np.stack([VECTOR] * 3))


def test_a_model_without_and_one_with_vectors_alone(tmp_path, vectors):
    with load(write_tiny(tmp_path), engine=ENGINE) as plain:
        for given in ({"speaker": 0}, {"speaker": "anna"}, {"conditioning": VECTOR}):
            with pytest.raises(ConditioningError, match="has one voice and takes neither: leave it out"):
                plain(MEL, **given)
        assert (dict(plain.speakers), plain.speaker_choice.rule.is_needed) == ({}, False)
    with pytest.raises(ConditioningError, match="needs one: give conditioning=VECTOR of 6 values"):
        vectors(MEL)
    with pytest.raises(ConditioningError, match="has no table of speakers: give conditioning=VECTOR of 6 values"):
        vectors.stream(speaker=0)


def test_a_converted_file_has_its_table_inside(tmp_path, voice):
    generator = voice.model.generator
    onnx_file = build_onnx(generator, voice.model.mel_settings, speakers=SPEAKERS)
    (tmp_path / "voice.onnx").write_bytes(onnx_file.SerializeToString())
    mels = [MEL, MEL[:, :7]]
    with load(tmp_path / "voice.onnx", engine="onnxruntime") as converted:
        assert dict(converted.speakers) == SPEAKERS
        ours, theirs = (one(mels, speaker=["bob", 1]) for one in (voice, converted))
        for audio, wanted in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(audio, wanted, atol=BATCH_MAX_ABS)
        stream = converted.stream(speaker="225")
        audio = np.concatenate([stream.push(MEL), stream.finish()])
        np.testing.assert_allclose(audio, voice(MEL, speaker=3), atol=BATCH_MAX_ABS)
        with pytest.raises(ConditioningError, match="needs one: give speaker=NUMBER from 0 to 3 or NAME"):
            converted(MEL)
        with pytest.raises(ConditioningError, match="has its table of speakers inside: give speaker="):
            converted(MEL, conditioning=VECTOR)


def test_one_speaker_needs_no_choice_and_a_file_with_a_table_takes_no_vectors():
    one = SpeakerChoice("one", ConditioningRule(G, 1, takes_speakers=True, takes_vectors=True))
    np.testing.assert_array_equal(one.conditioning(None, None, 2), [0, 0])
    many = SpeakerChoice("many", ConditioningRule(0, 0, takes_speakers=True), {f"name {i}": i for i in range(9)})
    np.testing.assert_array_equal(many.conditioning(["name 8", 1000], None, 2), [8, 1000])
    with pytest.raises(ConditioningError, match=re.escape("give speaker=NUMBER or NAME, one of 'name 0', ")):
        many.conditioning(None, None, 1)
    with pytest.raises(ConditioningError, match="has its table of speakers inside"):
        many.conditioning(None, VECTOR, 1)


def test_latents_are_taken_and_recordings_are_not(tmp_path):
    latent = np.random.default_rng(0).standard_normal((10, 20)).astype(np.float32)
    with load(write_speaking(tmp_path, LATENT), engine=ENGINE) as decoder:
        audio = decoder(latent, speaker="bob")
        assert (audio.shape, decoder.sample_rate) == ((160,), 8000)
        with pytest.raises(ConfigError, match="takes latents, which another network computes, and no mels"):
            decoder.mel(audio)
        told = re.escape("the latent has 9 channels (shape [9, 20]), and this model takes 10")
        for call in (lambda: decoder(latent[:9], speaker=0), lambda: decoder.stream(speaker=0).push(latent[:9])):
            with pytest.raises(MelError, match=told):
                call()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_a_file_of_a_vector_that_is_none(tmp_path, content):
    from hifigan_rt.mel.files import read_vector_file

    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(ConditioningError, match=r"^conditioning file '.*v\.npy' "):
        read_vector_file(tmp_path / "v.npy")
    with pytest.raises(HifiganError):
        read_vector_file(tmp_path / "absent.npy")
