"""The fixture `simulator`: an environment whose `atc`, `npu-smi`, `aclruntime` and `ais_bench` are simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ascend_simulator.python.cann_simulator import CAVEAT

__all__ = ["CAVEAT", "Simulator", "run", "simulator"]

HERE = Path(__file__).parent
BIN, PYTHON = HERE / "bin", HERE / "python"


@dataclass
class Simulator:
    """Settings stand in the environment of the test, so that every process it starts inherits them."""

    generation: int
    monkeypatch: pytest.MonkeyPatch

    def set(self, **settings: str | int) -> None:
        """SOC, FAULT, NPU_LAYOUT, WEIGHTS, OM_NAMING, DEVICES and so on, without the SIM_."""
        for name, value in settings.items():
            self.monkeypatch.setenv(f"SIM_{name}", str(value))

    def reset(self, *names: str) -> None:
        """Back to the defaults."""
        for name in names:
            self.monkeypatch.delenv(f"SIM_{name}", raising=False)

    def atc(self, *arguments: str) -> subprocess.CompletedProcess:
        return run(BIN / "atc", *arguments)

    def npu_smi(self, *arguments: str) -> subprocess.CompletedProcess:
        return run(BIN / "npu-smi", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        return run(sys.executable, *arguments)

    def ais_bench(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.python("-m", "ais_bench", *arguments)


def run(*command: object) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, errors="backslashreplace", timeout=120)


@pytest.fixture(params=[6, 8], ids=["cann6", "cann8"])
def simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Both generations: CANN 6.0.RC1 with the tools of 2022, and CANN 8 with those of 2024."""
    for name in [name for name in os.environ if name.startswith(("SIM_", "ASCEND_"))]:
        monkeypatch.delenv(name)
    # A virtual environment that runs the tests is none that atc may meet.
    search = [
        entry for entry in os.environ["PATH"].split(os.pathsep) if not (Path(entry).parent / "pyvenv.cfg").exists()
    ]
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), *search]))
    for name in ("VIRTUAL_ENV", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(PYTHON), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("SIM_PYTHON", sys.executable)
    monkeypatch.setenv("SIM_CANN", str(request.param))
    return Simulator(request.param, monkeypatch)
