"""What this project itself releases: its texts, the archive of its kernels, how a public CI tries its wheels."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cuda_kernels
from make_sdist import for_pypi
from release_texts import check_description, check_licences, check_version

HOUSE = Path(__file__).parents[2]

pytestmark = pytest.mark.release


def test_this_project_has_none_in_its_texts():
    assert list(check_version(HOUSE, [])) == []
    assert list(check_licences(HOUSE)) == []
    assert list(check_description("README.md", for_pypi((HOUSE / "README.md").read_text(encoding="utf-8"), None))) == []


def test_kernels_of_one_commit_are_the_same_bytes(tmp_path, monkeypatch):
    def archive(name, seconds):
        def assemble(code, target, output):
            output.write_bytes(code.read_bytes() + target.encode())
            os.utime(output, (seconds, seconds))
            return {}

        monkeypatch.setattr(cuda_kernels, "intermediate_code", str.encode)
        monkeypatch.setattr(cuda_kernels, "assemble", assemble)
        monkeypatch.setattr("sys.argv", ["cuda_kernels.py", str(tmp_path / name)])
        cuda_kernels.main()
        return (tmp_path / name).read_bytes()

    assert archive("first.zip", 1_700_000_000) == archive("second.zip", 1_800_000_000)


def test_a_public_ci_tries_wheels_with_the_engines_that_need_no_other_package():
    settings = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
    _, *arguments = shlex.split(settings["test-command"].format(project=HOUSE))
    done = subprocess.run(
        [sys.executable, *arguments, "--collect-only"], check=True, capture_output=True, text=True, cwd=HOUSE
    )
    assert set(re.findall(r"\[(\w+)", done.stdout)) == {"native", "reference"}
