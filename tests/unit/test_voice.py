"""A voice speaks: the same samples as its whole file, streamed as at once, and only what it can."""

from __future__ import annotations

import copy
import pickle
import threading
from itertools import islice

import numpy as np
import pytest

import hifigan_rt
import tolerances
from golden.family_files import records, unpack
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.errors import (
    ConditioningError,
    ConfigError,
    EngineError,
    ModelFileError,
    SpeechError,
    UnknownSymbolWarning,
)
from voice_files import SETTINGS, noise_of, tiny_voice, whole_audio
from waiting import at_once

TEXT = "aaa a aa\n\n" * 3


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def voice(path):
    with hifigan_rt.load_voice(path, threads=1) as voice:
        yield voice


def ids_of(symbols):
    return [1, 0, *(number for symbol in symbols for number in ({"a": 3, " ": 4}[symbol], 0)), 2]


def test_each_sentence_is_what_the_whole_file_gives_with_the_same_noise(voice, path):
    pieces = []
    for number, symbols in enumerate(("aaa a aa", "a", "aa aa")):
        latents = [1, 6, 1]
        alone = voice(phonemes=symbols, seed=0)
        latents[2] = len(alone) // voice.hop_length
        noise = noise_of(5, number, [latents])
        pieces.append(whole_audio(path, ids_of(symbols), [0.5, 1.5, 0.3], noise, 2))
    audio = voice("aaa a aa\n\na\n\naa aa", speaker="cy", noise_scale=0.5, length_scale=1.5, noise_w_scale=0.3, seed=5)
    expected = np.concatenate(pieces)
    assert audio.shape == expected.shape
    assert snr_db(expected, audio) >= tolerances.VOICE_SNR_DB


@pytest.mark.parametrize("segment_frames", [None, 1, 7, 16, 256])
def test_a_stream_is_the_whole_bit_for_bit(voice, segment_frames):
    how = {"seed": 3, "segment_frames": segment_frames, "speaker": 1}
    pieces = list(voice.stream(TEXT, **how))
    assert len(pieces) > 2
    np.testing.assert_array_equal(np.concatenate(pieces), voice(TEXT, **how))


def test_the_seed_decides_the_noise(voice):
    assert np.array_equal(voice(TEXT, seed=1), voice(TEXT, seed=1))
    assert not np.array_equal(voice(TEXT, seed=1), voice(TEXT, seed=2))
    assert not np.array_equal(voice(TEXT), voice(TEXT))
    assert np.array_equal(voice(TEXT, noise_scale=0, noise_w_scale=0), voice(TEXT, noise_scale=0, noise_w_scale=0))


def test_voices_of_several_speakers(voice):
    assert dict(voice.speakers) == {"ada": 0, "bo": 1, "cy": 2}
    first = voice("a", seed=1)
    assert np.array_equal(first, voice("a", seed=1, speaker="ada"))
    assert np.array_equal(voice("a", seed=1, speaker=2), voice("a", seed=1, speaker="cy"))
    assert not np.array_equal(first, voice("a", seed=1, speaker=2))
    for wrong in (3, -1, "dee", 1.5):
        with pytest.raises(ConditioningError, match=r"is not known to .*: give speaker=NUMBER .* 'ada', 'bo', 'cy'$"):
            voice("a", speaker=wrong)


def test_silence_volume_and_peaks(voice):
    plain = voice("a\n\naa", seed=1)
    one, silence = len(voice("a", seed=1)), round(0.25 * voice.sample_rate)
    spaced = voice("a\n\naa", seed=1, sentence_silence=0.25)
    assert not spaced[one : one + silence].any()
    np.testing.assert_array_equal(np.delete(spaced, slice(one, one + silence)), plain)
    np.testing.assert_array_equal(voice("a\n\naa", seed=1, volume=0.5), plain * np.float32(0.5))
    assert np.abs(voice("a\n\naa", seed=1, volume=100)).max() == 1
    loud = voice("a\n\naa", seed=1, normalize=True)
    assert np.abs(loud[:one]).max() == np.abs(loud[one:]).max() == 1
    np.testing.assert_allclose(loud[:one], plain[:one] / np.abs(plain[:one]).max(), rtol=1e-6)


def test_text_phonemes_and_ids_are_the_same_sentence(voice):
    expected = voice("a aa", seed=4)
    np.testing.assert_array_equal(voice(phonemes="a aa", seed=4), expected)
    np.testing.assert_array_equal(voice(phonemes=list("a aa"), seed=4), expected)
    np.testing.assert_array_equal(voice(ids=ids_of("a aa"), seed=4), expected)
    np.testing.assert_array_equal(voice(ids=np.array(ids_of("a aa"), np.int32), seed=4), expected)


def test_unknown_symbols_are_left_out_and_told(voice):
    with pytest.warns(
        UnknownSymbolWarning, match=r"left out: 'b' \(U\+0062\), 'o' \(U\+006F\), .* \(U\+0308\)"
    ) as told:
        audio = voice("aböa", seed=4)
    assert told[0].filename == __file__
    np.testing.assert_array_equal(audio, voice("aa", seed=4))
    with pytest.warns(UnknownSymbolWarning):  # a sentence of which nothing is known is passed over
        np.testing.assert_array_equal(voice("bbb\n\naa", seed=4), voice("aa", seed=4))


def test_control_characters_are_spaces(voice):
    np.testing.assert_array_equal(voice("a\x00a\x1b\ud800a", seed=4), voice("a a  a", seed=4))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": " \n\t"}, "the text is empty"),
        ({"text": "..., !"}, "nothing of the text can be spoken: it has no words"),
        ({"text": "xyz"}, "nothing of the text can be spoken: .* has none of its symbols: 'x'"),
        ({"text": b"a"}, "the text is a bytes: pass a str"),
        ({}, "nothing is given: give text, phonemes or ids"),
        ({"text": "a", "phonemes": "a"}, "text and phonemes are given: give text, phonemes or ids"),
        ({"text": "a", "ids": [1]}, "text and ids are given"),
        ({"phonemes": ""}, "the phonemes are empty"),
        ({"phonemes": [1]}, "phonemes must be a str"),
        ({"ids": []}, "there are no ids"),
        ({"ids": [1.5]}, "pass whole numbers"),
        ({"ids": [0, 5]}, "id 5 is outside the voice's table of symbols: ids go from 0 to 4"),
        ({"ids": [-1]}, "id -1 is outside"),
        ({"ids": [0] * 5001}, "5001 phoneme ids is too long: at most 5000"),
        ({"text": "a", "length_scale": 0}, "length_scale=0 must be a number from 0.05 to 20"),
        ({"text": "a", "length_scale": float("nan")}, "length_scale=nan must be"),
        ({"text": "a", "noise_scale": float("inf")}, "noise_scale=inf must be a number from 0 to 2"),
        ({"text": "a", "noise_w_scale": -1}, "noise_w_scale=-1 must be"),
        ({"text": "a", "noise_scale": True}, "noise_scale=True must be"),
        ({"text": "a", "volume": float("nan")}, "volume=nan must be a number from 0 to 100"),
        ({"text": "a", "sentence_silence": -1}, "sentence_silence=-1 must be a number from 0 to 60"),
        ({"text": "a", "seed": -1}, "seed=-1 must be a whole number from 0"),
        ({"text": "a", "seed": 1.5}, "seed=1.5 must be"),
    ],
)
def test_what_cannot_be_spoken_is_refused(voice, given, told):
    text = given.pop("text", None)
    with pytest.raises(SpeechError, match=told):
        voice(text, **given)


def test_long_text_begins_at_once_and_its_stream_can_be_left(voice):
    before = threading.active_count()
    text = "aaa a aa\n\n" * 10_000
    pieces = voice.stream(text, seed=1)
    first = next(pieces)
    assert 0 < len(first) < 60 * voice.sample_rate
    rest = list(islice(pieces, 5))
    pieces.close()
    short = voice("aaa a aa\n\n" * 8, seed=1)
    told = np.concatenate([first, *rest])
    np.testing.assert_array_equal(told, short[: len(told)])
    assert threading.active_count() <= before + 1
    with pytest.raises(StopIteration):
        next(pieces)


def test_several_threads_speak_with_one_voice(voice):
    expected = voice(TEXT, seed=9)
    for audio in at_once(lambda _: voice(TEXT, seed=9), range(4)):
        np.testing.assert_array_equal(audio, expected)


def test_a_closed_voice_says_so(path):
    voice = hifigan_rt.load_voice(path)
    voice.close()
    voice.close()
    with pytest.raises(EngineError, match="closed"):
        voice("a")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [9]}}, "goes up to 9, and the voice has 5 symbols"),
        ({"num_speakers": 1}, "num_speakers is 1, and the voice has 3"),
        ({"default_speaker_id": 3}, "default_speaker_id is 3, and the voice has 3"),
        ({"phoneme_id_map": {"a": [3]}}, "phoneme_id_map lacks '_', '\\^', '\\$'|lacks '\\^', '\\$', '_'"),
        ({"phoneme_id_map": {"_": 0}}, "must be a list of whole numbers"),
        ({"phoneme_id_map": {"_": [], "^": [], "$": []}}, "phoneme_id_map has no ids for '\\^', '\\$'"),
        ({"phoneme_id_map": {"_": [1 << 70]}}, "must be a list of whole numbers"),
        ({"phoneme_type": "kana"}, "phoneme_type='kana' must be one of espeak, text"),
        ({"phoneme_type": "PhonemeType.KANA"}, "phoneme_type='PhonemeType.KANA' must be one of espeak, text"),
        ({"phoneme_type": "espeak"}, "espeak.voice='' must be the name of a language"),
        ({"phoneme_type": "espeak", "espeak": {"voice": "../x"}}, "espeak.voice='../x' must be"),
        ({"inference": {"length_scale": 0}}, "inference.length_scale=0 must be a number"),
        ({"inference": {"noise_w": "much"}}, "inference.noise_w='much' must be a number"),
        ({"inference": []}, "inference must be an object"),
    ],
)
def test_settings_of_another_voice_or_of_none_are_refused(tmp_path, changes, told):
    with pytest.raises(ConfigError, match=told):
        hifigan_rt.load_voice(tiny_voice(tmp_path, **changes))


def test_a_type_may_have_the_name_of_pipers_constant(tmp_path):
    """As in the published es_MX-ald-medium, which Piper 1.8 refuses."""
    path = tiny_voice(tmp_path, phoneme_type="PhonemeType.ESPEAK", espeak={"voice": "es-419"})
    with hifigan_rt.load_voice(path) as voice:
        assert (voice.settings.phoneme_type, voice.settings.language) == ("espeak", "es-419")


@pytest.mark.parametrize(("stated", "locale"), [("en_GB", "en_GB"), ({"code": "nl_BE"}, "nl_BE"), (None, ""), ([], "")])
def test_a_language_that_people_write_themselves_ends_no_voice(tmp_path, stated, locale):
    """Piper reads espeak.voice alone."""
    with hifigan_rt.load_voice(tiny_voice(tmp_path, language=stated)) as voice:
        assert voice.settings.locale == locale


def test_a_voice_without_settings_names_the_file_that_it_needs(tmp_path):
    path = tiny_voice(tmp_path)
    named = (tmp_path / "voice.onnx.json").rename(tmp_path / "other.json")
    with pytest.raises(ConfigError, match=r"no voice.onnx.json lies beside it.*config="):
        hifigan_rt.load_voice(path)
    (tmp_path / "voice.onnx.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"config '.*voice.onnx.json': it has no phoneme_id_map"):
        hifigan_rt.load_voice(path)
    with hifigan_rt.load_voice(path, config=named) as voice:
        assert voice.sample_rate == SETTINGS["audio"]["sample_rate"]


def test_what_is_no_whole_voice_names_what_is_missing(tmp_path):
    decoder = unpack(tmp_path, "piper_onnx", "newer exporter")
    with pytest.raises(ModelFileError, match="the text encoder is missing; its inputs are"):
        hifigan_rt.load_voice(decoder)
    checkpoint = unpack(tmp_path / "lightning", "piper", "medium")
    with pytest.raises(ModelFileError, match=r"is a checkpoint of a Piper voice.*export"):
        hifigan_rt.load_voice(checkpoint)
    vocoder = unpack(tmp_path / "vocoder", "transformers", dict(records())["transformers"][0])
    with pytest.raises(ModelFileError, match="is a vocoder, which takes mels: the text encoder is missing"):
        hifigan_rt.load_voice(vocoder)
    cut = tiny_voice(tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:-3000])
    with pytest.raises(ModelFileError):
        hifigan_rt.load_voice(cut)


@pytest.mark.pretrained
def test_a_known_vocoder_is_no_voice():
    with pytest.raises(ModelFileError, match="ljspeech-v1 is a vocoder, which takes mels: the text encoder is missing"):
        hifigan_rt.load_voice("ljspeech-v1")


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_voice_is_loaded_where_it_is_needed(voice, way):
    with pytest.raises(TypeError, match=r"^a voice can be neither pickled nor copied, .*: call load_voice where"):
        way(voice)
