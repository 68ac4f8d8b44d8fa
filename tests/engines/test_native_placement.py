"""Which processors the native engine's threads may use: those that they were given, although sleepers keep off one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GIVEN = sorted(os.sched_getaffinity(0))
KEPT_OFF = int(
    len(GIVEN) > 1 and platform.machine() == "x86_64" and " hypervisor" in Path("/proc/cpuinfo").read_text("utf-8")
)
"""How many processors a sleeping worker is kept off: one on a virtual machine, none elsewhere."""

PREPARED = """
import ctypes, json, os, sys, threading, time
import numpy as np
from native_generators import V1_LIKE, make_case

def masks():
    '''Of the first thread and of all others, which are the core's and those begun here.'''
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            found.append(sorted(os.sched_getaffinity(int(task))))
        except ProcessLookupError:  # it has ended meanwhile
            pass
    return found

def settled(given, kept_off):
    '''The masks once so many processors are missing in them, at the latest after five seconds.'''
    for _ in range(500):
        found = masks()
        if sum(len(given) - len(mask) for mask in found) == kept_off:
            break
        time.sleep(0.01)
    return found

def while_working():
    '''All masks that are seen in the middle of a long call.'''
    long = make_case(V1_LIKE, 15000).mel[None]
    thread = threading.Thread(target=loaded.run, args=(long,))
    thread.start()
    found = []
    while thread.is_alive():
        found.append(masks())
        time.sleep(0.001)
    thread.join()
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

SET_AFFINITY = {"x86_64": 203, "aarch64": 122}[platform.machine()]
"""The number of sched_setaffinity(2)."""


def run(code: str, first: str = "", **variables: str) -> Any:
    """What a process of its own prints, once the engine has loaded a model; `first` comes before that."""
    environment = {key: value for key, value in os.environ.items() if key != "INVOCATION_ID"}
    environment |= {"OPENBLAS_NUM_THREADS": "1"} | variables  # no threads but the first and the core's
    done = subprocess.run(
        [sys.executable, "-c", f"{PREPARED}\n{first}\nloaded = case.load(threads=2)\n{code}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout)


def test_a_sleeping_worker_is_kept_off_one_processor_and_a_working_one_off_none():
    asleep, awake, at_end = run(f"""
call()
asleep = settled({GIVEN}, {KEPT_OFF})
awake = while_working()
print(json.dumps([asleep, awake, settled({GIVEN}, {KEPT_OFF})]))
""")
    for seen in (asleep, at_end):
        assert all(set(mask) <= set(GIVEN) for mask in seen)
        assert sum(len(GIVEN) - len(mask) for mask in seen) == KEPT_OFF
    # It may sleep for a moment in between.
    assert any(all(mask == GIVEN for mask in seen) for seen in awake)


@pytest.mark.parametrize("one", [GIVEN[0], GIVEN[-1]], ids=["first", "last"])
def test_a_process_that_is_confined_while_its_workers_sleep_stays_confined(one):
    """As `taskset -ap` does it."""
    after = run(f"call(); confine({{{one}}}); call(); call(); print(json.dumps(masks()))")
    assert all(mask == [one] for mask in after)


def test_a_worker_that_was_kept_off_takes_what_the_process_has_when_it_wakes():
    """So that it gains what a container gains meanwhile; here the first thread loses, as by `taskset -p`."""
    after = run(f"""
call()
settled({GIVEN}, {KEPT_OFF})  # one that is still awake takes what it had itself
os.sched_setaffinity(0, {{{GIVEN[0]}}})
while_working()
print(json.dumps(masks()))
""")
    assert {tuple(mask) for mask in after} == {tuple(GIVEN[:1]), tuple(GIVEN[:1] if KEPT_OFF else GIVEN)}


def test_workers_of_a_confined_caller_stay_where_it_is():
    """A thread that was given a processor begins the pool; the process keeps all of them."""
    after = run(f"""
def confined():
    global loaded
    os.sched_setaffinity(0, {{{GIVEN[0]}}})
    loaded = case.load(threads=2)
    call(); call()
thread = threading.Thread(target=confined)
before = set(os.listdir("/proc/self/task"))
thread.start(); thread.join()
call(); call()
new = set(os.listdir("/proc/self/task")) - before
print(json.dumps([sorted(os.sched_getaffinity(int(task))) for task in new]))
""")
    assert after == [GIVEN[:1]]


def test_workers_of_a_caller_with_more_than_the_first_thread_keep_them():
    awake = run(f"""
os.sched_setaffinity(0, {{{GIVEN[0]}}})
def free():
    global loaded
    os.sched_setaffinity(0, {set(GIVEN)})
    loaded = case.load(threads=2)
    call(); call()
    print(json.dumps(while_working()))
loaded = None
thread = threading.Thread(target=free)
thread.start(); thread.join()
""")
    # The first thread is confined; the thread, the one that works for it and the worker are not.
    assert any(sum(mask == GIVEN for mask in seen) >= 3 for seen in awake)


@pytest.mark.parametrize(
    ("action", "variables"),
    [(0x80000000, {"INVOCATION_ID": "0"}), (0x00050001, {}), (0x00050001, {"INVOCATION_ID": "0"})],
    ids=["ends a service", "is refused", "is refused to a service"],
)
def test_a_filter_that_forbids_to_choose_processors_changes_nothing(action, variables):
    """systemd's filters end a process for what they forbid, those of containers refuse it."""
    assert run(
        "call(); call(); print(json.dumps(masks()))",
        f"from system_call_filters import forbid\nforbid({SET_AFFINITY}, {action})",
        **variables,
    )
