"""Which processors the native engine's threads may use: those that they were given, although sleepers keep off one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where a thread may run")

PREPARED = """
import ctypes, json, os, sys, threading, time
import numpy as np
from native_generators import V1_LIKE, make_case

def masks():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            found.append(sorted(os.sched_getaffinity(int(task))))
        except ProcessLookupError:  # it has ended meanwhile
            pass
    return found

def confine(processors):
    for task in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(task), processors)

case = make_case(V1_LIKE, 40)

def call():
    '''Its worker sleeps when this returns.'''
    loaded.run(case.mel[None])
    time.sleep(0.05)
"""

FORBID = """
import platform
number = {"x86_64": 203, "aarch64": 122}[platform.machine()]  # sched_setaffinity

class Line(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.POINTER(Line))]

def forbid(action):
    '''A filter of system calls that allows all but this one: seccomp(2).'''
    lines = (Line * 4)((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(4, lines)), 0, 0) == 0, ctypes.get_errno()
"""


def run(code: str, first: str = "", **variables: str) -> Any:
    """What a process of its own prints, once the engine has loaded a model; `first` comes before that."""
    environment = {key: value for key, value in os.environ.items() if key != "INVOCATION_ID"} | variables
    done = subprocess.run(
        [sys.executable, "-c", f"{PREPARED}\n{first}\nloaded = case.load(threads=2)\n{code}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout)


needs_two = pytest.mark.skipif(
    sys.platform == "linux" and len(os.sched_getaffinity(0)) < 2, reason="one processor leaves no choice"
)


@needs_two
def test_a_sleeping_worker_is_kept_off_one_processor_at_most_and_a_working_one_off_none():
    asleep, awake, at_end = run("""
call(); call()
asleep = masks()
long = make_case(V1_LIKE, 40000).mel[None]
thread = threading.Thread(target=loaded.run, args=(long,))
thread.start()
awake = []
while thread.is_alive():
    awake.append(masks())
    time.sleep(0.001)
thread.join()
time.sleep(0.05)
print(json.dumps([asleep, awake, masks()]))
""")
    given = sorted(os.sched_getaffinity(0))
    for seen in (asleep, at_end):
        assert all(set(mask) <= set(given) and len(mask) >= len(given) - 1 for mask in seen)
        assert sum(mask != given for mask in seen) <= 1
    # It may sleep for a moment in between.
    assert any(all(mask == given for mask in seen) for seen in awake)


@needs_two
@pytest.mark.parametrize("chosen", [min, max])
def test_a_process_that_is_confined_while_its_workers_sleep_stays_confined(chosen):
    """As `taskset -ap` does it."""
    one = chosen(os.sched_getaffinity(0))
    after = run(f"call(); confine({{{one}}}); call(); call(); print(json.dumps(masks()))")
    assert all(mask == [one] for mask in after)


@needs_two
def test_workers_follow_a_process_that_gets_processors_back():
    """Their number shrinks and grows where containers share a machine."""
    given = sorted(os.sched_getaffinity(0))
    after = run(f"""
call()
os.sched_setaffinity(0, {{{given[0]}}}); call(); confine({set(given)}); call()
loaded.run(make_case(V1_LIKE, 40).mel[None])
print(json.dumps(masks()))
""")
    assert all(len(mask) >= len(given) - 1 for mask in after)


@needs_two
def test_workers_of_a_confined_caller_stay_where_it_is():
    """A thread that was given a processor begins the pool; the process keeps all of them."""
    one = min(os.sched_getaffinity(0))
    after = run(f"""
def confined():
    global loaded
    os.sched_setaffinity(0, {{{one}}})
    loaded = case.load(threads=2)
    call(); call()
thread = threading.Thread(target=confined)
before = set(os.listdir("/proc/self/task"))
thread.start(); thread.join()
call(); call()
new = set(os.listdir("/proc/self/task")) - before
print(json.dumps([sorted(os.sched_getaffinity(int(task))) for task in new]))
""")
    assert after == [[one]]


@pytest.mark.parametrize(
    ("action", "variables"),
    [(0x80000000, {"INVOCATION_ID": "0"}), (0x00050001, {}), (0x00050001, {"INVOCATION_ID": "0"})],
    ids=["ends a service", "is refused", "is refused to a service"],
)
def test_a_filter_that_forbids_to_choose_processors_changes_nothing(action, variables):
    """systemd's filters end a process for what they forbid, those of containers refuse it."""
    assert run("call(); call(); print(json.dumps(masks()))", f"{FORBID}\nforbid({action})", **variables)
