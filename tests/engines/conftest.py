"""The place where .om files of the simulator are made and run."""

from __future__ import annotations

import pytest

from engines.ascend_models import Place


@pytest.fixture(scope="session")
def om_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("om")
    folder.chmod(0o750)
    return folder


@pytest.fixture
def place(simulator, om_folder):
    made = Place(simulator, om_folder)
    yield made
    for engine in made.engines:
        engine.close()
