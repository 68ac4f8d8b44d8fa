import pytest

from benchmark_records import CAVEAT, case, guide_case, measurement, result
from hifigan_rt.tools.benchmark.guide_figures import CLIPS_PER_SECOND, published_rows
from hifigan_rt.tools.benchmark.markdown import to_markdown

V2_TFLOPS = {
    (1, 250): 3.6, (1, 500): 5.0, (1, 750): 4.9, (1, 1000): 5.0,
    (8, 250): 6.6, (8, 500): 6.3, (8, 750): 6.0, (8, 1000): 5.9,
}  # fmt: skip


@pytest.mark.parametrize("size", CLIPS_PER_SECOND)
def test_a_published_figure_is_believable_as_v2s_alone(size):
    batch, mel_len = size
    v1, v2 = published_rows(result(guide_case(batch, mel_len, 5.0)))
    assert (v1.network, v2.network, v1.clips_per_second) == ("V1", "V2", CLIPS_PER_SECOND[size])
    assert v1.reached.share > 0.8
    assert v2.reached.tflops * batch == pytest.approx(V2_TFLOPS[size] * batch, abs=0.06 * batch)
    assert v2.reached.share < 0.1


def test_the_table_stands_beside_a_measurement_of_an_ascend_device():
    text = to_markdown(result(guide_case(1, 500, 60.0), guide_case(1, 333, 60.0), guide_case(8, 1000, 60.0)))
    after = text[text.index("## What the guide publishes") :]
    assert "a later edition has commands for generator_v2" in after
    rows = [line for line in after.splitlines() if line.startswith("| V")]
    assert rows[0] == "| V1 | 1 | 500 | 258.93 | 79.5 | 114% | above the device's peak: not believable |"
    assert rows[1] == "| V2 | 1 | 500 | 258.93 | 5.0 | 7% | below the device's peak |"
    assert len(rows) == 4


@pytest.mark.parametrize(
    "record",
    [
        result(case(measurement())),
        result(case(measurement("ascend", caveat=CAVEAT, device="Ascend310P3"))),
        result(guide_case(1, 333, 60.0)),
    ],
)
def test_other_devices_other_sizes_and_stand_ins_have_none(record):
    assert not list(published_rows(record))
    assert "the guide publishes" not in to_markdown(record)
