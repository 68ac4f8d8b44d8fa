"""The forms that rows come in, and what becomes of each: the worker alone, without a cluster."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

import hifigan_rt
from golden.tiny import TINY, tiny_mel
from hifigan_rt.engines.native import NativeEngine
from hifigan_rt.errors import DatasetError
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.cluster.dataset import RowRecipe, _packing
from hifigan_rt.tools.cluster.recipe import vocoder_recipe

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

assert TINY.mel is not None
RATE = TINY.mel.sample_rate
SAMPLES = np.random.default_rng(0).uniform(-0.5, 0.5, 3000).astype(np.float32)


def worker(**changes):
    from hifigan_rt.tools.cluster.rows import RowWorker

    defaults = {
        "column": "mel", "is_audio": False, "time_major": False, "resample": False, "mono": False, "sample_rate": None,
        "speaker": None, "conditioning": None, "speaker_column": None, "encoding": "float32",
    }  # fmt: skip
    vocoder = vocoder_recipe(resolve_model("model"), "auto", {"threads": 1})
    return RowWorker(RowRecipe(vocoder, **(defaults | changes)))


def made(rows, **changes):
    import pyarrow

    changes = {"column": "x", **changes}
    table = pyarrow.table({"x": rows, "id": list(range(len(rows)))})
    return worker(**changes).synthesize(_packing(changes["column"])(table)).to_pylist()


def wav(samples=SAMPLES, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, "FLOAT", format="WAV")
    return file.getvalue()


def test_every_form_of_a_recording(place):
    vocoder = hifigan_rt.load("model", threads=1)
    expected = vocoder(vocoder.mel(SAMPLES))
    (place / "clip.wav").write_bytes(wav())
    structs = [
        {"bytes": wav(), "path": None, "array": None, "sampling_rate": None},
        {"bytes": None, "path": str(place / "clip.wav"), "array": None, "sampling_rate": None},
        {"bytes": None, "path": "gone.wav", "array": SAMPLES.tolist(), "sampling_rate": RATE},
        {"bytes": None, "path": None, "array": None, "sampling_rate": None},
    ]
    *good, bad = made(structs, is_audio=True)
    for row in good + made([wav()], is_audio=True) + made([str(place / "clip.wav")], is_audio=True):
        np.testing.assert_array_equal(row["audio"], expected)
        assert row["error"] == ""
    assert (
        bad["error"]
        == "a struct of 'bytes', 'path', 'array', 'sampling_rate' holds no recording: bytes, array or path does"
    )
    [row] = made([SAMPLES.tolist()], is_audio=True, sample_rate=RATE)
    np.testing.assert_array_equal(row["audio"], expected)
    [row] = made([SAMPLES.tolist()], is_audio=True)
    assert "bare samples do not tell their sample rate: give sample_rate=" in row["error"]


def test_recordings_are_changed_only_as_allowed(place):
    stereo = np.stack([SAMPLES, SAMPLES], axis=1)
    [row] = made([wav(stereo)], is_audio=True)
    assert row["error"] == "the recording has 2 channels, and one is taken: mono=True averages them"
    assert made([wav(stereo)], is_audio=True, mono=True)[0]["error"] == ""
    [row] = made([wav(rate=2 * RATE)], is_audio=True)
    assert f"the recording has {2 * RATE} Hz and the model {RATE} Hz: resample=True converts it" in row["error"]
    assert made([wav(rate=2 * RATE)], is_audio=True, resample=True)[0]["frames"] == len(SAMPLES) // 2 // 8
    [row] = made([[0, 1, -1, 2] * 500], is_audio=True, sample_rate=RATE)
    assert row["error"] == "samples of dtype int64 are not float in [-1, 1]: divide 16-bit integers by 32768"
    assert made([[0.0, float("nan")]], is_audio=True, sample_rate=RATE)[0]["error"] == "the samples are not all finite"


@pytest.mark.parametrize("rate", [1, -8000, RATE + 0.5, float("nan"), 1 << 40, "8k"])
def test_samples_of_no_sample_rate_are_refused(place, rate):
    [row] = made([{"array": SAMPLES.tolist(), "sampling_rate": rate}], is_audio=True, resample=True)
    assert row["error"].startswith(f"samples have a sample rate of {rate!r}: it must be a whole number of Hz from 1000")


def test_tensors_of_pyarrow_keep_their_shape(place):
    import pyarrow

    vocoder = hifigan_rt.load("model", threads=1)
    mels = np.stack([tiny_mel(20), tiny_mel(20, seed=1), tiny_mel(20, seed=2)])
    tensors = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(mels)
    nothing = pyarrow.ExtensionArray.from_storage(tensors.type, pyarrow.nulls(1, tensors.type.storage_type))
    rows = made(pyarrow.chunked_array([tensors.slice(1, 2), nothing]))
    np.testing.assert_array_equal(rows[0]["audio"], vocoder(mels[1]))
    np.testing.assert_array_equal(rows[1]["audio"], vocoder(mels[2]))
    assert rows[2]["error"] == "the row has no 'x'"
    stereo = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(np.stack([np.stack([SAMPLES, SAMPLES])]))
    assert "has 2 channels" in made(stereo, is_audio=True, sample_rate=RATE)[0]["error"]


def test_ends_that_are_not_exact_are_told_of_each_row(place, monkeypatch):
    monkeypatch.setattr(NativeEngine, "inexact_tail_frames", lambda _, frames: 3 if frames < 10 else 0)
    texts = [row["warning"] for row in made([tiny_mel(8).tolist(), tiny_mel(12).tolist(), [[1.0]]])]
    assert texts[0] == (
        "a mel of 8 frames is shorter than the model takes: it is padded with silence, and its last 3 frames differ "
        "from the exact result"
    )
    assert texts[1:] == ["", ""]


def test_every_form_of_a_mel(place):
    vocoder = hifigan_rt.load("model", threads=1)
    mel = tiny_mel(20)
    for rows, changes in (
        ([mel.tolist()], {}), ([mel[None].tolist()], {}),
        ([mel.T.tolist()], {"time_major": True}), ([mel.T[None].tolist()], {"time_major": True}),
    ):  # fmt: skip
        [row] = made(rows, **changes)
        np.testing.assert_array_equal(row["audio"], vocoder(mel))
    ragged = mel.tolist()
    ragged[0].pop()
    rows = made([mel.tolist(), ragged, None, [[1.0]]])
    assert [bool(row["error"]) for row in rows] == [False, True, True, True]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert "no array of numbers" in rows[1]["error"]


@pytest.mark.parametrize(("encoding", "rate"), [("wav", RATE), ("flac", RATE), ("opus", 8000)])
def test_files_of_every_format(place, encoding, rate):
    [row] = made([tiny_mel(200).tolist()], encoding=encoding)
    samples, found = soundfile.read(io.BytesIO(row["audio"]))
    assert found == row["sample_rate"] == rate
    assert len(samples) == row["samples"]


def test_opus_of_another_rate_says_its_own(place, monkeypatch):
    from hifigan_rt.model.kinds import ModelFile

    monkeypatch.setattr(ModelFile, "known_sample_rate", lambda self: 22050)
    [row] = made([tiny_mel(200).tolist()], encoding="opus")
    assert (row["sample_rate"], row["samples"]) == (24000, round(200 * 8 * 24000 / 22050))


def test_a_column_that_is_missing_or_taken(place):
    import pyarrow

    with pytest.raises(DatasetError, match="the dataset has no column 'mel': it has x"):
        worker().synthesize(pyarrow.table({"x": [1]}))
    with pytest.raises(DatasetError, match="the dataset has a column 'error', which the result needs: rename it"):
        worker().synthesize(pyarrow.table({"mel": [1], "error": [1]}))
