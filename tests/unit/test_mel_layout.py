import pytest

from hifigan_rt.formats.mel_layout import find_mel_layouts, find_num_mels


@pytest.mark.parametrize(
    ("shape", "num_mels", "axes"),
    [
        ((None, 80, None), 80, "BMT"),
        ((None, None, 80), 80, "BTM"),
        ((None, None, 80), None, "BTM"),
        ((1, 80, 250), 80, "BMT"),
        ((1, 250, 80), 80, "BTM"),
        ((1, 80, 80), 80, "BMT"),  # nothing tells: the original's layout
        ((None, None, None), 80, "BMT"),
        ((None, None, None), None, "BMT"),
        ((None, 80, 1, None), 80, "BM1T"),
        ((None, 1, 80, None), 80, "B1MT"),
        ((None, 1, None, 80), 80, "B1TM"),
        ((None, None, 1, 80), 80, "BT1M"),
        ((None, 80, None, None), 80, "BM1T"),
        ((None, None, None, None), None, "BM1T"),
        ((80, None), None, "MT"),
        ((None, 80), None, "TM"),
    ],
)
def test_layouts(shape, num_mels, axes):
    assert find_mel_layouts(shape, num_mels)[0] == tuple(axes)


@pytest.mark.parametrize(
    ("shape", "layouts"),
    [
        ((None, 80, None), "BMT"),
        ((None, None, None), "BMT BTM"),
        ((None, None), "MT TM"),
        ((1, 80, 80), "BMT BTM"),
        ((1, 250, 80), "BTM"),
        ((None, 1, None, None), "B1MT B1TM"),
        ((None, None, None, 80), "B1TM BT1M"),
    ],
)
def test_layouts_that_are_left_open(shape, layouts):
    assert find_mel_layouts(shape, 80) == tuple(map(tuple, layouts.split()))


@pytest.mark.parametrize(
    ("shape", "num_mels"),
    [((80,), 80), ((1, 80, 1, 1, None), 80), ((None, 12, None), 80), ((None, 2, 80, None), 80), ((), None)],
)
def test_what_is_no_mel(shape, num_mels):
    assert find_mel_layouts(shape, num_mels) == ()


@pytest.mark.parametrize(
    ("shape", "conv_channels", "num_mels"),
    [
        ((None, 80, None), None, 80),
        ((1, 80, 250), 80, 80),
        ((1, 250, 80), 80, 80),
        ((1, 80, 250), None, None),
        ((None, None, None), 100, 100),
        ((None, 80, None), 1, 80),  # a 2-D convolution over the mel as an image
        ((None, 80, None), 16, 80),  # a convolution further on
        ((1, 80, None), 16, 80),
        ((1, 80, 25), 64, None),  # the first convolution is not the mel's
        ((None, 80, 1, None), None, 80),
        ((None, 80), None, 80),
        (None, 80, None),
        ((None, None, None), None, None),
    ],
)
def test_bands(shape, conv_channels, num_mels):
    assert find_num_mels(shape, conv_channels) == num_mels
