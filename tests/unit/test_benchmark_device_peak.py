import pytest

from benchmark_records import CAVEAT, case, guide_case, measurement
from hifigan_rt.engines.ascend import describe_devices
from hifigan_rt.engines.ascend_runtime.precision import describe_mode
from hifigan_rt.formats.om_file import OmInfo
from hifigan_rt.tools.benchmark.device_peak import NOT_BELIEVABLE, achieved

# Every row of the original guide's table: batch, mel_len, fps, and the TFLOPS that V1 would need for it.
GUIDE = [
    (1, 250, 378.34, 58.1), (1, 500, 258.93, 79.5), (1, 750, 169.48, 78.1), (1, 1000, 128.59, 79.0),
    (8, 250, 682.95, 104.9), (8, 500, 327.07, 100.4), (8, 750, 208.93, 96.2), (8, 1000, 151.88, 93.3),
]  # fmt: skip


@pytest.mark.parametrize(("batch", "mel_len", "fps", "tflops"), GUIDE)
def test_seven_of_the_guides_eight_rows_are_not_believable(batch, mel_len, fps, tflops):
    row = guide_case(batch, mel_len, 1000 * batch / fps)
    reached = achieved(row, row.measurements[0])
    assert reached.tflops == pytest.approx(tflops, abs=0.06)
    assert reached.share == pytest.approx(tflops / 70, abs=0.001)
    assert (reached.verdict == NOT_BELIEVABLE) == ((batch, mel_len) != (1, 250))


def test_int8_has_twice_the_peak():
    row = guide_case(1, 500, 3.862)
    entry = measurement("ascend", (0.003862,), device="Ascend310P3", precision="int8")
    assert achieved(row, entry).peak_tflops == 140
    assert achieved(row, entry).verdict == "below the device's peak"


def test_the_chip_is_known_by_what_engine_ascend_says_of_its_device(tmp_path):
    om = OmInfo(tmp_path / "a.om", 0, soc_version="Ascend310P3")
    device, precision = describe_devices((0,), om), describe_mode(om.precision_mode, om.soc_version)
    row = guide_case(1, 250, 2.643)
    entry = measurement("ascend", (0.002643,), device=device, precision=precision)
    assert device == "npu:0 (Ascend310P3)"
    assert achieved(row, entry).peak_tflops == 70
    assert achieved(row, entry).verdict == "below the device's peak"


def test_an_unnamed_chip_has_no_peak():
    row = guide_case(1, 500, 3.862, device="Ascend")
    assert achieved(row, row.measurements[0]).share is None
    assert "310P3" in achieved(row, row.measurements[0]).verdict


def test_processors_stand_ins_and_unknown_work_are_left_out():
    doubtful = guide_case(1, 500, 3.862, caveat=CAVEAT)
    assert achieved(doubtful, doubtful.measurements[0]) is None
    assert achieved(case(), measurement()) is None
    assert achieved(case(macs=None), measurement("ascend")) is None
