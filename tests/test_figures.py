import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ["write_figures.py", "draw_speed.py", "draw_how_it_works.py", "draw_native_engine.py", "draw_streaming.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_documents_show_what_was_recorded_and_what_the_code_says(script):
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
