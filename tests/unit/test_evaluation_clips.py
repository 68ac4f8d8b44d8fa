"""Which clips are evaluated, and which file belongs to each."""

from pathlib import Path

import pytest

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.evaluation.clips import find_clips, pair

WAV = frozenset({".wav", ".flac"})


def touch(folder, *names):
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_clips_are_named_after_their_place_without_suffix():
    touch("in", "b.wav", "a.b.flac", "deep/c.wav", "note.txt")
    clips = find_clips(["in"], WAV, recursive=True)
    assert list(clips.files) == ["a.b", "b", "deep/c"]
    assert clips.description == "in (3 clips)"
    assert list(find_clips(["in"], WAV).files) == ["a.b", "b"]


def test_a_limit_draws_the_same_clips_again_in_the_order_of_the_data_set():
    touch("in", *(f"{number:02}.wav" for number in range(40)))
    drawn = find_clips(["in"], WAV, limit=10, seed=3)
    names = list(drawn.files)
    assert names == sorted(names)
    assert len(set(names)) == 10
    assert list(find_clips(["in"], WAV, limit=10, seed=3).files) == names
    assert list(find_clips(["in"], WAV, limit=10, seed=4).files) != names
    assert names != [f"{number:02}" for number in range(10)], "not simply the first"
    assert drawn.description == "in (10 of 40 clips, seed 3)"
    assert find_clips(["in"], WAV, limit=40).description == "in (40 clips)"


def test_a_split_and_the_last_name_stand_in_the_description(tmp_path):
    touch("LJ", "wavs/x.wav", "wavs/y.wav")
    Path("LJ/validation.txt").write_text("y||\n")
    clips = find_clips([str(tmp_path / "LJ")], WAV, split="validation")
    assert list(clips.files) == ["y"]
    assert clips.description == "LJ, validation (1 clip)"


def test_pairs_by_name_whatever_the_suffix():
    touch("made", "a.flac", "b_generated.wav", "c_generated_e2e.wav", "d.wav", "d_generated.wav")
    found = pair(["a", "b", "c", "d"], Path("made"), WAV)
    assert {clip: item.path.name for clip, item in found.files.items()} == {
        "a": "a.flac", "b": "b_generated.wav", "c": "c_generated_e2e.wav", "d": "d.wav",
    }  # fmt: skip
    assert found.extra == ("d_generated",)


def test_missing_and_extra_files_are_told():
    touch("made", "a.wav", "z.wav")
    found = pair(["a", "b"], Path("made"), WAV)
    assert found.files["a"].problem is None
    assert found.files["b"].problem == "no file for clip 'b' in 'made'"
    assert found.extra == ("z",)
    assert pair(["a"], Path("made"), WAV, complete=False).extra == (), "of clips that were not drawn"


def test_no_file_belongs_to_two_clips():
    touch("made", "a_generated.wav", "b.wav", "b_generated.wav")
    found = pair(["a", "a_generated", "b", "b_generated"], Path("made"), WAV)
    assert found.files["a"].problem == "no file for clip 'a' in 'made'"
    assert [found.files[clip].path.stem for clip in ("a_generated", "b", "b_generated")] == [
        "a_generated", "b", "b_generated",
    ]  # fmt: skip
    assert found.extra == ()


def test_folders_below_are_paired_by_their_place():
    touch("made", "one/a.wav", "two/a.wav")
    found = pair(["one/a", "two/a"], Path("made"), WAV, recursive=True)
    assert [item.path.parent.name for item in found.files.values()] == ["one", "two"]


def test_a_folder_without_a_single_pair_is_an_error():
    touch("made", "x.wav")
    with pytest.raises(DatasetError, match=r"none of the 1 files in 'made' belongs .* 'x', the first clip 'a'"):
        pair(["a"], Path("made"), WAV)
    with pytest.raises(DatasetError, match="'absent' is no folder"):
        pair(["a"], Path("absent"), WAV)
    with pytest.raises(DatasetError, match="no folder"):
        pair(["a"], Path("made/x.wav"), WAV)
