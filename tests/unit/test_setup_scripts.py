"""scripts/setup and scripts/check-environment: which virtual environments `make demo` and `make test` take."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the two scripts and `.venv`, an environment without pip."""
    folder = tmp_path / "a clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("setup", "check-environment"):
        shutil.copy2(ROOT / "scripts" / name, folder / "scripts")
    venv.create(folder / ".venv", symlinks=True)
    return folder


def run(clone: Path, script: str, *arguments: str | Path) -> tuple[int, str]:
    command = ["bash", clone / "scripts" / script, ".venv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={**os.environ, "LC_ALL": "C"})
    return done.returncode, done.stdout + done.stderr


def set_up(clone: Path, owner: Path) -> None:
    """Leaves in the clone's environment what scripts/setup leaves in that of `owner`."""
    (packages,) = clone.glob(".venv/lib/python*/site-packages")
    (packages / "hifigan_rt-1.dist-info").mkdir()
    (packages / "hifigan_rt-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: hifigan-rt\nVersion: 1\n")
    told = {"url": owner.as_uri(), "dir_info": {"editable": True}}
    (packages / "hifigan_rt-1.dist-info/direct_url.json").write_text(json.dumps(told))
    (clone / ".venv/installed-demo").touch()


def python_that(clone: Path, lines: str) -> Path:
    """A stand-in for a Python, which does what the tests need of one and then `lines`."""
    python = clone / "python"
    python.write_text(f'#!/bin/sh\ncase "$1$2" in --version | -cimport*) exec {sys.executable} "$@";; esac\n{lines}\n')
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(
    ("left", "options"),
    [("no pip", ""), ("no Python", "--clear "), ("nothing", ""), ("another's folder", "")],
    ids=lambda value: value,
)
def test_an_environment_left_half_made_is_made_whole(clone: Path, left: str, options: str) -> None:
    if left == "no Python":
        (clone / ".venv/bin/python").unlink()
        (clone / ".venv/bin/python").symlink_to("/nowhere/python3")
    if left in ("nothing", "another's folder"):
        shutil.rmtree(clone / ".venv")
    if left == "another's folder":  # VENV=FOLDER: what is in it is not lost
        (clone / ".venv").mkdir()
        (clone / ".venv/letter.txt").touch()
    code, said = run(clone, "setup", python_that(clone, 'echo "called with $*"; exit 3'), "demo")
    assert (code, said.splitlines()[-1]) == (3, f"called with -m venv {options}.venv")


def test_pips_settings_put_nothing_elsewhere(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        monkeypatch.setenv(name, "/nowhere")
    _, said = run(clone, "setup", python_that(clone, "env | grep ^PIP_[UTPR]; exit 3"), "demo")
    assert [line for line in said.splitlines() if line.startswith("PIP_")] == ["PIP_USER=0"]


def test_a_python_that_does_not_run_is_named(clone: Path) -> None:
    set_up(clone, clone)
    assert "scripts/setup: python3.99 does not run" in run(clone, "setup", "python3.99")[1]
    assert "python3.99, which PYTHON names, does not run" in run(clone, "check-environment", "python3.99")[1]


def test_the_environment_of_this_clone_is_taken(clone: Path) -> None:
    set_up(clone, clone)
    assert run(clone, "check-environment") == (0, "")
    assert run(clone, "check-environment", Path(sys.executable)) == (0, "")


def test_the_environment_of_another_clone_is_refused(clone: Path) -> None:
    set_up(clone, clone.parent)
    code, said = run(clone, "check-environment")
    assert code == 1
    assert f".venv has the hifigan-rt of {clone.parent}, not of {clone}: remove it" in said


def test_an_environment_of_another_python_is_refused(clone: Path) -> None:
    set_up(clone, clone)
    other = clone / "python"
    other.write_text("#!/bin/sh\necho Python 3.99\n")
    other.chmod(0o755)
    here = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    code, said = run(clone, "check-environment", other)
    assert code == 1
    assert f".venv has {here}, and {other} is Python 3.99: remove it" in said


def test_an_environment_that_lost_its_packages_is_refused(clone: Path) -> None:
    (clone / ".venv/installed-demo").touch()
    code, said = run(clone, "check-environment")
    assert code == 1
    assert ".venv has no hifigan-rt any more" in said


def write_empty_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "hifigan_rt-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hifigan_rt-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hifigan-rt\nVersion: 1\n")
        wheel.writestr("hifigan_rt-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("hifigan_rt-1.dist-info/RECORD", "")


def test_on_a_card_each_part_is_tried_with_what_the_given_python_sees(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts/gpu-test", tmp_path / "scripts")
    wheels, programs = tmp_path / "wheels", tmp_path / "programs"
    command = ["bash", tmp_path / "scripts/gpu-test", sys.executable, wheels, "sanitizer"]
    wheels.mkdir()
    programs.mkdir()
    (programs / "compute-sanitizer").write_text('#!/bin/sh\n"$5" -c "import numpy" && echo "numpy for $2"; exit 1\n')
    (programs / "compute-sanitizer").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run([*command[:-1], "cuda,whole"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (
        1,
        "scripts/gpu-test: PARTS has no 'whole': choose of cuda,torch,sanitizer\n",
    )
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert f"no wheel of hifigan-rt in {wheels}: make gpu-wheels WHEELS={wheels} puts it there" in done.stderr
    other = wheels / "hifigan_rt-1-cp35-cp35m-linux_x86_64.whl"
    other.touch()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    version = platform.python_version()
    assert f"not all in {wheels} is for Python {version} on this machine: make gpu-wheels takes a PYTHON" in done.stderr
    other.unlink()
    write_empty_wheel(wheels)
    # The environment of this test's Python has numpy, and the system's Python none.
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = [line for line in done.stdout.splitlines() if line.startswith("numpy for")]
    assert (done.returncode, said) == (1, [f"numpy for {tool}" for tool in ("memcheck", "racecheck", "synccheck")] * 2)
    assert "failed: memcheck racecheck synccheck memcheck-hopper racecheck-hopper synccheck-hopper" in done.stderr


def test_a_kernel_that_costs_a_process_its_card_keeps_no_other_file_from_being_tried(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts/gpu-test", tmp_path / "scripts")
    write_empty_wheel(tmp_path)
    code = {
        "engines/test_cuda.py": "import os\ndef test_first(): os._exit(9)\ndef test_second(): pass\n",
        "engines/test_cuda_plan.py": "def test_plan(): pass\n",
        "engines/test_cuda_hopper.py": "def test_it(): pass\n",
        "gpu/check_cuda.py": "import os\ndef test_hopper(): os._exit(9)\ndef test_general(): pass\n",
    }
    for name, text in code.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = ["bash", tmp_path / "scripts/gpu-test", sys.executable, tmp_path, "cuda"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    passed = [line.split("::")[1].split()[0] for line in done.stdout.splitlines() if " PASSED " in line]
    assert passed == ["test_plan", "test_general", "test_it"]
    assert "failed: test_cuda test_cuda_trouble test_contract test_streams hopper" in done.stderr
