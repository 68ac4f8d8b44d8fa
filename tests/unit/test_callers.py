"""Warnings name the line of the program that called, by whichever way they come, so that each caller is told."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import TINY, write_tiny
from hifigan_rt.errors import ModelAssumptionWarning
from hifigan_rt.system.callers import warn_caller

FLAT = np.full((TINY.mel.num_mels, 240), -5, np.float32)


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="native") as loaded:
        yield loaded


def places(call):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        call()
    assert told
    return {(warning.filename, warning.lineno) for warning in told}


def here():
    frame = inspect.currentframe().f_back
    return {(__file__, frame.f_lineno)}


def test_every_way_of_giving_a_mel_is_told_where_it_was_called(vocoder):
    assert places(lambda: vocoder(FLAT)) == here()
    assert places(lambda: vocoder(FLAT[None])) == here()
    assert places(lambda: vocoder([FLAT])) == here()
    assert places(lambda: vocoder(FLAT, segment_frames=16)) == here()
    assert places(lambda: vocoder.stream().push(FLAT)) == here()
    assert places(lambda: hifigan_rt.advance([vocoder.stream()], [FLAT])) == here()
    assert places(lambda: hifigan_rt.advance([vocoder.stream()], FLAT[None])) == here()


def test_each_caller_is_told_once(vocoder):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            vocoder(FLAT)
        vocoder(FLAT)
    assert len(told) == 2


def test_what_was_assumed_is_told_where_the_model_was_loaded(tmp_path):
    model = write_tiny(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default", ModelAssumptionWarning)
        hifigan_rt.load(model).close()
    assert {warning.filename for warning in told} == {__file__}


def test_a_caller_without_a_module_name_is_told():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        exec(compile("warn('odd', UserWarning)", "cell 1", "exec"), {"warn": warn_caller})  # noqa: S102
    assert [(warning.filename, str(warning.message)) for warning in told] == [("cell 1", "odd")]
