"""Lists of clips as toolkits and systems write them: what is read, what is refused, and with which words."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.datasets import InputFile, LeftOut, find_inputs

SUFFIXES = {".wav", ".flac", ".npy"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def dataset(content: str | bytes, *files: str, name: str = "metadata.csv") -> list[InputFile]:
    """What a folder `d` gives that has a list and these files."""
    Path("d/wavs").mkdir(parents=True)
    for file in files or ("wavs/A1.wav",):
        Path("d", file).parent.mkdir(parents=True, exist_ok=True)
        Path("d", file).touch()
    path = Path("d", name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return find_inputs(["d" if name == "metadata.csv" else f"d/{name}"], SUFFIXES)


def found(inputs: list[InputFile]) -> list[str]:
    return [os.path.relpath(item.path, "d") for item in inputs if item.problem is None]


def problem(content: str | bytes, *files: str) -> str:
    """The problem of the second line; the first names a clip that is there, so that there is more than problems."""
    first, second = dataset(b"A1|\n" + (content if isinstance(content, bytes) else content.encode()), *files)
    assert first.problem is None
    assert second.problem is not None
    assert second.relative.parts == tuple(part for part in second.relative.parts if part not in ("..", "/"))
    assert Path("d").absolute() in second.path.parents
    return second.problem


LINES = (
    "{}", "{}|text", "{}|text|more", " {} | text", '"{}"|text', "{}\ttext", "{},text", '"{}","a, b"', "{};text",
    "{}|text, more\tand more", "{}\r", "\ufeff{}|x",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["A1", "A1.wav", "wavs/A1.wav", "wavs/A1", "./A1", "wavs\\A1.wav", ".\\wavs\\A1", "A1.WAV"]
)
@pytest.mark.parametrize("line", LINES)
def test_names_and_separators(name, line):
    inputs = dataset(line.format(name) + "\n")
    assert found(inputs) == ["wavs/A1.wav"]
    assert inputs[0].relative == Path("A1.wav"), "the result is named alike however the list spells it"


@pytest.mark.parametrize("file", ["A1.WAV", "A1.Wav", "A1.flac", "A1.npy", "A1"])
def test_a_name_without_suffix_is_that_of_the_file_that_is_there(file):
    assert found(dataset("A1|x\n", f"wavs/{file}")) == [f"wavs/{file}"]


@pytest.mark.parametrize("files", [("A1.wav", "wavs/A2.wav"), ("A1.wav", "sub/A2.FLAC")])
def test_names_below_the_folder_of_the_list(files):
    inputs = dataset("A1\nsub/A2\n" if "sub" in files[1] else "A1\nA2\n", *files)
    assert found(inputs) == list(files)


def test_wav_comes_before_other_suffixes_and_two_others_are_told():
    assert found(dataset("A1|\n", "wavs/A1.flac", "wavs/A1.wav", "wavs/A1")) == ["wavs/A1.wav"]
    Path("d/metadata.csv").write_text("A1|\nA2\n")
    for file in ("A2.flac", "A2.npy"):
        Path("d/wavs", file).touch()
    inputs = find_inputs(["d"], SUFFIXES)
    assert inputs[1].problem == "metadata.csv line 2: 'A2' is there as 'A2.flac' and 'A2.npy': give the suffix"


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_in_either_unicode_form(forms):
    listed, there = (unicodedata.normalize(form, "caf\u00e9") for form in forms)
    assert found(dataset(f"{listed}|x\n", f"wavs/{there}.wav")) == [f"wavs/{there}.wav"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_encodings_that_a_mark_tells_and_line_ends(encoding, ends):
    text = f"A1|h\u00e9{ends}\u4e2d\u6587|x{ends}"
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    assert found(dataset((mark + text).encode(encoding), "wavs/A1.wav", "wavs/\u4e2d\u6587.wav")) == [
        "wavs/A1.wav", "wavs/\u4e2d\u6587.wav",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf16_without_its_mark_is_named(encoding):
    with pytest.raises(
        DatasetError, match=r"zero bytes of \d+, as if saved as UTF-16 without its mark: save it as UTF-8"
    ):
        dataset("A1|hi\n".encode(encoding))


def test_utf16_that_is_cut_short_is_named():
    with pytest.raises(DatasetError, match=r"is saved as UTF-16 and damaged at byte 8: save it as UTF-8"):
        dataset("A1|".encode("utf-16") + b"x")


@pytest.mark.parametrize("raw", [b"caf\xe9", "\u4e2d\u6587".encode("gbk")])
def test_bytes_of_another_encoding_name_line_and_bytes(raw):
    text = problem(raw + b"|x\n")
    assert (
        text
        == f"metadata.csv line 2: the name {raw!r} is not UTF-8, and no file has these bytes: save the list as UTF-8"
    )


def test_a_text_of_another_encoding_harms_no_name():
    assert found(dataset(b"A1|caf\xe9\n")) == ["wavs/A1.wav"]


HEADERS = {
    "file_name,text\nA1.wav,hi\n": "Hugging Face",
    'text,file_name\n"one, ""two""\nthree",wavs/A1.wav\n': "texts over several lines",
    'file_name,text\nA1.wav,"a mark without its other half\n': "a mark alone",
    "audio_file|text|speaker_name\nwavs/A1.wav|hi|x\n": "Coqui",
    "client_id\tpath\tsentence\nx\tA1.wav\thi\n": "Common Voice",
    "ID;Text\nA1;hi\n": "a spreadsheet",
    "# made by hand\n\nfile_name\nA1\n": "one column",
    '{"audio_filepath": "wavs/A1.wav", "duration": 1.5, "offset": 0.0}\n': "NeMo",
    '{"file_name": "A1.wav"}\r\n\r\n': "Hugging Face's JSON",
    '{"id": 3, "audio": {"path": "A1"}}\n': "an object in an object",
    "wavs/A1.wav|3|hi\n": "VITS",
    "A1|name|path\n": "words of columns in a text",
}


@pytest.mark.parametrize("content", HEADERS, ids=HEADERS.values())
def test_lists_of_other_toolkits(content):
    assert found(dataset(content)) == ["wavs/A1.wav"]


def test_all_rows_of_a_list_with_a_stray_mark_are_read():
    content = 'file_name,text\nA1.wav,"one\nA2.wav,two\nA3.wav,"three\n'
    assert found(dataset(content, "wavs/A1.wav", "wavs/A2.wav", "wavs/A3.wav")) == [f"wavs/A{n}.wav" for n in (1, 2, 3)]


def test_clips_that_are_named_like_a_column_or_a_comment():
    assert found(dataset("path|x\n#1|\n# 2|\n", "wavs/path.wav", "wavs/#1.wav")) == ["wavs/path.wav", "wavs/#1.wav"]


def test_an_absolute_path_into_the_folder_of_the_list(tmp_path):
    Path("link").symlink_to("d")
    inputs = dataset(f"{tmp_path}/d/wavs/A1.wav|x\n")
    assert (found(inputs), inputs[0].relative) == (["wavs/A1.wav"], Path("A1.wav"))
    assert found(find_inputs(["link"], SUFFIXES)) == ["../link/wavs/A1.wav"]


def test_an_absolute_path_with_steps_up_that_stays_in_the_folder_of_the_list(tmp_path):
    assert "no name in a list may: write 'b.wav'" in problem(f"{tmp_path}/d/wavs/../b.wav\n")


OUTSIDE = "leads out of wavs/ and the folder of its list"
REFUSED = {
    "../v/a|x": OUTSIDE,
    "wavs/../../v/a.wav": OUTSIDE,
    "..\\v\\a": OUTSIDE,
    "wavs/../b.wav": "has '..' in it, and no name in a list may: write 'b.wav'",
    "wavs/../..b.wav": "has '..' in it, and no name in a list may: write '..b.wav'",
    "wavs\\..\\wavs\\a|x": "has '..' in it, and no name in a list may: write 'wavs/a'",
    "/etc/passwd": OUTSIDE,
    "/../v/a.wav": OUTSIDE,
    "//server/share/a.wav": OUTSIDE,
    "\\\\server\\share\\a.wav": f"{OUTSIDE}, to a drive or a share",
    "C:\\data\\a.wav|x": f"{OUTSIDE}, to a drive or a share",
    "\\etc\\passwd": f"{OUTSIDE}, to a drive or a share",
    "\\..\\v\\a.wav": OUTSIDE,
    "c:/data/a.wav": f"{OUTSIDE}, to a drive or a share",
    "https://example.org/a.wav": "is an address, and nothing is fetched",
    "file:///etc/passwd": "is an address",
    "A1\0|x": "holds a zero byte",
    ".": "is that of a folder",
    "wavs": "is that of a folder",
}


@pytest.mark.parametrize(("line", "text"), REFUSED.items())
def test_what_leads_elsewhere_is_refused_with_the_rule(line, text):
    Path("v").mkdir()
    Path("v/a.wav").touch()
    told = problem(f"{line}\n")
    assert text in told
    assert told.startswith("metadata.csv line 2")


def test_a_list_cannot_lead_out_by_way_of_json(tmp_path):
    Path("v").mkdir()
    Path("v/a.wav").touch()
    with pytest.raises(DatasetError, match="leads out"):
        dataset('{"audio_filepath": "../v/a.wav"}\n')


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a1|x", "; 'wavs/A1.wav' is there"),
        ("A1.flac|x", "; 'wavs/A1.wav' is there"),
        ("DUMMY1/A1.wav|x", "; 'wavs/A1.wav' is there"),
        ("A8|x", "; 'wavs/A8.m4a' is there"),
        ("A7|x", "'{here}/d/wavs/A7.wav' is not there, in any case of its suffix"),
        ("|x", "metadata.csv line 2 has no clip name"),
        ("x" * 300, "is not there"),
    ],
)
def test_what_is_not_there_is_named_with_what_comes_close(line, text, tmp_path):
    assert text.format(here=tmp_path) in problem(f"{line}\n", "wavs/A1.wav", "wavs/A8.m4a")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "metadata.csv' names no clips"),
        ("\n \r\n", "metadata.csv' names no clips"),
        ("# nothing yet\n", "metadata.csv' names no clips"),
        ("file_name,text\n", "metadata.csv' names no clips"),
        ("\ufeff", "metadata.csv' names no clips"),
        ('[\n{"file_name": "A1.wav"}]', "is one JSON array: write one JSON object on each line"),
        ('{"text": "hi"}', "metadata.csv line 1 has no audio_filepath or file_name, but 'text'"),
        ('{"file_name": 3}', "has no audio_filepath or file_name, but 'file_name'"),
        (
            '{"audio_filepath": "A1.wav", "offset": 3.5, "duration": 2}',
            "names a part of a recording, from 3.5 s on (offset), and whole files are read: cut it out first",
        ),
        ("{" * 100_000, "is no JSON object on one line"),
        ('{\n  "file_name": "A1.wav"\n}', "is no JSON object on one line: '{'"),
    ],
)
def test_what_is_no_list_of_clips_is_told(content, text):
    with pytest.raises(DatasetError) as caught:
        dataset(content)
    assert text in str(caught.value)


def test_a_list_beside_a_full_one_may_be_empty():
    dataset("A1|\n")
    Path("d/validation.txt").touch()
    assert found(find_inputs(["d"], SUFFIXES)) == ["wavs/A1.wav"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.txt", "wavs/A1.wav|3|hi\n"),
        ("wav.scp", "utt1 wavs/A1.wav\nutt2 sph2pipe x.sph |\nutt3 feats.ark:12\n"),
        (
            "manifest.json",
            '{"audio_filepath": "wavs/A1.wav"}\n{"audio_filepath": "wavs/B1.wav", "audio_filepath": "wavs/A1.wav"}\n',
        ),
    ],
)
def test_a_list_that_is_named_itself(name, content):
    inputs = dataset(content, name=name)
    assert found(inputs) == ["wavs/A1.wav"]
    if name == "wav.scp":
        assert [item.problem for item in inputs[1:]] == [
            "wav.scp line 2 is a command, 'sph2pipe x.sph |', and none is run: name files",
            "wav.scp line 3 names an archive, 'feats.ark:12': name files",
        ]
    if name == "manifest.json":
        told = "'audio_filepath' stands twice, as str 'wavs/B1.wav' and as str 'wavs/A1.wav': remove the one"
        assert told in inputs[1].problem


@pytest.mark.parametrize("between", [" ", "\t", "  ", "\t ", " \t"])
def test_the_path_in_a_list_of_kaldi_begins_behind_the_first_blank(between):
    names = ("wavs/a b.wav", "wavs/b.wav", "b.wav")
    assert found(dataset(f"utt1{between}wavs/a b.wav\n", *names, name="wav.scp")) == ["wavs/a b.wav"]


def test_a_text_that_is_named_and_lists_nothing():
    with pytest.raises(
        DatasetError, match=r"'d/notes\.txt' is a text; as a list of clips, notes\.txt line 1: .* not there"
    ):
        dataset("Printing, in the only sense\n", name="notes.txt")


def test_recordings_that_no_list_names_are_counted():
    dataset(
        "A1|\nB1|\n", "wavs/A1.wav", "wavs/A2.wav", "wavs/A3.WAV", "wavs/A1.txt", "wavs/.A4.wav", "B1.wav", "B2.wav"
    )
    counted = LeftOut()
    find_inputs(["d"], SUFFIXES, left_out=counted)
    assert counted.text == "3 x .wav in no list, 1 x .txt"


def test_each_clip_once_however_often_it_is_listed():
    assert found(dataset("A1|x\nwavs/A1.wav|y\nA1\n")) == ["wavs/A1.wav"]


@pytest.mark.parametrize("sign", ["/", "\\"])
def test_no_spelling_of_a_file_outside_finds_it(tmp_path, sign):
    """The file is there, and is not touched."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v/a.wav").touch()
    for way in (f"{tmp_path}/v/a", "../v/a", "./../v/a", "wavs/../../v/a", "../d/../v/a", f"{tmp_path}/d/../v/a"):
        for name in (way, f"{way}.wav", f'"{way}.wav"', f"//{way}", f"\\\\{way}"):
            text = problem(f"{name.replace('/', sign)}|x\n")
            assert "leads out of" in text or "a.wav' is not there" in text
            assert Path("d/wavs/A1.wav").exists()
            Path("d/metadata.csv").unlink()
            Path("d/wavs/A1.wav").unlink()
            Path("d/wavs").rmdir()


def test_links_in_the_folder_are_its_owners(tmp_path):
    """As VITS asks for: `ln -s .../wavs DUMMY1`; and data sets whose `wavs/` or files lie on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/A1.wav").touch()
    (tmp_path / "d").mkdir()
    for name in ("wavs", "DUMMY1"):
        (tmp_path / "d" / name).symlink_to(tmp_path / "disk")
    (tmp_path / "d/A2.wav").symlink_to(tmp_path / "disk/A1.wav")
    (tmp_path / "d/metadata.csv").write_text("A1|x\nDUMMY1/A1.wav|x\nA2|x\n")
    assert found(find_inputs(["d"], SUFFIXES)) == ["wavs/A1.wav", "A2.wav"], "one place by two names is one clip"
