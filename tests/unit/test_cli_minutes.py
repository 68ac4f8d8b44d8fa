"""What is told without a terminal: a line a minute, and failures as they come."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest

from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.summary import RunSummary
from hifigan_rt.tools.cli import console as console_module
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.minutes import EveryMinute, StageLines, duration
from waiting import wait_for


def test_lines_of_a_stage():
    stage = StageLines("clips", 300)
    assert stage.line(60) == "clips: 0 of 300 after 1 min"
    stage.done, stage.failed = 100, 3
    assert stage.line(120, "35.2 s of audio per s") == (
        "clips: 100 of 300 after 2 min, 3 failed, 35.2 s of audio per s, about 4 min left"
    )
    stage.done = 300
    assert stage.line(7500) == "clips: 300 of 300 after 2 h 5 min, 3 failed"
    assert (duration(29), duration(119 * 60), duration(125 * 60)) == ("29 s", "119 min", "2 h 5 min")


def test_it_is_told_while_one_step_lasts_and_no_longer():
    told = []
    with EveryMinute(told.append, every_seconds=0.001):
        wait_for(lambda: len(told) >= 3)
    assert told == sorted(told)
    count = len(told)
    assert not [thread for thread in threading.enumerate() if thread.name == "hifigan-minutes"]
    assert len(told) == count


def failed(name: str) -> ClipRecord:
    return ClipRecord(name, name, "failed", "", error="no mel")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(console_module, "EveryMinute", lambda say: EveryMinute(say, every_seconds=0.001))


@pytest.mark.usefixtures("quick")
def test_failures_come_at_once_and_only_once(capsys):
    console, summary = Console(), RunSummary(23)
    seen = ""
    with console.progress(23, None) as advance:
        for number in range(22):
            record = failed(f"{number}.wav")
            summary.add(record)
            advance(record)
        seen = capsys.readouterr().err
        assert "failed: '19.wav': no mel" in seen
        assert "20.wav" not in seen
        wait_for(lambda: "clips: 22 of 23 after 0 s, 22 failed" in capsys.readouterr().err)
    console.summary(summary)
    told = capsys.readouterr().err
    assert "failed:" not in told
    # A slow machine may have told of its progress once more.
    assert [line for line in told.splitlines() if not line.startswith("clips: ")] == ["and 2 more failed"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("forced", "verbosity"), [(False, 0), (None, -1)])
def test_no_progress_and_quiet_leave_only_failures(capsys, forced, verbosity):
    console = Console()
    console.verbosity = verbosity
    with console.steps("metrics", 9, forced) as advance:
        advance()
        console.failure_now("v1, a", "hangs")
        threading.Event().wait(0.02)
    assert capsys.readouterr().err == "failed: 'v1, a': hangs\n"


def test_a_bar_is_not_torn_by_failures(capsys):
    console = Console()
    with console.progress(2, forced=True) as advance:
        advance(failed("a.wav"))
        advance(failed("b.wav"))
    assert "failed" not in capsys.readouterr().err
    console.failures([("a.wav", "no mel")], None)
    assert capsys.readouterr().err == "failed: 'a.wav': no mel\n"


@pytest.mark.parametrize(("columns", "remarks"), [(200, True), (80, True), (60, False), (40, False)])
def test_a_bar_fits_into_its_terminal(capsys, monkeypatch, columns, remarks):
    monkeypatch.setattr(console_module, "terminal_columns", lambda: columns)
    with Console().progress(1000, forced=True) as advance:
        for number in range(1000):
            advance(ClipRecord(f"{number}.npy", f"{number}.wav", "done", "", audio_seconds=0.01))
    told = re.split(r"[\r\n]", re.sub(r"\x1b\[[?0-9]*[a-z]", "", capsys.readouterr().err))
    assert max(map(len, told)) < columns
    assert any("s of audio per s" in line for line in told) == remarks
    assert any("##" in line for line in told)


def test_the_terminal_is_that_of_standard_error(monkeypatch):
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("4H", 24, 57, 0, 0))
    with os.fdopen(here, "rb"), os.fdopen(there, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert console_module.terminal_columns() == 57
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("COLUMNS", "33")
    assert console_module.terminal_columns() == 33


@pytest.mark.usefixtures("quick")
def test_work_that_tells_nothing_is_said_to_go_on(capsys):
    with Console().waiting("listening test"):
        wait_for(lambda: "listening test: still at work after 0 s" in capsys.readouterr().err)
