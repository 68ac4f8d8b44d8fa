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


def test_hardware_threads_of_one_core_count_once(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CGROUPS_OF_THIS", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(machine, "_core_of", lambda cpu: f"{cpu // 2}")
    assert machine.usable_cores() == 2


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """The folder of the control groups of a machine with 8 cores; `self` beside it names those of this process."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_CGROUPS_OF_THIS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(machine, "_core_of", str)
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("rubbish", 8)]
)
@pytest.mark.parametrize("place", [".", "system.slice", "system.slice/tts.service"])
def test_the_cgroup_quota_is_rounded_up(groups, content, cores, place):
    """In a container the root has it, of a service its own group, or one around it."""
    (groups.parent / "self").write_text("0::/system.slice/tts.service\n")
    (groups / place).mkdir(parents=True, exist_ok=True)
    (groups / place / "cpu.max").write_text(content)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
@pytest.mark.parametrize("place", [".", "docker/one"])
def test_the_older_cgroup_files_are_read(groups, quota, cores, place):
    (groups.parent / "self").write_text("4:memory:/\n1:cpu,cpuacct:/docker/one\n0::/\n")
    folder = groups / "cpu" / place
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
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
