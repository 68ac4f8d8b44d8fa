"""A place with a tiny model, where the tests of the command line run."""

from __future__ import annotations

import pytest

from cli.running import clip
from golden.tiny import write_tiny


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model")
    return tmp_path


@pytest.fixture
def chain(place, simulator):
    """A folder with a tiny checkpoint, in an environment of simulated tools.

    Weights stay float32 on each chip, so that lengths and samples are held to float32's figures; a test of precisions
    takes that away.
    """
    simulator.set(WEIGHTS="float32")
    return simulator


@pytest.fixture
def data(place):
    """The place with three recordings in the folder `in`."""
    for index in range(3):
        clip(f"in/c{index}.wav", 0.5, seed=index)
    return place
