"""Dimensions of 1 at the wrong place: left out where one mel is expected, else refused with the call that does it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hifigan_rt.errors import MelError
from hifigan_rt.mel.check import check_mel
from hifigan_rt.mel.files import read_mel_file
from hifigan_rt.mel.shapes import one_mel

MEL = np.random.default_rng(0).uniform(-11, 1, (80, 5)).astype(np.float32)

LAYOUTS = {
    "[80, 5, 1]": MEL[:, :, None],
    "[80, 1, 5]": MEL[:, None],
    "[1, 1, 80, 5]": MEL[None, None],
    "[1, 80, 5, 1]": MEL[None, :, :, None],
    "[1, 80, 1, 5]": MEL[None, :, None],
    "[80, 1, 1, 5]": MEL[:, None, None],
    "[1, 1, 1, 80, 5, 1]": MEL[None, None, None, :, :, None],
}  # fmt: skip


@pytest.mark.parametrize("shape", LAYOUTS)
def test_refused_with_the_way_out_where_a_batch_may_be_meant(shape):
    with pytest.raises(MelError, match=rf"^the mel has shape {re.escape(shape)}, ") as caught:
        check_mel(LAYOUTS[shape], 80)
    way_out = str(caught.value).partition(": pass ")[2]
    checked = check_mel(eval(way_out, {"np": np, "mel": LAYOUTS[shape]}), 80)  # noqa: S307 - our own text
    np.testing.assert_array_equal(checked.reshape(80, 5), MEL)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((4, 1, 80, 5), "the mel has shape [4, 1, 80, 5], a dimension of 1 too many: pass np.squeeze(mel, 1)"),
        ((1, 5, 80, 1), "the mel has shape [1, 5, 80, 1], 2 dimensions of 1 too many: pass np.squeeze(mel, (0, 3)).T"),
        ((3, 5, 1, 80), "the mel has shape [3, 5, 1, 80], a dimension of 1 too many: pass np.squeeze(mel, 2)"
         ".transpose(0, 2, 1)"),
        ((80, 1, 7, 7), "the mel has shape [80, 1, 7, 7], and [80, T] or [B, 80, T] is needed (bands before frames)"),
        ((1, 1, 1), "the mel has 1 bands (shape [1, 1, 1]), and this model takes 80"),
        ((80, 0, 1), "the mel has 0 bands (shape [80, 0, 1]), and this model takes 80"),
    ],
)  # fmt: skip
def test_the_exact_texts(shape, text):
    with pytest.raises(MelError) as caught:
        check_mel(np.zeros(shape, np.float32), 80)
    assert str(caught.value) == text


def test_a_model_whose_bands_are_open_names_it_too():
    with pytest.raises(MelError, match=r"a dimension of 1 too many: pass np\.squeeze\(mel, 0\)$"):
        check_mel(np.zeros((1, 4, 80, 5), np.float32), None)


@pytest.mark.parametrize("shape", [(80, 80, 1), (1, 80, 5), (3, 80, 1), (80, 1), (1, 80, 1)])
def test_what_can_be_a_batch_is_taken_as_it_stands(shape):
    mel = np.random.default_rng(0).uniform(-11, 1, shape).astype(np.float32)
    np.testing.assert_array_equal(check_mel(mel, 80), mel)


@pytest.mark.parametrize("shape", LAYOUTS)
def test_left_out_where_one_mel_is_expected(shape, tmp_path):
    np.testing.assert_array_equal(check_mel(LAYOUTS[shape], 80, single=True), MEL)
    np.save(tmp_path / "m.npy", LAYOUTS[shape])
    np.testing.assert_array_equal(read_mel_file(tmp_path / "m.npy", 80), MEL)
    np.save(tmp_path / "t.npy", LAYOUTS[shape].swapaxes(*np.flatnonzero(np.array(LAYOUTS[shape].shape) > 1)))
    np.testing.assert_array_equal(read_mel_file(tmp_path / "t.npy", 80, time_major=True), MEL)


def test_one_frame_in_one_mel():
    for shape in ((1, 80, 1), (80, 1, 1), (1, 1, 80, 1)):
        assert one_mel(np.zeros(shape), 80).shape == (80, 1)
    assert one_mel(np.zeros((1, 80, 1)), 80, time_major=True).shape == (1, 80)
    assert one_mel(np.zeros((1, 5, 1)), None).shape == (1, 5, 1)
    assert one_mel(np.zeros((2, 80, 5)), 80).shape == (2, 80, 5)
