"""What a user names, resolved into inputs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.datasets import InputFile, LeftOut, find_inputs

SUFFIXES = {".wav", ".npy"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def relatives(inputs: list[InputFile]) -> list[str]:
    return [item.relative.as_posix() for item in inputs]


def lj_speech(folder: str, **lists: str) -> None:
    touch(*(f"{folder}/wavs/LJ00{i}.wav" for i in range(4)))
    for name, text in lists.items():
        Path(folder, {"metadata": "metadata.csv"}.get(name, f"{name}.txt")).write_text(text)


def test_folder_is_sorted_and_keeps_to_the_suffixes():
    touch("in/b.wav", "in/a.WAV", "in/c.npy", "in/notes.txt", "in/.hidden.wav", "in/sub/d.wav")
    found = find_inputs(["in"], SUFFIXES)
    assert relatives(found) == ["a.WAV", "b.wav", "c.npy"]
    assert found[0].path == Path.cwd() / "in/a.WAV"
    assert {item.folder for item in found} == {Path.cwd() / "in"}


def test_recursive_keeps_the_structure():
    touch("in/b.wav", "in/sub/a.wav", "in/sub/deep/a.wav", "in/.hidden/a.wav")
    assert relatives(find_inputs(["in"], SUFFIXES, recursive=True)) == ["b.wav", "sub/a.wav", "sub/deep/a.wav"]


def test_recursive_follows_links_but_no_circles():
    touch("in/a.wav", "elsewhere/b.wav")
    Path("in/linked").symlink_to(Path.cwd() / "elsewhere")
    Path("in/circle").symlink_to(Path.cwd() / "in")
    assert relatives(find_inputs(["in"], SUFFIXES, recursive=True)) == ["a.wav", "linked/b.wav"]


def test_output_folder_inside_the_input_is_not_searched():
    touch("in/a.wav", "in/out/a.wav", "in/out/sub/b.wav", "in/out-takes/c.wav")
    expected = ["a.wav", "out-takes/c.wav"]
    assert relatives(find_inputs(["in"], SUFFIXES, recursive=True, exclude=Path("in/out"))) == expected
    assert relatives(find_inputs(["in/**/*.wav"], SUFFIXES, exclude=Path("in/out"))) == expected


def test_each_file_once_in_the_order_of_the_names():
    touch("in/a.wav", "in/b.wav")
    assert relatives(find_inputs(["in/b.wav", "in", "./in/../in/a.wav"], SUFFIXES)) == ["b.wav", "a.wav"]


def test_links_to_one_file_are_several_inputs():
    touch("in/a.wav")
    Path("in/b.wav").symlink_to("a.wav")
    assert relatives(find_inputs(["in"], SUFFIXES)) == ["a.wav", "b.wav"]


def test_glob_keeps_what_lies_below_its_fixed_part():
    touch("in/x/a.wav", "in/y/a.wav", "in/y/a.txt")
    assert relatives(find_inputs(["in/*/a.*"], SUFFIXES)) == ["x/a.wav", "y/a.wav"]
    assert relatives(find_inputs(["in/**/a.wav"], SUFFIXES)) == ["x/a.wav", "y/a.wav"]


def test_a_glob_leaves_out_no_link_to_nothing():
    touch("in/a.wav", "in/sub/b.wav")
    Path("in/gone.wav").symlink_to("../annex/gone.wav")
    os.mkfifo("in/pipe.wav")
    folder = relatives(find_inputs(["in"], SUFFIXES))
    assert folder == relatives(find_inputs(["in/*"], SUFFIXES)) == ["a.wav", "gone.wav", "pipe.wav"]


def test_a_file_whose_name_looks_like_a_glob_is_taken_as_it_stands():
    touch("take[1].wav", "take1.wav")
    assert relatives(find_inputs(["take[1].wav"], SUFFIXES)) == ["take[1].wav"]


def test_any_named_file_is_an_input_whatever_its_suffix():
    touch("clip.raw")
    assert relatives(find_inputs(["clip.raw"], SUFFIXES)) == ["clip.raw"]


def test_equal_names_of_several_folders_stay_apart():
    touch("one/x.wav", "two/x.wav", "two/y.wav")
    assert relatives(find_inputs(["one", "two"], SUFFIXES)) == ["one/x.wav", "two/x.wav", "two/y.wav"]
    assert relatives(find_inputs(["one/x.wav", "two/y.wav"], SUFFIXES)) == ["x.wav", "y.wav"]


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (["x.npy", "x.wav"], ["x.npy", "x"]),
        (["x.flac", "x.npy", "x.wav"], ["x.flac", "x.npy", "x"]),
        (["x.WAV", "x.npy", "x.wav"], ["x.WAV", "x.npy", "x"]),
        (["x.npy", "x.pt"], ["x", "x.pt"]),
        (["x.flac", "x.npy"], ["x", "x.npy"]),
        (["x.npy", "x.npy.wav", "x.wav"], ["x.npy.npy", "x.npy", "x"]),
        (["x.npy", "x.npy.npy", "x.npy.wav", "x.wav"], ["x.npy.npy", "x.npy.npy.npy", "x.npy", "x"]),
        (["caf\u00e9.npy", "cafe\u0301.wav"], ["caf\u00e9", "cafe\u0301"]),
    ],
)
def test_names_that_differ_in_their_suffix_alone_keep_it_in_the_result(names, results):
    touch(*(f"in/sub/{name}" for name in names))
    wanted = {name: f"sub/{result}" for name, result in zip(names, results, strict=True)}
    for named, options in ((["in"], {"recursive": True}), ([f"in/sub/{name}" for name in names], {})):
        found = find_inputs(named, {*SUFFIXES, ".flac", ".pt"}, **options)
        plain = {item.path.name: item.relative.with_suffix("").as_posix() for item in found}
        assert plain == (wanted if options else dict(zip(names, results, strict=True)))
        assert all(
            (item.beside is None) != (item.path.stem != plain[item.path.name].rpartition("/")[2]) for item in found
        )


def test_pairs_in_folders_that_clash_with_others_are_named_after_both():
    touch("one/x.wav", "one/x.npy", "two/x.wav")
    assert relatives(find_inputs(["one", "two"], SUFFIXES)) == ["one/x.npy.npy", "one/x.wav", "two/x.wav"]
    found = find_inputs(["one/x.npy", "three/x.wav"], SUFFIXES)
    assert [(item.relative.name, item.beside) for item in found] == [("x.npy", None), ("x.wav.wav", None)]


def test_pairs_that_a_list_names():
    lj_speech("LJ", validation="LJ001.wav|a\nLJ001.npy|a\nLJ002|a\n")
    touch("LJ/wavs/LJ001.npy", "LJ/wavs/LJ002.npy")
    found = find_inputs(["LJ"], SUFFIXES, split="validation")
    assert relatives(found) == ["LJ001.wav", "LJ001.npy.npy", "LJ002.wav"]


def test_a_missing_name_is_a_problem_of_its_own():
    touch("a.wav")
    found = find_inputs(["a.wav", "b.wav", "*.flac"], SUFFIXES)
    assert [item.problem for item in found] == [
        None,
        "'b.wav' is neither a file nor a folder: check its spelling",
        "pattern '*.flac' matches no file ending in .npy, .wav",
    ]


def test_nothing_found_at_all_is_an_error_with_every_reason():
    Path("empty").mkdir()
    message = "folder 'empty' has no file ending in .npy, .wav; --recursive looks into the folders below it as well"
    with pytest.raises(DatasetError) as caught:
        find_inputs(["empty", "absent"], SUFFIXES)
    assert str(caught.value) == f"{message}; 'absent' is neither a file nor a folder: check its spelling"


def test_a_folder_named_like_a_recording_is_reported():
    touch("in/a.wav")
    Path("in/x.wav").mkdir()
    problems = {item.path.name: item.problem for item in find_inputs(["in"], SUFFIXES)}
    assert problems["a.wav"] is None
    assert "is a folder" in str(problems["x.wav"])


@pytest.mark.parametrize("line", ["LJ002|text|normalised", "LJ002||", "LJ002", "LJ002|text\r", "\ufeffLJ002|x"])
def test_lists_in_every_form(line):
    lj_speech("LJ", training="LJ001|a|a\n", validation=f"{line}\n\n")
    assert relatives(find_inputs(["LJ"], SUFFIXES, split="validation")) == ["LJ002.wav"]
    assert relatives(find_inputs(["LJ"], SUFFIXES, split="training")) == ["LJ001.wav"]


def test_lists_give_their_order_and_without_a_split_all_of_them():
    lj_speech("LJ", training="LJ003|a|a\nLJ000|a|a\n", validation="LJ002|a|a")
    found = find_inputs(["LJ"], SUFFIXES)
    assert relatives(found) == ["LJ003.wav", "LJ000.wav", "LJ002.wav"]
    assert found[0].path == Path.cwd() / "LJ/wavs/LJ003.wav"


def test_plain_download_has_metadata_only_and_no_split():
    lj_speech("LJ", metadata="LJ001|a|a\nLJ000|a|a\n")
    assert relatives(find_inputs(["LJ"], SUFFIXES)) == ["LJ001.wav", "LJ000.wav"]
    with pytest.raises(DatasetError, match=r"needs the list validation\.txt beside wavs/, and 'LJ' has metadata\.csv"):
        find_inputs(["LJ"], SUFFIXES, split="validation")


def test_wavs_folder_itself():
    lj_speech("LJ", validation="LJ002|a|a\n")
    assert len(find_inputs(["LJ/wavs"], SUFFIXES)) == 4
    assert relatives(find_inputs(["LJ/wavs"], SUFFIXES, split="validation")) == ["LJ002.wav"]


def test_split_of_something_else_is_an_error():
    touch("in/a.wav")
    with pytest.raises(DatasetError, match="'in' has no list"):
        find_inputs(["in"], SUFFIXES, split="training")
    with pytest.raises(DatasetError, match=r"needs an LJSpeech folder, and 'in/a\.wav' is none"):
        find_inputs(["in/a.wav"], SUFFIXES, split="training")
    with pytest.raises(DatasetError, match="split='test' must be one of"):
        find_inputs(["in"], SUFFIXES, split="test")


def test_listed_clips_that_are_missing_are_reported_one_by_one():
    lj_speech("LJ", validation="LJ001|a|a\nLJ777|a|a\n" + "x" * 300 + "\n")
    problems = [item.problem for item in find_inputs(["LJ"], SUFFIXES, split="validation")]
    assert problems[0] is None
    assert problems[1] is not None
    assert problems[1].startswith("validation.txt line 2: ")
    assert problems[2] is not None


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "../wavs/LJ001"])
def test_listed_names_cannot_lead_out_of_the_folder(name):
    lj_speech("LJ", validation=f"LJ001|a|a\n{name}|a|a\n")
    found = find_inputs(["LJ"], SUFFIXES, split="validation")
    assert [item.problem is None for item in found] == [True, False]
    assert "leads out of wavs/" in str(found[1].problem)


def test_names_that_are_not_utf8():
    raw = b"in/caf\xe9.wav"
    Path("in").mkdir()
    os.close(os.open(raw, os.O_CREAT))
    assert [os.fsencode(item.path.name) for item in find_inputs(["in"], SUFFIXES)] == [b"caf\xe9.wav"]
    Path("LJ/wavs").mkdir(parents=True)
    os.close(os.open(b"LJ/wavs/caf\xe9.wav", os.O_CREAT))
    Path("LJ/validation.txt").write_bytes(b"caf\xe9|caf\xc3\xa9\n")
    found = find_inputs(["LJ"], SUFFIXES, split="validation")
    assert found[0].problem is None
    assert os.fsencode(found[0].relative) == b"caf\xe9.wav"


def test_what_cannot_be_looked_up_is_not_said_to_be_misspelt(tmp_path):
    """As in a folder that may not be searched, which the administrator may, who perhaps runs this."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DatasetError, match=r"loop/a.wav' cannot be looked up: Too many levels of symbolic links$"):
        find_inputs([str(tmp_path / "loop" / "a.wav")], SUFFIXES)


def test_name_too_long_for_any_file():
    with pytest.raises(DatasetError, match="xxx' cannot be looked up: File name too long"):
        find_inputs(["x" * 5000], SUFFIXES)


def left_out(*names: str, **options) -> dict[str, int]:
    counted = LeftOut()
    find_inputs(names, SUFFIXES, left_out=counted, **options)
    return counted.counts


def test_what_a_folder_holds_beside_the_inputs_is_counted_by_suffix():
    touch("in/a.wav", "in/a.M4A", "in/b.m4a", "in/a.txt", "in/README", "in/1. Chapter one", "in/sub/c.aiff")
    Path("in/gone.aif").symlink_to("nowhere")
    Path("in/circle").symlink_to("circle")
    beside = {".m4a": 2, "without suffix": 2, ".txt": 1, ".aif": 1, "others": 1}
    assert left_out("in") == beside | {"folders": 1}
    assert left_out("in", recursive=True) == beside | {".aiff": 1}
    assert left_out("in", "in/a.wav", exclude=Path("in/sub")) == beside
    assert left_out("in/*") == {".m4a": 2, "without suffix": 1, ".txt": 1, "others": 1}, "files that are there"


def test_hidden_files_and_what_systems_leave_behind_are_nobodys_data():
    touch(
        "in/a.wav", "in/.DS_Store", "in/._a.wav", "in/Thumbs.db", "in/desktop.ini", "in/~$notes.docx", "in/a.wav.lock"
    )
    touch("in/manifest.jsonl", "in/__MACOSX/b.wav", "in/.git/c.wav")
    assert left_out("in") == {}
    assert left_out("in", recursive=True) == {}


def test_a_folder_of_nothing_but_other_files_tells_what_it_holds():
    touch("in/a.m4a", "in/b.m4a", "in/sub/c.wav")
    with pytest.raises(DatasetError, match=r"no file ending in \.npy, \.wav \(it holds 2 x \.m4a, 1 folder\); --rec"):
        find_inputs(["in"], SUFFIXES)


def test_many_kinds_are_told_in_few_words():
    counted = LeftOut()
    for number in range(100):
        counted.add_file(f"a.{number}")
    assert counted.text.endswith(", 57 more")
    assert len(counted.counts) == 65
    assert sum(counted.counts.values()) == 100
    assert counted.note == (f"left out: {counted.text}",)
    assert LeftOut().note == ()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.ELOOP, errno.ENOENT, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_listed_is_one_failed_input(monkeypatch, number):
    touch("in/a.wav", "in/locked/b.wav", "in/z.wav", "locked/c.wav")
    scandir = os.scandir

    def entries(folder):
        yield from list(scandir(folder))[:1]
        if Path(folder).name == "locked":
            raise OSError(number, os.strerror(number))
        yield from list(scandir(folder))[1:]

    monkeypatch.setattr(os, "scandir", entries)
    found = find_inputs(["locked", "in"], SUFFIXES, recursive=True)
    assert relatives(found) == ["locked", "a.wav", "locked", "z.wav"]
    assert [item.problem is None for item in found] == [False, True, False, True]
    assert f"cannot be read: {os.strerror(number)}" in str(found[2].problem)


def test_circles_of_links_and_names_that_are_too_long_fail_alone():
    touch("in/a.wav")
    Path("in/loop").symlink_to("loop")
    Path("in/circle.wav").symlink_to("circle.wav")
    found = find_inputs(["in", "in/loop", "x" * 300, "x" * 5000, "in/a.wav/b"], SUFFIXES, recursive=True)
    assert [item.path.name[:9] for item in found if item.problem is None] == ["a.wav", "circle.wa", "loop"]
    assert len(found) == 6
