import csv
import io
import math

import pytest

from hifigan_rt.tools.tables import UNKNOWN, aligned, comma_separated, counted, markdown


def test_columns_of_a_terminal_are_aligned():
    assert list(aligned(["metric", "first", "x"], [["stoi", "0.9", "12.25"], ["peak (dB)", "-1", ""]])) == [
        "metric     first      x",
        "stoi         0.9  12.25",
        "peak (dB)     -1",
    ]
    with pytest.raises(ValueError, match="argument"):
        list(aligned(["a", "b"], [["c"]]))


def test_names_of_wide_characters_and_marks_are_aligned():
    assert list(aligned(["system", "mean"], [["语音 1", "4.5"], ["e\u0301te\u0301", "3.25"], ["😀", "1"]])) == [
        "system  mean",
        "语音 1   4.5",
        "e\u0301te\u0301     3.25",
        "😀         1",
    ]
    assert list(aligned(["metric", "语音"], [["stoi", "0.9"]])) == ["metric  语音", "stoi     0.9"]


def test_markdown_columns_of_figures_are_to_the_right():
    text = markdown(["name", "ms", "note"], [["a", "1.5", "fast"], ["b", UNKNOWN, ""], ["c", "-3", "2nd"]])
    assert text.splitlines() == [
        "| name | ms | note |",
        "|---|--:|---|",
        "| a | 1.5 | fast |",
        "| b | – |  |",
        "| c | -3 | 2nd |",
    ]
    assert markdown(["a", "b"], []) == "| a | b |\n|---|---|"


def test_nothing_in_a_markdown_cell_ends_it():
    assert markdown(["a|b"], [["two\n lines | one cell"]]).splitlines()[2] == "| two lines \\| one cell |"
    assert markdown(["a|b"], []).splitlines()[0] == "| a\\|b |"


def test_csv_has_unrounded_numbers_and_empty_cells():
    text = comma_separated(["name", "value"], [["a, b", 1 / 3], ["c", math.nan], ["d", None], ["e", math.inf]])
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "value"], ["a, b", repr(1 / 3)], ["c", ""], ["d", ""], ["e", "inf"],
    ]  # fmt: skip


def test_counts_have_their_noun():
    assert [counted(count, "clip") for count in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
