"""The package and its main commands run where what Windows and macOS do not have is hidden from them."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import other_systems
from golden.tiny import tiny_mel, write_tiny

IMPORTS = """
import importlib, pkgutil, hifigan_rt
for found in pkgutil.walk_packages(hifigan_rt.__path__, "hifigan_rt."):
    # A worker's script and what only PyInstaller runs are no modules to import; this system's Ray needs what is hidden.
    if "pyinstaller.hook" in found.name or "rthooks" in found.name or found.name.endswith(("__main__", "ray_metrics")):
        continue
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        assert error.name not in sys.modules, error   # hidden here; else an optional package is not installed
"""

COMMANDS = """
import numpy, hifigan_rt
from hifigan_rt.tools.cli import main
def run(status, *arguments):
    done = main(arguments)
    assert done == status, (arguments, done)
run(0, "--version")
run(0, "engines")
run(0, "models")
run(0, "info", "model")
run(0, "mel", "clips", "--model", "model", "-o", "mels")
run(0, "synth", "mels", "--model", "model", "-o", "out")
run(0, "synth", "mels", "--model", "model", "-o", "out", "--resume")
run(0, "synth", "mel.npy", "--model", "model", "-o", "one.flac")
run(0, "export", "safetensors", "model", "-o", "exported.safetensors")
with hifigan_rt.load("model", threads=2) as vocoder:
    mel = numpy.load("mel.npy")
    stream = vocoder.stream(segment_frames=4)
    whole = vocoder(mel, segment_frames=4)
    assert numpy.array_equal(numpy.concatenate([stream.push(mel), stream.finish()]), whole)
"""

BENCH = """
from hifigan_rt.tools.cli import main
arguments = ["bench", "--model", "model", "--engines", "native", "--mel-len", "8", "--loop", "1", "--no-ceilings"]
assert main(arguments) == 1
"""


@pytest.fixture
def run(tmp_path):
    write_tiny(tmp_path / "model")
    np.save(tmp_path / "mel.npy", tiny_mel(30))
    (tmp_path / "clips").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / f"clips/{name}.wav", np.sin(np.arange(800)) / 2, 8000)

    def on(system, code):
        script = tmp_path / "script.py"
        script.write_text(f"import sys\n{code}")
        program = [sys.executable, "-X", "warn_default_encoding", other_systems.__file__, system, script]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)

    return on


def test_main_commands_run_on_windows(run):
    done = run("windows", IMPORTS + COMMANDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.long  # what it lacks Windows lacks too
def test_main_commands_run_on_macos(run):
    done = run("macos", COMMANDS)
    assert done.returncode == 0, done.stderr


def test_what_windows_cannot_do_is_said(run):
    done = run("windows", BENCH)
    assert done.returncode == 0, done.stderr
    assert "are not for Windows" in done.stdout + done.stderr


PLANTED = {
    "import fcntl": "ModuleNotFoundError",
    "import os; os.sched_getaffinity(0)": "AttributeError: module 'os' has no attribute 'sched_getaffinity'",
    "from signal import SIGKILL": "ImportError: cannot import name 'SIGKILL'",
    "import os; assert os.name == 'posix'": "AssertionError",
    "open('/proc/self/statm')": "FileNotFoundError",
    "import pathlib; pathlib.Path('/sys/fs/a').read_text('ascii')": "FileNotFoundError",
    "import os; os.close(os.open('mel.npy', os.O_RDONLY))": "without O_BINARY",
    "import pathlib; pathlib.Path('a').write_text('')": "'encoding' argument not specified",
    "import pathlib; file = open('mel.npy', 'rb'); pathlib.Path('mel.npy').unlink()": "which is open",
    "import os; file = open('a', 'rb'); os.replace('clips/a.wav', 'a')": "which is open",
}


def test_the_test_sees_what_windows_has_not(run):
    place = str(other_systems.HOUSE / "planted.py")
    done = run(
        "windows",
        f"""
for number, code in enumerate({list(PLANTED)!r}):
    print(f"[{{number}}]", file=sys.stderr)
    noted.clear()
    try:
        exec(compile(code, {place!r}, "exec"), {{"__name__": "hifigan_rt.planted"}})
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}", file=sys.stderr)
    print(*noted, file=sys.stderr)
""",
    )
    found = re.split(r"^\[\d+\]\n", done.stderr, flags=re.MULTILINE)[1:]
    assert [text for text, expected in zip(found, PLANTED.values(), strict=True) if expected not in text] == []


def test_other_packages_see_the_system_as_it_is(run):
    code = "import os, signal; assert os.name == 'posix'; os.sched_getaffinity(0); signal.SIGKILL; open('/proc/stat')"
    done = run("windows", code)
    assert done.returncode == 0, done.stderr
