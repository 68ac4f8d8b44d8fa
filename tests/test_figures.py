import importlib
import json
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


def test_times_over_another_candidate_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    write_figures = importlib.import_module("write_figures")
    record = tmp_path / "intel-6-207" / "headline.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"date": "2026-11-29", "cases": [{"baseline": "ort"}]}))
    monkeypatch.setattr(write_figures, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match=r"intel-6-207/headline\.json has times over ort: measure with native"):
        write_figures.speed(1000)
