import os
import subprocess
import sys

import pytest

from hifigan_rt.system import machine


def test_at_least_one_and_no_more_than_the_mask():
    assert 1 <= machine.usable_cores() <= len(os.sched_getaffinity(0))


def test_the_affinity_mask_counts():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from hifigan_rt.system.machine import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1"


def test_hardware_threads_of_one_core_count_once(monkeypatch):
    monkeypatch.setattr(machine, "_cgroup_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(machine, "_core_of", lambda cpu: f"{cpu // 2}")
    assert machine.usable_cores() == 2


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("rubbish", 8)]
)
def test_the_cgroup_quota_is_rounded_up(monkeypatch, tmp_path, content, cores):
    limit = tmp_path / "cpu.max"
    limit.write_text(content)
    monkeypatch.setattr(machine, "_CGROUP_V2", limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(machine, "_core_of", str)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
def test_the_older_cgroup_files_are_read(monkeypatch, tmp_path, quota, cores):
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000")
    monkeypatch.setattr(machine, "_CGROUP_V2", tmp_path / "none")
    monkeypatch.setattr(machine, "_CGROUP_V1", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(machine, "_core_of", str)
    assert machine.usable_cores() == cores


def test_freed_memory_goes_back_to_the_system():
    code = """
from hifigan_rt.system.machine import give_back_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
pieces = [bytearray(100_000) for _ in range(1000)]
held = resident()
last = pieces[-1]  # keeps the heap from shrinking by itself
del pieces
kept = resident()
give_back_memory()
print(held - kept, kept - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    freed_by_itself, given_back = map(int, done.stdout.split())
    # Which of them it is, depends on the C library: glibc keeps it all.
    assert freed_by_itself + given_back > 80e6


def test_a_server_leaves_its_modules_out_of_the_garbage_collectors_rounds():
    code = """
import gc
from hifigan_rt.tools.serving import server
class Served:
    async def serve(self):
        print(len(gc.get_objects()), gc.get_freeze_count())
server.serve(Served())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    looked_at, left_out = map(int, done.stdout.split())
    assert left_out > 20_000
    assert looked_at < left_out / 20
