"""Programs in benchmarks/ that no other test runs: that they still fit the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import native_figures
import pytest

from hifigan_rt._native import supported_isas
from native_generators import V1_LIKE, make_case

PROGRAMS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.torch] if path.stem == "run_torch_gpu" else [])
    for path in sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
]


@pytest.mark.parametrize("algorithm", native_figures.ALGORITHMS)
def test_the_native_figures_know_every_algorithm(algorithm):
    """Their engines were given no plan in a way that the engine no longer took."""
    generator = make_case(V1_LIKE, 8).generator
    for isa in supported_isas():
        engine = native_figures.load_on(isa, generator, algorithm)
        used = {layer.algorithm for layer in engine.plan() if layer.kind == "conv"}
        assert engine.isa == isa
        assert algorithm == "auto" or used <= {algorithm, "direct"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_what_it_takes(program):
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
