import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_paths, atomic_writer, file_sha256, plain_path, refuse_special, sync_folders
from hifigan_rt.system.temporary_names import remove_left_over, temporary_prefix


def test_the_file_appears_whole_at_the_end(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_writer(path) as file:
        file.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_rights_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_writer(tmp_path / "atomic"):
        pass
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_fails(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(error), atomic_writer(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError) as caught, atomic_writer(tmp_path / "none/a.bin"):
        pass
    assert str(caught.value) == (
        f"'{tmp_path}/none/a.bin' could not be written: folder '{tmp_path}/none' is not there, make it first; nothing "
        "stands at its place but what was there before"
    )


def test_a_full_disk_leaves_what_was_there(tmp_path):
    """The kernel's own limit on file size stands in for a full disk: the write fails half way."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    code = f"""
import resource, signal
from pathlib import Path
from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_paths, atomic_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic_writer(Path({str(path)!r})) as file:
        file.write(bytes(5000))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "could not be written: File too large" in done.stdout
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_files_of_one_result_appear_together(tmp_path):
    paths = [tmp_path / "a.bin", tmp_path / "a.xml"]
    paths[0].write_bytes(b"before")
    with atomic_paths(paths) as folder:
        for path in paths:
            (folder / path.name).write_bytes(path.name.encode())
        (folder / "scratch").write_bytes(b"")
        assert paths[0].read_bytes() == b"before"
    assert [path.read_bytes() for path in paths] == [b"a.bin", b"a.xml"]
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "a.xml"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("obstacle", ["second missing", "second is a folder", "the block fails"])
def test_of_several_files_none_is_replaced_alone(tmp_path, obstacle, before):
    paths = [tmp_path / "a.bin", tmp_path / "a.xml"]
    if before:
        paths[0].write_bytes(b"before")
    with pytest.raises((OutputError, KeyboardInterrupt)), atomic_paths(paths) as folder:
        (folder / "a.bin").write_bytes(b"after")
        if obstacle == "the block fails":
            raise KeyboardInterrupt
        if obstacle == "second is a folder":
            (folder / "a.xml").write_bytes(b"after")
            (tmp_path / "a.xml").mkdir()
    assert sorted(os.listdir(tmp_path)) == ["a.bin"] * before + ["a.xml"] * (obstacle == "second is a folder")
    if before:
        assert paths[0].read_bytes() == b"before"


def test_no_descriptor_stays_open(tmp_path):
    def lowest_free() -> int:
        descriptor = os.dup(0)
        os.close(descriptor)
        return descriptor

    before = lowest_free()
    with atomic_writer(tmp_path / "a.bin"):
        pass
    assert lowest_free() == before
    sync_folders([tmp_path])
    assert lowest_free() == before


def test_the_digest_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 10_000)
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert file_sha256(path) == done.stdout.split()[0]
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "none")


def test_paths_are_shown_without_detours(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "below")
    monkeypatch.chdir(tmp_path / "a")
    for given, plain in {
        "../c.wav": "c.wav",
        "b/../c.wav": "a/c.wav",
        "b/../../a/./b//../c.wav": "a/c.wav",
        "../*.wav": "*.wav",
        "..": "",
        "../link/../c.wav": "link/../c.wav",
        "../link/../../c.wav": "link/../../c.wav",
        "../absent/../c.wav": "absent/../c.wav",
        "...": "a/...",
    }.items():
        assert str(plain_path(given)) == str(tmp_path / plain)
        assert os.path.realpath(plain_path(given)) == os.path.realpath(given)
    assert plain_path("/../../tmp") == Path("/tmp")


def test_contents_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.bin", []

    def fsync(descriptor):
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_writer(path) as file:
        file.write(b"abc")
    assert synced == [(path.stat().st_ino, 3, False)]
    synced.clear()
    with atomic_paths([tmp_path / "b.bin", tmp_path / "b.xml"]) as folder:
        for name in ("b.bin", "b.xml"):
            (folder / name).write_bytes(b"abcd")
    places = [tmp_path / "b.bin", tmp_path / "b.xml", tmp_path]
    assert [inode for inode, *_ in synced] == [place.stat().st_ino for place in places]


def refuse_to_sync(monkeypatch, number):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_disk_that_cannot_be_waited_for_is_passed_over(tmp_path, monkeypatch, number):
    refuse_to_sync(monkeypatch, number)
    with atomic_writer(tmp_path / "a.bin") as file:
        file.write(b"after")
    sync_folders([tmp_path, tmp_path / "none"])
    assert (tmp_path / "a.bin").read_bytes() == b"after"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_broken_disk_is_told_and_leaves_what_was_there(tmp_path, monkeypatch, number):
    (tmp_path / "a.bin").write_bytes(b"before")
    refuse_to_sync(monkeypatch, number)
    with pytest.raises(OutputError, match=os.strerror(number)), atomic_writer(tmp_path / "a.bin") as file:
        file.write(b"after")
    with pytest.raises(OutputError, match=os.strerror(number)):
        sync_folders([tmp_path])
    assert (tmp_path / "a.bin").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_link_of_the_system_is_not_replaced():
    # The check alone: a writer that lacks it would take /dev/stdout from the whole machine.
    with pytest.raises(OutputError, match="'/dev/stdout' is a link of the system, and only files are replaced"):
        refuse_special(Path("/dev/stdout"))


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_never_replaced(tmp_path, kind):
    path = tmp_path / "a.bin"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
            server.bind("a.bin")
    else:
        path = Path(os.devnull)
    before = path.lstat()
    for refused in (atomic_writer(path), atomic_paths([tmp_path / "b.bin", path])):
        with pytest.raises(OutputError, match="and only files are replaced"), refused:
            pass
    assert path.lstat() == before


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    for name in ("precious", "nowhere"):
        link = tmp_path / f"{name}.link"
        link.symlink_to(name)
        with atomic_writer(link) as file:
            file.write(b"new")
        assert (link.is_symlink(), link.read_bytes()) == (False, b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_temporary_files_of_a_killed_process_are_removed_and_no_others(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    own = temporary_prefix()
    of_gone = own.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/a").touch()
    (tmp_path / f"{of_gone}folder.part").mkdir()
    (tmp_path / f"{of_gone}folder.part/a").touch()
    (tmp_path / f"{of_gone}link.part").symlink_to("precious")
    (tmp_path / f"{of_gone}file.part").touch()
    kept = {"precious", f"{own}file.part", ".x.part", f"{of_gone}file.wav", f".hifigan-00000000-{gone.pid}-file.part"}
    for name in kept - {"precious"}:
        (tmp_path / name).touch()
    remove_left_over([tmp_path, tmp_path / "none"])
    assert set(os.listdir(tmp_path)) == kept
    assert (tmp_path / "precious/a").exists()
