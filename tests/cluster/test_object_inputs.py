"""Inputs at URLs: what is found there is what the same names find on a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from hifigan_rt.errors import DatasetError, StoreError
from hifigan_rt.tools.cluster.object_inputs import StoreFolder, find_inputs_anywhere
from hifigan_rt.tools.cluster.object_store import split_url
from hifigan_rt.tools.datasets import LeftOut, find_inputs
from object_stores import Bucket

pytestmark = [pytest.mark.ray, pytest.mark.object_store]

SUFFIXES = {".wav", ".flac", ".npy"}
LIST = "a|first\nb|second\nmissing|third\n"


def lay(root: Path) -> Path:
    tree = {
        "plain/b.wav": "b", "plain/a.wav": "a", "plain/a.npy": "mel", "plain/notes.txt": "text",
        "plain/.hidden.wav": "h",
        "plain/deep/c.flac": "c", "plain/deep/.git/d.wav": "d", "plain/[1] ü%?.wav": "odd",
        "lj/metadata.csv": LIST, "lj/wavs/a.wav": "a", "lj/wavs/b.wav": "b", "lj/wavs/unlisted.wav": "u",
        "split/training.txt": "a|x\n", "split/validation.txt": "b|y\n", "split/wavs/a.wav": "a",
        "split/wavs/b.wav": "b",
        "list/mine.csv": "sub/a.wav\nb\n", "list/sub/a.wav": "a", "list/b.wav": "b", "list/prose.txt": "no list\n",
        "one/x.wav": "1", "two/x.wav": "2", "void/readme.md": "",
    }  # fmt: skip
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def there(here, s3_port):
    made = Bucket("inputs", s3_port)
    made.make()
    made.fill(here, "data")
    return made


CASES = [
    (["plain"], {}), (["plain"], {"recursive": True}), (["."], {"recursive": True}), (["plain/a.wav"], {}),
    (["plain/*.wav"], {}), (["**/*.wav"], {}), (["o*/x.wav", "two"], {}), (["lj"], {}), (["lj/wavs"], {}),
    (["split"], {"split": "validation"}), (["split/wavs"], {"split": "training"}), (["split"], {}),
    (["list/mine.csv"], {}), (["list/prose.txt", "one"], {}), (["void", "one"], {}), (["nothing", "one"], {}),
    (["plain/*.mp3", "one"], {}), (["one/x.wav", "one", "two/x.wav"], {}), (["void"], {}),
    (["lj"], {"split": "training"}),
    (["nothing"], {}), (["plain/[1] ü%?.wav"], {}),
]  # fmt: skip


def found(find, names, options, place):
    """What a search gives, as nested lists of texts, with ROOT for the place of the tree."""
    left_out = LeftOut()
    try:
        inputs = find(names, SUFFIXES, left_out=left_out, **options)
    except DatasetError as error:
        return str(error).replace(place, "ROOT")
    if not isinstance(inputs, list):
        assert set(inputs.infos) >= {item.path for item in inputs.files if item.problem is None}
        inputs = inputs.files
    # A path has one slash less than a URL.
    near = place.replace("://", ":/").replace("//", "/")
    told = [
        [
            str(value).replace(place, "ROOT").replace(near, "ROOT")
            for value in (item.path, item.relative, item.folder, item.problem, item.beside)
        ]
        for item in inputs
    ]
    return told, left_out.counts


@pytest.mark.parametrize(("names", "options"), CASES, ids=str)
def test_a_url_finds_what_a_folder_finds(here, names, options):
    url = f"file://{here}"
    quoted = [f"{url}/{name.replace('%', '%25').replace('?', '%3F')}" for name in names]
    on_disk = found(find_inputs, [f"{here}/{name}" for name in names], options, str(here))
    assert found(find_inputs_anywhere, quoted, options, url) == on_disk


@pytest.mark.parametrize(("names", "options"), [CASES[1], CASES[7]], ids=str)
def test_a_bucket_gives_what_a_folder_gives(here, there, names, options):
    on_disk = found(find_inputs, [f"{here}/{name}" for name in names], options, str(here))
    urls = [there.url(f"data/{name}") for name in names]
    assert found(find_inputs_anywhere, urls, options, f"{there.root}/data") == on_disk


def test_folders_of_both_kinds_are_searched_together(here):
    files = find_inputs_anywhere([str(here / "one"), f"file://{here}/two"], SUFFIXES).files
    assert [str(item.path) for item in files] == [f"{here}/one/x.wav", f"file:{here}/two/x.wav"]
    # Named alike, so after the folder that holds everything: the same in each run.
    assert [item.relative.as_posix() for item in files] == [f"{here}/one/x.wav"[1:], f"file:{here}/two/x.wav"]


def test_the_place_of_the_results_is_not_searched(here):
    store, key = split_url(f"file://{here}/plain")
    inputs = find_inputs_anywhere([f"file://{here}"], SUFFIXES, recursive=True, exclude=StoreFolder(store, key))
    assert inputs.files
    assert not any("plain" in str(item.path) for item in inputs.files)


def test_names_that_no_file_can_have_are_told(bucket):
    bucket.put(f"in/{'n' * 300}.wav", b"1")
    bucket.put("in/a.wav", b"2")
    files = find_inputs_anywhere([bucket.url("in")], SUFFIXES).files
    assert [item.problem is None for item in files] == [True, False]
    assert "nnn.wav' has a name that no file can have" in files[1].problem


def test_names_that_mean_another_place_on_a_disk_are_told(bucket, tmp_path):
    outside = tmp_path / "outside.wav"
    keys = ["in//a.wav", "in/x/../b.wav", "in/./c.wav", "in/a.wav", str(outside), f"{tmp_path}/no-input.txt"]
    for key in keys:
        bucket.put_plainly(key, key.encode())
    files = find_inputs_anywhere([bucket.url("")], SUFFIXES, recursive=True).files
    assert [str(item.path) for item in files if item.problem is None] == [f"s3:/{bucket.name}/in/a.wav"]
    told = "\n".join(item.problem for item in files if item.problem is not None)
    assert all(f"'{bucket.root}/{key}' has a name that no file can have (it has the part '" in told for key in keys[:3])
    assert f"'{bucket.root}/{outside}'" in told
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_one_to_this_disk_are_told(bucket, monkeypatch):
    """As on macOS; so is an object beside a folder of its name, everywhere."""
    touch = Path.touch

    def touch_whatever_the_case(path, *, exist_ok):
        there = {other.name.lower() for other in path.parent.iterdir()}
        if path.name.lower() in there and not exist_ok:
            raise FileExistsError
        touch(path, exist_ok=exist_ok)

    monkeypatch.setattr(Path, "touch", touch_whatever_the_case)
    for key in ("in/a.wav", "in/A.wav", "in/b.wav/c.wav", "in/b.wav"):
        bucket.put_plainly(key, b"1")
    files = find_inputs_anywhere([bucket.url("in"), bucket.url("in/A.wav")], SUFFIXES, recursive=True).files
    problems = [item.problem for item in files if item.problem is not None]
    assert (len(files), len(problems)) == (4, 2)
    assert all("(on this disk, another object's name is the same): rename it" in problem for problem in problems)


def test_names_that_no_file_can_have_are_told_where_there_are_no_others(bucket):
    bucket.put_plainly("in//a.wav", b"1")
    with pytest.raises(DatasetError, match=r"in//a\.wav' has a name that no file can have"):
        find_inputs_anywhere([bucket.url("in")], SUFFIXES, recursive=True)


def test_one_bucket_is_opened_in_one_way(there):
    with pytest.raises(DatasetError, match="is named with different options or credentials"):
        find_inputs_anywhere([there.url("data/one"), there.url("data/two", "other:key@")], SUFFIXES)


def test_a_bucket_that_is_not_there(s3_port):
    with pytest.raises(StoreError, match="'s3://no-such-bucket' is not there: make the bucket"):
        find_inputs_anywhere([Bucket("no-such-bucket", s3_port).url("a")], SUFFIXES)


def test_local_names_need_no_store(here, monkeypatch):
    monkeypatch.chdir(here)
    inputs = find_inputs_anywhere(["one"], SUFFIXES)
    assert (inputs.files, inputs.places, inputs.infos) == (find_inputs(["one"], SUFFIXES), (), {})
