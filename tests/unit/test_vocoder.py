import hashlib
import importlib.util
import json
from collections import UserDict, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import TINY, tiny_generator, tiny_mel, write_tiny
from hifigan_rt.engines import choose_engine, why_unavailable
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import (
    AudioError,
    AudioTooShort,
    ConfigError,
    EngineError,
    EngineUnavailable,
    MelConventionWarning,
    MelError,
    ModelNotFound,
)
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.model.resolve import resolve_model


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="reference") as loaded:
        yield loaded


def expected(mel):
    return generate(tiny_generator(), mel).astype(np.float32)


def test_one_mel(vocoder):
    mel = tiny_mel(9)
    audio = vocoder(mel)
    assert (audio.shape, audio.dtype) == ((72,), np.float32)
    np.testing.assert_array_equal(audio, expected(mel))


def test_a_batch(vocoder):
    mels = np.stack([tiny_mel(5, seed) for seed in range(3)])
    audio = vocoder(mels)
    assert audio.shape == (3, 40)
    for item, mel in zip(audio, mels, strict=True):
        np.testing.assert_array_equal(item, expected(mel))


@pytest.mark.parametrize("kind", [list, tuple])
def test_unequal_mels_each_come_out_as_alone(vocoder, kind):
    mels = kind([tiny_mel(7, 1), tiny_mel(1, 2), tiny_mel(20, 3)])
    audios = vocoder(mels)
    assert [len(audio) for audio in audios] == [56, 8, 160]
    for audio, mel in zip(audios, mels, strict=True):
        np.testing.assert_array_equal(audio, expected(mel))


@pytest.mark.parametrize("rows", [np.ndarray.tolist, list, tuple, lambda mel: tuple(map(tuple, mel.tolist()))])
def test_a_list_of_rows_is_one_mel(vocoder, rows):
    mel = tiny_mel(9)
    np.testing.assert_array_equal(vocoder(rows(mel)), expected(mel))
    (alone,) = vocoder([mel.tolist()])
    np.testing.assert_array_equal(alone, expected(mel))


@pytest.mark.parametrize(
    ("mel", "text"),
    [
        ([[0.0] * 9] * 9, r"9 bands"),
        ([[0.0] * 10] * 9, r"time-major: pass mel\.T"),
        ([[0.0] * 9] * 9 + [[0.0] * 8], "the mel, a list, cannot be made an array"),
        ([[0.0], "text"], r"item 0 of the list: the mel has shape \[1\]"),
        ([tiny_mel(3), tiny_mel(3)[:9]], "item 1 of the list: the mel has 9 bands"),
        ((tiny_mel(3), 22050), "item 1 of the list: the mel has dtype int64"),
        ([0.0, 1.0], r"item 0 of the list: the mel has shape \[\]"),
        ([[], []], r"\[2, 0\]"),
        ((row for row in tiny_mel(3)), "the mel is a generator"),
        ({"mel": tiny_mel(3)}, "a dict with the keys 'mel'"),
        ("mel.npy", "the mel is text"),
        (Path("mel.npy"), "the mel is a path, 'mel.npy'"),
        (map(np.asarray, [tiny_mel(3)]), r"a map, which gives its items once: pass list\(...\) of it"),
        ({1, 2}, "a set, which has no order: pass a list"),
        ({"a": tiny_mel(3)}.values(), r"a dict_values: pass list\(...\) of it"),
        (UserDict(mel=tiny_mel(3)), "a UserDict with the keys 'mel'"),
        (deque([tiny_mel(3), tiny_mel(4)]), r"a deque, cannot be made an array .*: pass list\(...\) of it"),
        (np.array([tiny_mel(3), None], object), r"dtype object: if it holds several mels, pass list\(mel\)"),
        ([tiny_mel(3), (row for row in tiny_mel(3))], "item 1 of the list: the mel is a generator"),
        ([tiny_mel(3), None], "item 1 of the list: the mel is a NoneType"),
        ([tiny_mel(3), np.full((10, 4), np.nan)], "item 1 of the list: the mel holds 40 values that are NaN"),
    ],
)
def test_what_is_no_mel_is_told_as_such(vocoder, mel, text):
    with pytest.raises(MelError, match=text):
        vocoder(mel)


def test_which_item_of_a_list_looks_like_another_convention(vocoder):
    mel = tiny_mel(40)
    padded = np.where(np.arange(40) < 20, mel, np.float32(0))
    with pytest.warns(MelConventionWarning, match="item 1 of the list: the mel's frames 20 to 39 are all 0") as caught:
        vocoder([mel, padded, mel])
    assert len(caught) == 1


def test_an_empty_list_gives_an_empty_list(vocoder):
    assert vocoder([]) == []


def test_a_list_of_batches_is_refused(vocoder):
    with pytest.raises(MelError, match=r"item 1 of the list: the mel has shape \[2, 10, 3\], and \[M, T\] is needed"):
        vocoder([tiny_mel(3), np.stack([tiny_mel(3)] * 2)])


def test_items_of_a_list_may_have_dimensions_of_one_around_and_within(vocoder):
    mel = tiny_mel(3)
    for audio in vocoder([mel[None], mel[:, :, None], mel[:, None], mel[None, None], mel[None, :, None]]):
        np.testing.assert_array_equal(audio, vocoder(mel))


def test_audio_beyond_the_memory_is_refused_in_words(vocoder, monkeypatch):
    """4 bytes for each of 8 samples per frame."""
    monkeypatch.setattr("hifigan_rt.engines.size_check.physical_memory", lambda: 2560)
    assert vocoder(np.stack([tiny_mel(40)] * 2)).size == 640
    told = r"mels of 81 frames in all give .* GB of audio, and this machine has .* GB of memory: split them, or use a"
    for mels in ([tiny_mel(40), tiny_mel(41)], np.stack([tiny_mel(27)] * 3)):
        with pytest.raises(MelError, match=told):
            vocoder(mels)


def test_what_it_says_of_itself(vocoder):
    assert vocoder.sample_rate == 8000
    assert vocoder.hop_length == 8
    assert vocoder.num_mels == 10
    assert vocoder.mel_config == TINY.mel
    assert vocoder.output_length(3) == 24
    assert vocoder.engine_info.name == "reference"
    assert vocoder.graph.config == TINY.generator
    assert repr(vocoder) == f"<Vocoder {vocoder.name!r} on reference>"


def test_copy_synthesis(vocoder):
    mel = vocoder.mel(np.sin(np.arange(801) / 5).astype(np.float32))
    assert mel.shape == (10, 100)
    assert vocoder(mel).shape == (800,)


def test_audio_that_is_no_recording(vocoder):
    with pytest.raises(AudioTooShort):
        vocoder.mel(np.zeros(3, np.float32))
    with pytest.raises(AudioError):
        vocoder.mel(np.full(400, np.nan, np.float32))


def test_no_frames(vocoder):
    with pytest.raises(MelError, match="it holds no frames"):
        vocoder(np.zeros((10, 0), np.float32))


def test_closing_twice_is_allowed_and_calling_then_is_not(tmp_path):
    vocoder = hifigan_rt.load(write_tiny(tmp_path), engine="reference")
    vocoder.close()
    vocoder.close()
    with pytest.raises(EngineError, match="engine 'reference' is closed: load the model again"):
        vocoder(tiny_mel(3))


def test_a_model_is_read_and_digested_once(tmp_path):
    path = write_tiny(tmp_path)
    model = resolve_model(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.sha256 == digest
    path.unlink()
    with hifigan_rt.load(model, engine="reference") as vocoder:
        assert vocoder.model is model
        np.testing.assert_array_equal(vocoder(tiny_mel(4)), expected(tiny_mel(4)))
    with hifigan_rt.load(vocoder.model, engine="native") as vocoder:
        assert vocoder.model.sha256 == digest
    with pytest.raises(ConfigError, match=r"config='v1': .* is read already, with the config that it has"):
        hifigan_rt.load(model, config="v1")


def test_without_mel_settings_it_still_synthesises(tmp_path):
    path = write_tiny(tmp_path)
    fields = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        fields.replace("sampling_rate", "x").replace("n_fft", "y").replace("win_size", "z").replace("hop_size", "w")
        .replace("fmin", "v").replace("fmax", "u")
    )  # fmt: skip
    with hifigan_rt.load(path, engine="reference") as vocoder:
        assert vocoder(tiny_mel(3)).shape == (24,)
        with pytest.raises(ConfigError, match="the sample rate must be known, and weights do not tell"):
            _ = vocoder.sample_rate
        with pytest.raises(ConfigError, match="the mel settings must be known"):
            vocoder.mel(np.zeros(1000, np.float32))


def test_arguments_of_another_type(tmp_path):
    path = write_tiny(tmp_path)
    for threads in (1.5, "2", True):
        with pytest.raises(EngineError, match=r"threads=.* must be a whole number"):
            hifigan_rt.load(path, threads=threads)
    for model in (3, None):
        with pytest.raises(ModelNotFound, match="give a path, or a name as ljspeech-v1"):
            hifigan_rt.load(model)
    with hifigan_rt.load(path, threads=np.int64(1)) as vocoder:
        for frames in (1.5, "2", True):
            for call in (lambda n: vocoder(tiny_mel(9), segment_frames=n), lambda n: vocoder.stream(segment_frames=n)):
                with pytest.raises(EngineError, match=r"segment_frames=.* must be a whole number"):
                    call(frames)
        for frames in (1.5, True):
            with pytest.raises(MelError, match=rf"a mel of {frames} frames"):
                vocoder.output_length(frames)


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (
            {"config": {"num_mels": 80}},
            ConfigError,
            "is a dict: give the path .* write a dict to a file first",
        ),
        ({"config": 5}, ConfigError, r"config=5 is a int: give the path of a config.json, or a preset \(v1"),
        ({"config": ""}, ConfigError, "config='' is an empty text"),
        ({"weights_at": 3}, ConfigError, "weights_at=3 is a int: give a text"),
        ({"family": []}, ConfigError, r"family=\[\] is a list"),
        ({"engine": None}, EngineError, "engine=None is a NoneType: choose one of the texts auto, native"),
        ({"engine": []}, EngineError, r"engine=\[\] is a list"),
        ({"settings": [1]}, EngineError, r"settings=\[1\] is a list: give a dict"),
        (
            {"segment_frames": 8, "settings": {"segment_frames": "9"}},
            EngineError,
            "segment_frames is given by itself, 8, and among the settings, '9': give one",
        ),
        ({"settings": {1: "x"}}, EngineError, "a setting has the name 1, a int"),
        ({"plan": 3}, EngineError, "plan=3 is a int: give a dict of algorithms"),
        ({"device": 0}, EngineError, "device=0 is a int: give its name"),
        ({"precision": None}, EngineError, "precision=None is a NoneType"),
        ({"segment_frames": True}, EngineError, "segment_frames=True .* give a whole number"),
        ({"execution_provider": 3, "engine": "onnxruntime"}, EngineError, "execution_provider=3 is a int"),
    ],
)
def test_options_of_another_type_are_told_in_words(tmp_path, given, kind, text):
    with pytest.raises(kind, match=text):
        hifigan_rt.load(write_tiny(tmp_path), **given)


def test_an_empty_name_is_no_folder():
    with pytest.raises(ModelNotFound, match="model '' is an empty text"):
        hifigan_rt.load("")


def test_an_item_that_the_layers_do_not_take_is_told_by_its_index(tmp_path):
    config = replace(TINY.generator, padding_mode="reflect")
    path = write_tiny(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(replace(TINY, generator=config))))
    with hifigan_rt.load(path, engine="reference") as vocoder:
        least = vocoder.engine.least_frames
        assert least > 1
        with pytest.raises(MelError, match=rf"item 1 of the list: mel has T={least - 1} frames: the layers"):
            vocoder([tiny_mel(20), tiny_mel(least - 1)])


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_absurd_threads(tmp_path, threads):
    with pytest.raises(EngineError, match=f"threads={threads} must be from 1 to 1024"):
        hifigan_rt.load(write_tiny(tmp_path), threads=threads)


def test_a_misspelt_engine_is_answered_before_anything_is_read():
    with pytest.raises(EngineError) as caught:
        hifigan_rt.load("no such model", engine="onxruntime")
    assert "did you mean 'onnxruntime'?" in str(caught.value)


def test_an_engine_whose_package_is_absent_names_the_command(monkeypatch):
    find = importlib.util.find_spec
    own = "hifigan_rt."  # the compiled module, which is no package of others
    monkeypatch.setattr("importlib.util.find_spec", lambda name: find(name) if name.startswith(own) else None)
    assert why_unavailable("reference") is None
    with pytest.raises(EngineUnavailable) as caught:
        choose_engine("onnxruntime")
    assert "pip install 'hifigan-rt[onnx]' (from a clone: pip install '.[onnx]')" in str(caught.value)
    assert choose_engine("auto") == "native"
    with pytest.raises(EngineUnavailable, match="pip install"):
        choose_engine("auto", OnnxFile)


def test_the_automatic_choice_goes_by_what_the_model_is():
    assert choose_engine("auto") == "native"
    assert choose_engine("auto", OnnxFile) == "onnxruntime"


def test_the_automatic_choice_goes_by_the_settings():
    assert choose_engine("auto", settings=["plan", "segment_frames"]) == "native"
    assert choose_engine("auto", settings=["execution_provider"]) == "onnxruntime"
    with pytest.raises(EngineError, match="no engine that runs checkpoints has the settings plan, hint: 'hifigan engi"):
        choose_engine("auto", settings=["plan", "hint"])


def test_a_setting_of_another_engine_is_refused(tmp_path):
    with pytest.raises(EngineError, match="engine 'reference' has no setting 'segment_frames': it has none"):
        hifigan_rt.load(write_tiny(tmp_path), engine="reference", segment_frames=16)
    with pytest.raises(EngineError, match="setting segment_frames='few' of engine 'native': give a whole number"):
        hifigan_rt.load(write_tiny(tmp_path), engine="native", settings={"segment_frames": "few"})


def test_reference_is_never_chosen_by_itself():
    assert choose_engine("auto") != "reference"
