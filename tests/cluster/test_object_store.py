"""Objects at URLs: names, reading, writing whole or not at all, and what a store that fails is told as."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import ClusterError, DatasetError, StoreError
from hifigan_rt.tools.cluster.object_store import ObjectStore, split_url
from hifigan_rt.tools.cluster.retrying import retried
from hifigan_rt.tools.cluster.store_urls import is_url
from waiting import at_once

pytestmark = [pytest.mark.ray, pytest.mark.object_store]

SECRET = "a-secret"  # noqa: S105 - to be looked for


@pytest.mark.parametrize(
    ("url", "root", "key"),
    [
        ("s3://bucket", "s3://bucket", ""),
        ("s3://bucket/", "s3://bucket", ""),
        ("s3://bucket/a/b.wav", "s3://bucket", "a/b.wav"),
        ("s3://bucket//a//b/", "s3://bucket", "a/b"),
        ("s3://bucket/a b/ü.wav", "s3://bucket", "a b/ü.wav"),
        ("s3://bucket/a%20b%3F?region=x", "s3://bucket", "a b?"),
        ("s3://bucket/100%", "s3://bucket", "100%"),
        (f"s3://key:{SECRET}@bucket/a?endpoint_override=h:1", "s3://bucket", "a"),
        (f"abfs://c:{SECRET}@account.dfs.core.windows.net/a", "abfs://c@account.dfs.core.windows.net", "a"),
        ("gs://anonymous@bucket/a", "gs://anonymous@bucket", "a"),
        ("file:///tmp/a.wav", "file://", "tmp/a.wav"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url, root, key):
    store, found = split_url(url)
    assert (store.root, found) == (root, key)
    assert SECRET not in store.shown(key) + store.identity
    assert split_url(store.shown(key))[1] == key


@given(st.lists(st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1), min_size=1, max_size=3))
def test_a_shown_key_is_read_back(parts):
    key = "/".join(part for part in parts if part not in (".", ".."))
    assert split_url(split_url("s3://bucket/")[0].shown(key))[1] == key


def test_a_url_does_not_climb():
    with pytest.raises(DatasetError, match=r"'s3://bucket/a/../b' has '..' in it"):
        split_url("s3://bucket/a/../b")


@pytest.mark.parametrize(
    "url",
    [f"s3://key:{SECRET}/of/it@bucket/a", f"s3://key:{SECRET}?of?it@bucket/a", "s3://key:12/34@bucket/a",
     f"abfs://c:{SECRET}/==@account.dfs.core.windows.net/a"],
)  # fmt: skip
def test_a_secret_that_its_own_characters_cut_is_not_shown(url):
    with pytest.raises(
        DatasetError, match=r"has a colon in its host, and no @ behind it: .* write its / as %2F"
    ) as told:
        split_url(url)
    assert not any(part in str(told.value) for part in (SECRET, "12", "34"))


@pytest.mark.parametrize("url", ["hdfs://host:8020/user@work/a", "hdfs://[::1]/a", f"s3://key:{SECRET}%2F@bucket/a@b"])
def test_colons_of_ports_are_taken(url):
    assert SECRET not in split_url(url)[0].root


def test_what_pyarrow_does_not_open_is_told():
    with pytest.raises(StoreError) as told:
        split_url(f"s3a://key:{SECRET}@bucket/a")[0].check()
    assert str(told.value) == (
        "the store 's3a://key@bucket' cannot be opened: Unrecognized filesystem type in URI: s3a://key@bucket; pyarrow "
        "opens s3, gs, abfs, hdfs and file"
    )


def test_paths_are_no_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not any(map(is_url, ["a.wav", "/a/b", "c:/a", "a://"[:2], "-"]))
    assert is_url("s3://bucket/a")
    Path("s3:/bucket").mkdir(parents=True)
    assert not is_url("s3://bucket")


@pytest.mark.parametrize("size", [0, 1, (21 << 20) + 7])
def test_what_is_put_is_got(bucket, tmp_path, size):
    """In one request up to 10 MB, in several parts beyond."""
    store, key = split_url(bucket.url("a folder/ü+%&.bin"))
    (tmp_path / "there").write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    stored = store.put(key, tmp_path / "there")
    assert stored.size_bytes == size
    assert stored == store.info(key)
    assert store.get(key, tmp_path / "back") == stored
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    assert bucket.names() == ["a folder/ü+%&.bin"]


@pytest.mark.parametrize("size", [500, 2000])
def test_an_object_that_is_exchanged_while_it_is_read_is_refused(bucket, tmp_path, monkeypatch, size):
    bucket.put("a.bin", b"a" * 1000)
    store, key = split_url(bucket.url("a.bin"))
    read = ObjectStore._blocks

    def blocks(store, key):
        system, base = store._open()

        class Late:
            """Opens the object before it is exchanged, and reads it afterwards."""

            def __getattr__(self, name):
                return getattr(system, name)

            def open_input_stream(self, *arguments, **options):
                opened = system.open_input_stream(*arguments, **options)
                bucket.put("a.bin", b"b" * size)
                return opened

        store._opened = (Late(), base)
        yield from read(store, key)

    monkeypatch.setattr(ObjectStore, "_blocks", blocks)
    with pytest.raises(DatasetError, match=r"/a\.bin' was exchanged while it was read: run again with --resume"):
        store.get(key, tmp_path / "back")


def test_a_folder_is_listed(bucket):
    store, _ = split_url(bucket.url())
    for key in ("in/a.wav", "in/deep/b.wav", "in/deep/er/c.wav", "other/d.wav"):
        store.put(key, key.encode())
    objects, folders = store.list("in", recursive=False)
    assert (sorted(objects), folders) == (["in/a.wav"], ["in/deep"])
    assert objects["in/a.wav"].size_bytes == len("in/a.wav")
    assert sorted(store.list("in", recursive=True)[0]) == ["in/a.wav", "in/deep/b.wav", "in/deep/er/c.wav"]
    assert len(store.list("", recursive=True)[0]) == 4
    assert store.list("not/there", recursive=True) == ({}, [])
    assert store.info("in") is None


def test_a_store_travels_with_what_opens_it(bucket, monkeypatch):
    """To a worker that has neither the URL's credentials nor the driver's variables."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bucket.port}")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    store, _ = split_url(f"s3://{bucket.name}/a")
    packed = pickle.dumps(store)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other credentials")
    pickle.loads(packed).put("a", b"a")
    assert bucket.get("a") == b"a"


def test_on_a_file_system_that_renames_nothing_else_is_left(tmp_path):
    store, key = split_url(f"file://{tmp_path}/out/deep/a.wav")
    store.put(key, b"first")
    stored = store.put(key, b"second")
    assert (tmp_path / "out/deep/a.wav").read_bytes() == b"second"
    assert stored.size_bytes == 6
    assert [path.name for path in (tmp_path / "out/deep").iterdir()] == ["a.wav"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    store, key = split_url(f"file://{tmp_path}/a.wav")
    store.put(key, b"first")
    monkeypatch.setattr(
        "hifigan_rt.tools.cluster.object_store._write_whole",
        lambda system, path, content: (Path(path).write_bytes(b"sec"), 1 / 0),
    )
    with pytest.raises(StoreError, match="division by zero"):
        store.put(key, b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_a_line_that_is_cut_leaves_no_torn_object(bucket, line, tmp_path):
    """The second part of three never arrives: what stood there before stays, whole."""
    bucket.put("a.bin", b"before")
    cut = type(bucket)(bucket.name, line.port)
    store, key = split_url(cut.url("a.bin"))
    (tmp_path / "large").write_bytes(bytes(25 << 20))
    line.cut_after(12 << 20)
    with pytest.raises(StoreError, match=r"cannot be written to at 's3://.*/a.bin'.*check the network"):
        store.put(key, tmp_path / "large")
    assert bucket.get("a.bin") == b"before"


def test_a_bucket_that_is_not_there(s3_port):
    store, key = split_url(f"s3://key:{SECRET}@no-such-bucket/a?endpoint_override=127.0.0.1:{s3_port}&scheme=http")
    with pytest.raises(StoreError, match=r"'s3://no-such-bucket' cannot be written.*make the bucket") as told:
        store.put(key, b"a")
    assert SECRET not in str(told.value)


@pytest.mark.long
def test_a_server_that_is_not_there(line):
    line.close()
    store, key = split_url(f"s3://key:{SECRET}@bucket/a?endpoint_override=127.0.0.1:{line.port}&scheme=http")
    with pytest.raises(StoreError, match="check the network, and the endpoint") as told:
        store.info(key)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("url", ["nothing://a/b", "s3://bucket/a?no_such_option=1"])
def test_what_pyarrow_does_not_open(url):
    store, key = split_url(url)
    with pytest.raises(StoreError, match=f"{store.root!r} cannot be opened"):
        store.info(key)


def attempts(*outcomes):
    """An action that does this the first time, that the second; the last for ever."""
    left = list(outcomes)

    def act():
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return act


AWAY = StoreError("away")


@pytest.mark.parametrize(
    ("action", "probe", "result"),
    [
        ((1,), (AWAY,), 1),
        ((AWAY, AWAY, 2), (AWAY, AWAY, True), 2),
        ((AWAY, 3), (True,), 3),
        ((AWAY,), (True,), DatasetError),
        ((AWAY,), (AWAY, AWAY, True), DatasetError),
        ((AWAY,), (AWAY,), StoreError),
    ],
)
def test_a_store_that_is_away_is_waited_for(action, probe, result):
    def run():
        return retried(attempts(*action), attempts(*probe), DatasetError, pauses_s=(0, 0, 0))

    if isinstance(result, int):
        assert run() == result
    else:
        with pytest.raises(result, match="away"):
            run()


def test_an_object_that_is_gone(bucket, tmp_path):
    store, key = split_url(bucket.url("gone.wav"))
    with pytest.raises(DatasetError, match=f"{store.shown(key)!r} is not there"):
        store.get(key, tmp_path / "a")


def test_puts_of_several_threads(bucket):
    store, _ = split_url(bucket.url())
    at_once(lambda n: store.put(f"{n}", bytes(n)), range(8))
    assert {key: info.size_bytes for key, info in store.list("", recursive=True)[0].items()} == {
        str(n): n for n in range(8)
    }


def test_without_pyarrow_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(ClusterError, match=r"URLs need the package pyarrow.*pip install '\.\[ray\]'"):
        split_url("s3://bucket/a")[0].info("a")
