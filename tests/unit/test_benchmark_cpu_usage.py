"""What a candidate of the benchmark costs, with the processes that it started."""

import subprocess
import sys
import time

import pytest

from hifigan_rt.tools.benchmark.cpu_usage import cpu_seconds, peak_memory_mib, started_processes

BUSY = """
import time
held = bytearray(b"x" * (80 << 20))
while time.process_time() < 0.3: pass
print(flush=True)
input()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process takes is told by /proc")
def test_a_process_that_was_started_by_a_shell_counts_too():
    before = set(started_processes())
    # The colon keeps the shell from becoming what it starts.
    command = ["sh", "-c", '"$0" -c "$1"; :', sys.executable, BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        shell.stdout.readline()
        others = set(started_processes()) - before
        assert shell.pid in others
        assert len(others) == 2
        own = time.process_time()
        assert cpu_seconds(others) >= own + 0.25
        assert peak_memory_mib(others) > peak_memory_mib() + 80
        shell.communicate(b"\n")
    assert set(started_processes()) == before
    assert cpu_seconds(others) < own + 0.25, "they have ended"
