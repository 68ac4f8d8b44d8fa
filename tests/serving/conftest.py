"""Models and servers that the tests of the server share."""

from __future__ import annotations

import logging

import pytest

from golden.tiny import write_tiny
from hifigan_rt import Client, load
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.serving.loading import VoiceSource
from hifigan_rt.vocoder import Vocoder
from page_actions import expect, write_speechlike
from running_server import SlowEngine, running
from voice_files import STILL, tiny_voice


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def other_file(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def vocoder(tiny_file):
    with load(tiny_file) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def sources(tiny_file, other_file):
    return {"tiny": lambda: load(tiny_file), "other": lambda: load(other_file)}


@pytest.fixture
def quiet(caplog):
    """Nothing that a stranger does is an error in the log, or has a trace in it, whoever writes it."""
    for name in ("", "hifigan_rt", "uvicorn.error", "asyncio"):
        caplog.set_level(logging.INFO, name or None)
    yield
    # `caplog.records` would be those of the teardown alone.
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno >= logging.ERROR or record.exc_info] == []


@pytest.fixture(scope="module")
def server(sources):
    with running(sources) as served:
        yield served


@pytest.fixture(scope="session")
def still_voice(tmp_path_factory):
    return tiny_voice(tmp_path_factory.mktemp("voice"), **STILL)


@pytest.fixture(scope="module")
def voice_server(still_voice, sources):
    with running({**sources, "ann": VoiceSource(still_voice)}) as served:
        yield served


@pytest.fixture
def client(server):
    with server.client() as opened:
        yield opened


@pytest.fixture
def own_client(server):
    """The package's client, which users have."""
    with Client(server.url) as made:
        yield made


@pytest.fixture
def slow(tiny_file):
    """An engine, and what serves it as model "slow"."""
    engine = SlowEngine()
    model = resolve_model(tiny_file)
    return engine, {"slow": lambda: Vocoder(model, engine)}


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip of mine.wav"
    return path, write_speechlike(path)


@pytest.fixture
def page(open_page, server):
    opened = open_page(server.url)
    expect(opened.locator("#model")).to_be_enabled()
    return opened
