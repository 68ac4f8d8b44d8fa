"""How a checkpoint is refused: by its exact text, quickly, with nothing left behind."""

from __future__ import annotations

import os

import pytest

from checkpoint_files import (
    legacy_file,
    zip_file,
)
from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from memory_limits import peak_within


@pytest.fixture
def refuse(tmp_path):
    def refuse(data, message, error=CheckpointError):
        path = tmp_path / "checkpoint"
        path.write_bytes(data)
        for reader in (read_checkpoint, read_tensors):
            with pytest.raises(CheckpointError) as caught:
                reader(path)
            assert type(caught.value) is error
            assert str(caught.value) == f"{str(path)!r} {message}"
        assert os.listdir(tmp_path) == ["checkpoint"]

    return refuse


@pytest.fixture(params=[zip_file, legacy_file], ids=["zip", "legacy"])
def write(request):
    return request.param


@pytest.fixture
def quickly():
    """At most 64 MB beyond four times the file, and 20 s of the processor, whatever the file claims."""

    def check(path, reader=read_tensors):
        with peak_within(4 * path.stat().st_size + (64 << 20), 20), pytest.raises(CheckpointError) as caught:
            reader(path)
        return str(caught.value).removeprefix(f"{str(path)!r} ")

    return check
