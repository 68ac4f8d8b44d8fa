import os
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_records import CAVEAT, case, guide_case, measurement, result
from hifigan_rt.errors import OutputError
from hifigan_rt.tools.benchmark import pictures
from hifigan_rt.tools.benchmark.picture_parts import looks, spread
from hifigan_rt.tools.benchmark.pictures import draw
from hifigan_rt.tools.benchmark.results import Latency

pytestmark = pytest.mark.plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    """What a reader of the picture can read; matplotlib writes each line as an element of its own."""
    tree = ElementTree.parse(path)  # noqa: S314 (our own file)
    return ["".join(element.itertext()).strip() for element in tree.iter(f"{SVG}text")]


def rows_of(path):
    return " ".join(texts(path))


def test_three_pictures_of_two_kinds(tmp_path):
    paths = draw(result(case(measurement())), tmp_path / "new" / "folder")
    stems = ["speed-by-mel-len", "latency", "speed-by-accuracy"]
    assert [path.name for path in paths] == [f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[1::2])
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())


def test_every_picture_names_model_machine_date_and_candidates(tmp_path):
    names = ["native", "torch:mode=compiled", "openvino bfloat16", os.fsdecode(b"v\xff.pt")]
    cases = [case(*map(measurement, names), mel_len=length) for length in (250, 1000)]
    for path in draw(result(*cases), tmp_path)[::2]:
        shown = texts(path)
        assert any("v1.pt" in text and "Test CPU, 2 cores" in text and "2026-01-02" in text for text in shown)
        assert {*names[:3], r"v\udcff.pt"} <= set(shown)


def test_one_length_is_bars_with_their_figures_and_several_are_lines(tmp_path):
    """2.5 s in 200 ms."""
    (bars, *_) = draw(result(case(measurement())), tmp_path / "one")
    assert "12.5" in texts(bars)
    assert "batch 1, 2 threads, mel_len 250" in texts(bars)
    (lines, *_) = draw(result(case(measurement()), case(measurement(), mel_len=300)), tmp_path / "two")
    assert {"250", "300", "mel_len (frames)"} <= set(texts(lines))


def test_each_batch_and_thread_number_has_its_panel(tmp_path):
    cases = [case(measurement(), batch=batch, threads=threads) for batch in (1, 8) for threads in (1, None)]
    speed, _, latency, *_ = draw(result(*cases), tmp_path)
    for title in ("batch 1, 1 thread", "batch 8, threads not applicable"):
        assert any(text.startswith(title) for text in texts(speed))
    assert "batch 8, mel_len 250, 1 thread" in texts(latency)
    assert "ms per call of 8 clips" in texts(latency)


def test_candidates_with_a_caveat_are_dashed_and_say_so(tmp_path):
    entries = measurement(), measurement("ascend", caveat=CAVEAT)
    record = result(case(*entries), case(*entries, mel_len=500))
    assert [look.line for look in looks(record).values()] == ["-", "--"]
    for path in draw(record, tmp_path)[::2]:
        assert rows_of(path).count(CAVEAT[:-8]) >= 2
        assert f"dashed: {CAVEAT}" in rows_of(path)
    assert "stroke-dasharray" in (tmp_path / "speed-by-mel-len.svg").read_text()


def test_failures_are_named(tmp_path):
    failed = measurement("openvino", (), failed="no")
    speed, _, latency, _, accuracy, _ = draw(result(case(measurement(), failed)), tmp_path)
    assert "No figures: openvino (batch 1, mel_len 250)." in rows_of(speed)
    assert "failed" in texts(latency)
    assert "openvino" not in texts(accuracy)


def test_a_candidate_of_one_case_only_is_not_measured_in_the_other(tmp_path):
    _, _, latency, *_ = draw(result(case(measurement()), case(measurement("torch"), mel_len=500)), tmp_path)
    assert texts(latency).count("not measured") == 2


def test_without_any_snr_there_is_no_picture_of_it(tmp_path):
    assert len(draw(result(case(measurement(snr_db=None))), tmp_path)) == 4


def test_those_without_an_snr_are_named_where_others_have_one(tmp_path):
    *_, accuracy, _ = draw(result(case(measurement(), measurement("other", snr_db=None))), tmp_path)
    assert "Without an SNR: other." in texts(accuracy)


def test_a_disturbed_machine_is_told_in_every_picture(tmp_path):
    record = result(case(measurement(), others=(0.8, 0.7, 0.9)), case(measurement(), mel_len=500, others=(0.0,)))
    for path in draw(record, tmp_path / "disturbed")[::2]:
        assert "Disturbed: others used up to 80% of the processors" in rows_of(path)
    for path in draw(result(case(measurement(), others=(0.05,))), tmp_path / "quiet")[::2]:
        assert "Disturbed" not in rows_of(path)


def test_without_figures_nothing_is_drawn(tmp_path):
    assert draw(result(case(measurement(seconds=(), failed="no"))), tmp_path / "x") == []
    assert draw(result(), tmp_path / "x") == []
    assert not (tmp_path / "x").exists()


def test_a_summary_without_single_calls_is_drawn(tmp_path):
    known = measurement("a", (), latency_summary=Latency(5, 4, 6, 7, 3, 8, 9))
    mean_only = measurement("b", (), latency_summary=Latency(5, *[float("nan")] * 5, 0))
    assert len(draw(result(case(known, mean_only)), tmp_path)) == 6


def test_speeds_far_apart_share_a_logarithmic_axis(tmp_path):
    far = measurement("ascend", (0.002,))
    record = result(case(measurement(), far), case(measurement(), far, mel_len=500))
    assert {"10", "100", "1,000"} <= set(texts(draw(record, tmp_path)[0]))


def test_lengths_too_close_to_be_read_lose_their_numbers_not_their_points(tmp_path):
    record = result(*(case(measurement(), mel_len=length) for length in (249, 250, 251, 2000)))
    shown = texts(draw(record, tmp_path)[0])
    assert {"249", "2000"} <= set(shown)
    assert not {"250", "251"} & set(shown)


@pytest.mark.parametrize("name", ["$x^2$ $", "<b>&amp;", "模型", "a" * 200, "x\ny", ""])
def test_names_of_any_kind_do_not_break_a_picture(tmp_path, name):
    entry = measurement()
    draw(result(case(replace(entry, candidate=name)), case(entry, mel_len=500), model=name, data_set=name), tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


def test_the_same_result_gives_the_same_svg(tmp_path):
    record = result(case(measurement(), measurement("torch")), guide_case(1, 250, 2.643))
    first, second = draw(record, tmp_path / "a"), draw(record, tmp_path / "b")
    assert [path.read_bytes() for path in first[::2]] == [path.read_bytes() for path in second[::2]]


def test_a_users_own_settings_change_nothing(tmp_path):
    import matplotlib as mpl

    record = result(case(measurement()))
    first = draw(record, tmp_path / "a")
    with mpl.rc_context({"figure.facecolor": "black", "font.size": 30, "svg.fonttype": "path"}):
        second = draw(record, tmp_path / "b")
        assert mpl.rcParams["font.size"] == 30
    assert first[0].read_bytes() == second[0].read_bytes()


def test_without_matplotlib_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"pip install 'hifigan-rt\[plot\]'"):
        draw(result(case(measurement())), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be made"):
        draw(result(case(measurement())), tmp_path / "file" / "x")


_heights = st.floats(0.01, 0.3)


@given(things=st.lists(st.tuples(st.floats(0, 1), _heights), min_size=1, max_size=12))
def test_names_never_overlap_and_keep_their_order(things):
    things.sort()
    wanted, heights = zip(*things, strict=True)
    centres = spread(wanted, heights, 0.0, 1.0)
    tops = [centre + height / 2 for centre, height in zip(centres, heights, strict=True)]
    bottoms = [centre - height / 2 for centre, height in zip(centres, heights, strict=True)]
    assert all(bottom >= top - 1e-9 for top, bottom in zip(tops, bottoms[1:], strict=False))
    assert bottoms[0] >= -1e-9
    assert all(low <= high for low, high in pairwise(centres))
    assert tops[-1] <= max(1.0, sum(heights)) + 1e-9


def test_names_that_do_not_touch_stay_where_their_points_are():
    assert spread([0.2, 0.5], [0.1, 0.1], 0, 1) == pytest.approx([0.2, 0.5])
    assert spread([0.5, 0.5], [0.2, 0.2], 0, 1) == pytest.approx([0.5, 0.7])
    assert spread([0.95, 1.0], [0.2, 0.2], 0, 1) == pytest.approx([0.7, 0.9])
