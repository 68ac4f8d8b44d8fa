"""One run at a time in a folder; whatever ends a run frees it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from hifigan_rt.errors import OutputError
from hifigan_rt.system import folder_lock
from hifigan_rt.system.folder_lock import HOLDER_NAME, LOCK_NAME, locked_folder
from waiting import at_once

HOLD = """
import sys
from pathlib import Path
from hifigan_rt.system.folder_lock import locked_folder

with locked_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folder_lock, "_lock", refuse)


def test_another_process_is_kept_out_and_named_until_it_ends(tmp_path, other):
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(OutputError) as caught, locked_folder(folder):
            pass
        assert f"process {other.pid} on host {os.uname().nodename}, since 20" in str(caught.value)
        assert "Wait until it has ended, or name another output folder" in str(caught.value)
    other.communicate("")
    (tmp_path / "link").unlink()
    with locked_folder(tmp_path):
        assert os.listdir(tmp_path) == [LOCK_NAME]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_process_leaves_nothing_in_the_way(tmp_path, other, number):
    other.send_signal(number)
    other.wait()
    with locked_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_threads_of_one_process_exclude_each_other(tmp_path):
    inside, most, guard = [0], [0], threading.Lock()
    refused = []

    def run(_):
        for _ in range(50):
            try:
                with locked_folder(tmp_path):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with guard:
                        inside[0] -= 1
            except OutputError as error:
                refused.append(error)

    at_once(run, range(4))
    assert most == [1]
    assert len(refused) < 200
    assert os.listdir(tmp_path) == []


def test_an_error_in_the_block_frees_the_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked_folder(tmp_path):
        raise KeyboardInterrupt
    with locked_folder(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"process": "\\u001b[31m", "host": 5}', b"\0" * 100])
def test_what_a_left_over_file_says_does_not_matter(tmp_path, content):
    (tmp_path / LOCK_NAME).write_bytes(content)
    with (
        locked_folder(tmp_path),
        pytest.raises(OutputError, match=f"process {os.getpid()} on"),
        locked_folder(tmp_path),
    ):
        pass


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / LOCK_NAME
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OutputError, match=r"is a link to|is a FIFO|Is a directory"), locked_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == [LOCK_NAME]


def holder(tmp_path, **record):
    default = {"process": os.getpid(), "host": os.uname().nodename, "since": "2026"}
    (tmp_path / HOLDER_NAME).write_text(json.dumps(default | record))


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_file_itself_is_the_lock(tmp_path):
    with locked_folder(tmp_path):
        assert os.listdir(tmp_path) == [HOLDER_NAME]
        with pytest.raises(OutputError, match="if that process is gone, delete"), locked_folder(tmp_path):
            pass
    assert os.listdir(tmp_path) == []
    gone = subprocess.Popen(["true"])
    gone.wait()
    for record in ({"process": gone.pid}, {}):  # the second is an earlier process of our own number
        holder(tmp_path, **record)
        with locked_folder(tmp_path):
            pass
    for record in ({"process": os.getppid()}, {"host": "elsewhere"}, {"process": None}, {"process": 1 << 70}):
        holder(tmp_path, **record)
        with pytest.raises(OutputError, match="if that process is gone, delete"), locked_folder(tmp_path):
            pass
    assert os.listdir(tmp_path) == [HOLDER_NAME]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with pytest.raises(OutputError, match="cannot be written to: No such file"), locked_folder(tmp_path / "none"):
        pass
