"""What is odd about a recording."""

import numpy as np
import pytest

from hifigan_rt.tools.evaluation.preparation import oddities

VOICE = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
VOICE -= VOICE.mean()


def spoilt(value, *places):
    samples = VOICE.copy()
    samples[list(places)] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "notes"),
    [
        (VOICE, ()),
        (np.zeros(100, np.float32), ("digital silence",)),
        (spoilt(1.0, 5, 7, 9, 11), ()),
        (spoilt(1.0, 5, 6), ()),
        (spoilt(1.0, 5, 6, 7, 90), ("clipped: 4 samples at full scale, 3 or more of them in a row",)),
        (spoilt(-1.0, 5, 6, 7), ("clipped: 3 samples at full scale, 3 or more of them in a row",)),
        (VOICE + 0.02, ("has a constant offset of +0.020",)),
        (VOICE - 0.3, ("has a constant offset of -0.300",)),
        (VOICE + 0.005, ()),
        (np.array([0.001], np.float32), ()),
        (
            spoilt(-1.25, 5, 6, 7),
            ("3 samples beyond full scale, up to 1.25: measured so, clipped in the sound of the report",),
        ),
        (
            spoilt(3.0, 5),
            ("1 sample beyond full scale, up to 3.00: measured so, clipped in the sound of the report",),
        ),
    ],
)
def test_oddities(samples, notes):
    assert oddities(samples) == notes
