"""`synthesize_dataset` on a real cluster: any dataset in, the samples of one machine out, bad rows as rows."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

import hifigan_rt
from golden.tiny import TINY, tiny_mel
from hifigan_rt.audio import to_pcm16
from hifigan_rt.errors import ClusterError, ConditioningError, DatasetError, EngineError, OutputError

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

MELS = [tiny_mel(frames, seed=frames) for frames in (30, 7, 30, 55)]


def test_mels_and_bad_rows(place, connected, monkeypatch):
    import ray.data

    # The order that docs/ray.md tells how to keep; as it is, the first worker to finish comes first.
    monkeypatch.setattr(ray.data.DataContext.get_current().execution_options, "preserve_order", True)
    rows = [{"name": f"r{index}", "mel": mel} for index, mel in enumerate(MELS)]
    rows += [{"name": "bands", "mel": np.zeros((3, 8), np.float32)}, {"name": "nan", "mel": MELS[0] * np.nan}]
    made = hifigan_rt.synthesize_dataset(ray.data.from_items(rows), model="model", batch_size=3).take_all()
    assert [row["name"] for row in made] == [row["name"] for row in rows]
    vocoder = hifigan_rt.load("model", threads=1)
    for row, mel in zip(made, MELS, strict=False):
        np.testing.assert_array_equal(row["audio"], vocoder(mel))
        assert (row["sample_rate"], row["samples"], row["frames"]) == (8000, mel.shape[1] * 8, mel.shape[1])
        assert row["error"] == ""
    assert ["10" in made[4]["error"], "finite" in made[5]["error"]] == [True, True]
    assert [len(row["audio"]) for row in made[4:]] == [0, 0]


def test_blocks_of_different_types_are_joined(place, connected):
    import ray.data

    mel = MELS[0]
    forms = [mel, mel.astype(np.float64), mel.tolist(), None, mel[None], mel.astype(np.float16), mel.astype(int)]
    rows = [{"id": index, "mel": form} for index, form in enumerate(forms)]
    dataset = ray.data.from_items([*rows, {"id": len(forms)}], override_num_blocks=len(forms) + 1)
    made = hifigan_rt.synthesize_dataset(dataset, model="model", workers=1).take_all()
    made.sort(key=lambda row: row["id"])
    audio = hifigan_rt.load("model", threads=1)(mel)
    for index in (0, 1, 2, 4):
        np.testing.assert_array_equal(made[index]["audio"], audio)
    assert made[5]["samples"] == len(audio)
    errors = [row["error"] for row in made]
    assert [errors[index] for index in (0, 1, 2, 4, 5)] == [""] * 5
    assert errors[3] == errors[7] == "the row has no 'mel'"
    assert "dtype int64" in errors[6]


def test_recordings_to_files(place, connected):
    import ray.data

    content = (place / "in/sub0/c0.wav").read_bytes()
    samples, rate = soundfile.read(place / "in/sub0/c0.wav", dtype="float32")
    assert TINY.mel is not None
    rows = [content, b"no recording", None, (place / "in/sub0/c0.wav").read_bytes()]
    dataset = ray.data.from_items([{"id": index, "speech": row} for index, row in enumerate(rows)])
    made = hifigan_rt.synthesize_dataset(dataset, model="model", audio_column="speech", encoding="flac").take_all()
    made.sort(key=lambda row: row["id"])  # Ray keeps no order unless it is asked to
    vocoder = hifigan_rt.load("model", threads=1)
    expected = vocoder(vocoder.mel(samples))
    (place / "made.flac").write_bytes(made[0]["audio"])
    pcm, made_rate = soundfile.read(place / "made.flac", dtype="int16")
    assert made_rate == rate == TINY.mel.sample_rate
    np.testing.assert_array_equal(pcm, to_pcm16(expected)[0])
    assert made[3]["audio"] == made[0]["audio"]
    assert (made[0]["sample_rate"], made[0]["samples"], made[1]["samples"]) == (rate, len(pcm), 0)
    assert made[1]["error"].startswith("the audio stream")
    assert made[2]["error"] == "the row has no 'speech'"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"mel_column": "a", "audio_column": "b"}, DatasetError, "mel_column='a' and audio_column='b': name one of"),
        ({"encoding": "mp3"}, OutputError, "encoding='mp3' is not known"),
        ({"speaker": 1, "speaker_column": "who"}, ConditioningError, "speaker=1 and speaker_column='who'"),
        ({"conditioning": np.zeros(4), "speaker_column": "who"}, ConditioningError, "conditioning and speaker_column="),
        ({"workers": 0}, ClusterError, "workers=0 must be a whole number, 1 or more"),
        ({"workers": "2"}, ClusterError, "workers='2' must be a whole number, 1 or more, or None for as many"),
        ({"workers": 1.5}, ClusterError, "workers=1.5 must be"),
        ({"batch_size": 0}, ClusterError, "batch_size=0 must be a whole number, 1 or more, or None for a block"),
        ({"batch_size": "default"}, ClusterError, "batch_size='default' must be"),
        ({}, DatasetError, "the dataset is a NoneType: pass a ray.data.Dataset"),
        ({"threads": 0}, EngineError, "threads=0 must be from 1"),
        ({"threads": None, "options": {"threads": 2}}, EngineError, "options has 'threads', and may have precision"),
        ({"options": {"precison": "float32"}}, EngineError, "options has 'precison'"),
    ],
)
def test_what_is_refused_at_once(place, arguments, error, text):
    with pytest.raises(error, match=text):
        hifigan_rt.synthesize_dataset(None, model="model", **arguments)
