"""The place where .om files of the simulator are made and run."""

from __future__ import annotations

import textwrap

import pytest

from imitated_card import REAL


@pytest.fixture(autouse=True)
def card_for_cuda(request):
    """An imitated card for every test of engine `cuda`, unless there is a real one."""
    if "cuda" in request.node.nodeid and not REAL:
        request.getfixturevalue("imitated_card")


@pytest.fixture(scope="session")
def om_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("om")
    folder.chmod(0o750)
    return folder


@pytest.fixture
def place(simulator, om_folder):
    # Lengths and samples are held to float32's figures on the guide's chip too, which multiplies float16.
    simulator.set(WEIGHTS="float32")
    from engines.ascend_models import Place  # needs onnx, which a machine with a card may lack

    made = Place(simulator, om_folder)
    yield made
    for engine in made.engines:
        engine.close()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """An aclruntime that is not the simulator's."""

    from engines.ascend_models import STAND_IN

    def write(code=STAND_IN, name="aclruntime.py"):
        path = tmp_path / "modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))

    return write
