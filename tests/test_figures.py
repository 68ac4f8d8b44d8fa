import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_documents_say_what_the_benchmarks_recorded():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/write_figures.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
