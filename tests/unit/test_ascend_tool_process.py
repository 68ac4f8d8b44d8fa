"""Programs that hang, shout, or leave children behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hifigan_rt.engines.ascend_runtime import tool_process
from hifigan_rt.engines.ascend_runtime.tool_process import run_tool
from hifigan_rt.errors import ToolFailed
from waiting import wait_for, wait_until_gone


def shell(script: str, **options) -> tool_process.ToolRun:
    return run_tool(["/bin/sh", "-c", script], **({"timeout_seconds": 300.0} | options))


def test_lines_come_as_they_are_printed_from_both_streams():
    lines = []
    run = shell("echo one; echo two >&2; printf 'a\\rb\\n'; printf 'no end'; exit 3", on_line=lines.append)
    assert lines == ["one", "two", "a", "b", "no end"]
    assert (run.status, run.output) == (3, "\n".join(lines))


def test_bytes_that_are_not_utf8():
    run = shell(r"printf '\276\257\270\346 ok\n'")
    assert run.output.endswith(" ok")
    assert "�" in run.output


def test_no_input_is_waited_for():
    assert shell("cat; echo done").output == "done"


def test_the_folder():
    assert shell("pwd", folder=Path("/")).output == "/"


def test_a_signal_is_told_by_a_negative_status():
    assert shell("kill -9 $$").status == -signal.SIGKILL


def test_the_end_of_a_flood_is_kept(monkeypatch):
    monkeypatch.setattr(tool_process, "MAX_OUTPUT_BYTES", 1000)
    run = shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
    assert run.output.endswith("line 1999")
    assert len(run.output) <= 1000


def test_a_line_without_end_costs_no_memory(monkeypatch):
    monkeypatch.setattr(tool_process, "MAX_OUTPUT_BYTES", 1 << 20)
    assert len(shell("head -c 5000000 /dev/zero | tr '\\0' x").output) <= 1 << 20


def test_hanging_ends_with_all_children(tmp_path):
    with pytest.raises(ToolFailed, match=r"did not end within 2 s and was stopped; the last it printed: working"):
        shell(f"sleep 1000 & echo $! > {tmp_path}/pid; echo working; wait", timeout_seconds=2.0)
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_one_that_ignores_being_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(tool_process, "_GRACE_SECONDS", 0.3)
    with pytest.raises(ToolFailed, match="did not end within"):
        shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done", timeout_seconds=2.0)
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_holds_the_pipe_open_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tool_process, "_GRACE_SECONDS", 0.3)
    run = shell(f"sleep 1000 & echo $! > {tmp_path}/pid; echo done")
    assert (run.status, run.output) == (0, "done")
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_what_cannot_be_started(tmp_path):
    with pytest.raises(ToolFailed, match="could not be started: No such file or directory"):
        run_tool([str(tmp_path / "none")], timeout_seconds=1)
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(ToolFailed, match="could not be started: Exec format error"):
        run_tool([str(tmp_path / "text")], timeout_seconds=1)


def test_ctrl_c_ends_the_group(tmp_path):
    """In a process of its own, as the signal goes to the whole of it."""
    code = (
        "from hifigan_rt.engines.ascend_runtime.tool_process import run_tool\n"
        "from pathlib import Path\n"
        f"def keep(line): Path({str(tmp_path)!r}, 'pid').write_text(line)\n"
        "run_tool(['/bin/sh', '-c', 'sleep 1000 & echo $!; wait'], timeout_seconds=300, on_line=keep)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    os.kill(process.pid, signal.SIGINT)
    _, text = process.communicate()
    assert "KeyboardInterrupt" in text
    wait_until_gone(int((tmp_path / "pid").read_text()))
