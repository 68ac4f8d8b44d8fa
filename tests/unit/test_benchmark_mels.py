import numpy as np
import pytest

from golden.tiny import TINY, tiny_mel
from hifigan_rt.errors import ConfigError, DatasetError, MelError
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.check import check_mel
from hifigan_rt.tools.benchmark.mels import SAMPLE_NAME, crops, input_data, sample_data, sample_mel


def test_crops_are_different_and_wrap_around():
    mel = np.arange(20, dtype=np.float32).reshape(2, 10)
    batch = crops(mel, 4, 6)
    assert batch.shape == (4, 2, 6)
    assert batch.dtype == np.float32
    assert batch[:, 0, 0].tolist() == [0, 2, 5, 7]
    assert batch[3, 0].tolist() == [7, 8, 9, 0, 1, 2]
    assert (batch[:, 1] == batch[:, 0] + 10).all()


@pytest.mark.parametrize("num_mels", [1, 2, 10, 80, 128])
def test_the_sample_is_a_mel_of_any_model(num_mels, recwarn):
    mel = sample_mel(num_mels, 300)
    assert check_mel(mel, num_mels).shape == (num_mels, 300)
    assert not recwarn.list, "a range that looks like another convention would be warned of"
    assert mel.min() == pytest.approx(-11.5, abs=0.8)
    assert mel.std(axis=1).min() > 0.5, "every band moves"


def test_the_sample_is_always_the_same_and_a_shorter_one_its_beginning():
    np.testing.assert_array_equal(sample_mel(80, 1000)[:, :77], sample_mel(80, 77))


def test_a_very_long_sample_is_cut_off():
    data = sample_data(2, (1 << 16) + 5)
    assert data.mel.shape == (2, 1 << 16)
    assert data.name == SAMPLE_NAME


def write_clips(folder, rate=8000):
    import soundfile

    rng = np.random.default_rng(5)
    clips = [rng.uniform(-0.5, 0.5, 800).astype(np.float32) for _ in range(3)]
    folder.mkdir()
    for number, clip in enumerate(clips):
        soundfile.write(folder / f"{number}.wav", clip, rate, "FLOAT")
    return clips


def test_recordings_come_one_behind_the_other_until_there_are_enough(tmp_path):
    clips = write_clips(tmp_path / "clips")
    data = input_data([str(tmp_path / "clips")], TINY.mel, 10, 150)
    np.testing.assert_array_equal(data.mel, np.concatenate([compute_mel(clip, TINY.mel) for clip in clips[:2]], axis=1))
    assert data.name == "clips (2 clips, 200 frames)"
    assert data.notes == ()


def test_what_a_folder_holds_beside_the_clips_is_told(tmp_path):
    write_clips(tmp_path / "clips")
    (tmp_path / "clips" / "a.m4a").touch()
    assert input_data([str(tmp_path / "clips")], TINY.mel, 10, 150).notes == ("left out: 1 x .m4a",)


def test_a_recording_whose_length_is_wrong_is_told(tmp_path):
    write_clips(tmp_path / "clips")
    path = tmp_path / "clips" / "0.wav"
    path.write_bytes(path.read_bytes()[:-2000])
    (note,) = input_data([str(path)], TINY.mel, 10, 50).notes
    assert note.startswith("'0.wav': its header promises ")


def test_recordings_of_another_rate_are_resampled(tmp_path):
    write_clips(tmp_path / "clips", rate=16000)
    assert input_data([str(tmp_path / "clips")], TINY.mel, 10, 10**6).mel.shape == (10, 150)


def test_mel_files_need_no_settings(tmp_path):
    np.save(tmp_path / "one.npy", tiny_mel(7))
    data = input_data([str(tmp_path / "one.npy")], None, 10, 100)
    np.testing.assert_array_equal(data.mel, tiny_mel(7))
    assert data.name == "one.npy (1 clip, 7 frames)"


def test_inputs_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="neither a file nor a folder"):
        input_data([str(tmp_path / "none")], TINY.mel, 10, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty"):
        input_data([str(tmp_path / "empty")], TINY.mel, 10, 1)
    write_clips(tmp_path / "clips")
    with pytest.raises(DatasetError, match="neither a file nor a folder"):
        input_data([str(tmp_path / "clips"), str(tmp_path / "none")], TINY.mel, 10, 1)
    with pytest.raises(ConfigError, match=r"give its config\.json with --config, or mel files"):
        input_data([str(tmp_path / "clips")], None, 10, 1)
    np.save(tmp_path / "other.npy", np.zeros((80, 5), np.float32))
    with pytest.raises(MelError, match="80"):
        input_data([str(tmp_path / "other.npy")], TINY.mel, 10, 1)
