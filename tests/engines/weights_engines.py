"""The engines that run weights, as parameters of a test."""

import pytest

from hifigan_rt.engines import REGISTRY
from hifigan_rt.model.kinds import Weights

_MARKED = {"torch": pytest.mark.torch}
"""Packages that a test run may do without, by the marker that conftest.py skips or fails by."""

WEIGHTS_ENGINES = [
    pytest.param(name, marks=[mark for package, mark in _MARKED.items() if package in entry.packages])
    for name, entry in REGISTRY.items()
    if Weights in entry.runs
]
