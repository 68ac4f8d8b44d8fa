"""Worker processes: what they answer, how they end, and that nothing of them is left."""

import ast
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hifigan_rt.system import worker_messages
from hifigan_rt.system.worker_process import (
    WorkerEnded,
    WorkerLate,
    WorkerProcess,
    WorkerRaised,
    describe_ending,
    python_command,
)
from waiting import gone, wait_until_gone

WORKER = """
import os, subprocess, sys, time
from hifigan_rt.system.worker_messages import serve

def answer(request, payload):
    wanted = request["wanted"]
    if wanted == "echo":
        return {"pid": os.getpid(), "variable": os.environ.get("HIFIGAN_TEST"), "more": request.get("more")}, payload
    if wanted == "raise":
        raise ValueError("no such thing: 7")
    if wanted == "print":
        print("through Python")
        os.write(1, b"through the descriptor\\n")
        sys.stderr.write("as an error")
    if wanted == "hang":
        time.sleep(600)
    if wanted == "exit":
        os._exit(7)
    if wanted == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        return {"child": child.pid}, b""
    return {}, b""

def main():
    serve(answer)
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "some_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def start():
    workers = []

    def start_worker(**options):
        workers.append(WorkerProcess(python_command("some_worker"), **options))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()


def ask(worker, wanted, payload=b"", timeout_s=60, **more):
    return worker.ask({"wanted": wanted, **more}, payload, timeout_s=timeout_s)


def test_requests_and_replies_carry_json_and_bytes(start):
    worker = start(environment=os.environ | {"HIFIGAN_TEST": "given"})
    payload = os.urandom(3_000_000)
    reply, answer = ask(worker, "echo", payload, more=["é", 1.5, None])
    assert reply == {"pid": worker.pid, "variable": "given", "more": ["é", 1.5, None]}
    assert answer == payload
    assert ask(worker, "echo")[1] == b""


def test_an_error_is_told_and_the_worker_can_be_asked_again(start):
    worker = start()
    with pytest.raises(WorkerRaised, match=r"^ValueError: no such thing: 7$") as caught:
        ask(worker, "raise")
    assert (caught.value.kind, caught.value.text) == ("ValueError", "no such thing: 7")
    assert ask(worker, "echo")[0]["pid"] == worker.pid


def test_what_is_printed_is_in_the_log_before_the_reply(start, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        worker = start(log=log)
    ask(worker, "print")
    text = (tmp_path / "log").read_text()
    assert {"through Python", "through the descriptor", "as an error"} <= set(text.splitlines())


def test_a_worker_that_ends_tells_its_status_and_is_gone(start):
    worker = start()
    with pytest.raises(WorkerEnded, match=r"^its process ended with status 7$") as caught:
        ask(worker, "exit")
    assert caught.value.status == 7
    assert not worker.alive
    with pytest.raises(WorkerEnded, match="status 7"):
        ask(worker, "echo")


def test_a_module_that_does_not_import_ends_its_worker(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        worker = WorkerProcess(python_command("no_such_module"), log=log)
    with pytest.raises(WorkerEnded, match="ended with status 1"):
        ask(worker, "echo")
    assert "no_such_module" in (tmp_path / "log").read_text()


def test_a_command_that_is_none_is_refused():
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        WorkerProcess(["no-such-program"])
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_worker_for_whose_pipes_no_descriptors_are_left_keeps_none(monkeypatch):
    open_before = len(os.listdir("/proc/self/fd"))
    pipe, left = os.pipe, [2]

    def pipe_while_there_are_any() -> tuple[int, int]:
        if not left[0]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        left[0] -= 1
        return pipe()

    monkeypatch.setattr(os, "pipe", pipe_while_there_are_any)
    with pytest.raises(OSError, match="Too many open files"):
        WorkerProcess(["no-such-program"])
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("end", ["kill", "signal"])
def test_a_worker_that_is_killed_while_it_is_asked(start, end):
    worker = start()
    ask(worker, "echo")
    stop = worker.kill if end == "kill" else (lambda: os.kill(worker.pid, signal.SIGKILL))
    timer = threading.Timer(0.2, stop)
    timer.start()
    with pytest.raises(WorkerEnded, match=r"^its process was ended by SIGKILL: was the memory full\?$"):
        ask(worker, "hang")
    timer.join()
    worker.kill()


def test_a_worker_that_hangs_is_ended(start):
    worker = start()
    ask(worker, "echo")
    with pytest.raises(WorkerLate, match=r"^it gave no answer within 0\.2 s and was ended$"):
        ask(worker, "hang", timeout_s=0.2)
    assert gone(worker.pid)


def test_a_worker_that_takes_no_request_is_ended(start):
    worker = start()
    ask(worker, "echo")
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLate):
        ask(worker, "echo", bytes(3_000_000), timeout_s=0.2)
    assert gone(worker.pid)


def test_an_interrupt_while_waiting_ends_the_worker(start):
    worker = start()
    ask(worker, "echo")
    timer = threading.Timer(0.2, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ask(worker, "hang")
    timer.join()
    assert not worker.alive
    assert gone(worker.pid)


def test_closing_ends_what_the_worker_started_and_frees_the_descriptors(start):
    open_before = len(os.listdir("/proc/self/fd"))
    worker = start()
    child = ask(worker, "child")[0]["child"]
    worker.close()
    worker.close()
    assert gone(worker.pid)
    wait_until_gone(child)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_what_a_worker_that_died_had_started_ends_too(start):
    worker = start()
    child = ask(worker, "child")[0]["child"]
    with pytest.raises(WorkerEnded):
        ask(worker, "exit")
    wait_until_gone(child)


PARENT = """
import subprocess
import sys
from hifigan_rt.system.worker_process import WorkerProcess, python_command
worker = WorkerProcess(python_command("some_worker"))
worker.ask({"wanted": "echo"}, timeout_s=60)
print(worker.pid, flush=True)
worker.ask({"wanted": "hang"}, timeout_s=600)
"""


def test_a_worker_dies_with_its_parent(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment, text=True)
    worker = int(parent.stdout.readline())
    assert not gone(worker)
    parent.kill()
    parent.communicate()
    wait_until_gone(worker)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "its process ended with status 0"),
        (-11, "its process was ended by SIGSEGV"),
        (-9, "its process was ended by SIGKILL: was the memory full?"),
        (-250, "its process was ended by signal 250"),
    ],
)
def test_endings_in_words(status, text):
    assert describe_ending(status) == text


def test_the_messages_are_python_3_7_and_need_only_the_standard_library():
    tree = ast.parse(Path(worker_messages.__file__).read_text(encoding="utf-8"), feature_version=(3, 7))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
