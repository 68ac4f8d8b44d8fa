import numpy as np
import pytest

from hifigan_rt.audio.signal_metrics import mel_l1, snr_db


@pytest.mark.parametrize(("noise", "expected"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_snr_of_a_known_noise(noise, expected):
    signal = np.ones(1000, np.float32)
    assert snr_db(signal, signal + np.float32(noise)) == pytest.approx(expected, abs=1e-4)


def test_snr_at_the_ends():
    assert snr_db(np.ones(4), np.ones(4)) == float("inf")
    assert snr_db(np.zeros(4), np.ones(4)) == float("-inf")


def test_snr_is_computed_wider_than_float32():
    signal = np.full(10**6, 1e-4, np.float32)
    assert snr_db(signal, signal * np.float32(1 + 1e-3)) == pytest.approx(60.0, abs=0.01)


def test_mel_l1_takes_the_frames_that_both_have():
    a, b = np.zeros((2, 5)), np.ones((2, 4))
    b[:, 0] = 3.0
    assert mel_l1(a, b) == mel_l1(b, a) == 1.5
