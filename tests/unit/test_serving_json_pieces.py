"""JSON in pieces: what `json` makes of the whole, without ever handing it more than a little."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hifigan_rt.tools.serving import json_pieces
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.json_pieces import number_list_steps, parse_json_steps

T = TypeVar("T")

NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    NUMBERS | st.text(max_size=20) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    | st.lists(NUMBERS, max_size=60) | st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=9),
    max_leaves=30,
)  # fmt: skip


def finished(steps: Generator[None, None, T]) -> tuple[T, int]:
    pieces = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pieces
        pieces += 1


def plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def as_floats(value: object) -> object:
    """Numbers in lists as floats, which is what arrays hold."""
    if isinstance(value, list):
        return [float(item) if type(item) is int else as_floats(item) for item in value]
    return {name: as_floats(item) for name, item in value.items()} if isinstance(value, dict) else value


@pytest.fixture
def small_pieces(monkeypatch):
    """Handed over at once: so few bytes that short texts have many pieces."""
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", 80)


@given(value=VALUES, indent=st.sampled_from([None, 1, 90]), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_equals_json(value, indent, encoding):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "PIECE_BYTES", 80)
        content = json.dumps(value, indent=indent, ensure_ascii=False).encode(encoding, "surrogatepass")
        assume(not _mixed(value))
        parsed, _ = finished(parse_json_steps(content, "it"))
        assert as_floats(plain(parsed)) == as_floats(value)


def _mixed(value: object) -> bool:
    """Whether a long list begins with a number and holds something else, which is refused."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    first_is_number = isinstance(value, list) and value and type(value[0]) in (int, float)
    return bool(first_is_number and not all(type(item) in (int, float) for item in items)) or any(map(_mixed, items))


@pytest.mark.parametrize(
    "text",
    ["[1,2", "[1,,2]", "[1,2,]", "[,1]", "[1 2]", "[[1],[2]", "[[1],]", '{"a":1', '{"a":1,}', '{"a" 1}', "{1:2}",
     "[1]]", "[01]", "[1e]", "[.5]", "[+1]", "[NaN]", "[Infinity]", '"a', '["\\q"]', "nul", "[-]", "",
     "{}{}", "[1]x", "[1, [2}]", '[1, "a]', '{"a":1,"a":1}', '{"a":[1],"b":{"c":1,"c":[2]}}'],
)  # fmt: skip
@pytest.mark.usefixtures("small_pieces")
def test_refuses_what_json_refuses(text):
    for padding in (100, 1000):
        padded = " " * padding + text.replace(",", "," + " " * padding)
        with pytest.raises(BadRequest) as caught:
            finished(parse_json_steps(padded.encode(), "the body"))
        assert len(caught.value.message) < 300


@pytest.mark.usefixtures("small_pieces")
def test_deep_and_manifold_bodies_are_given_up():
    for text in ("[" * 10_000, '{"a":' * 10_000):
        with pytest.raises(BadRequest, match="nested too deeply"):
            finished(parse_json_steps(text.encode(), "the body"))
    for text in (
        "[" + "[]," * 100_000,
        "[" + "[0]," * 100_000,
        "{" + "".join(f'"{i}":{{}},' for i in range(100_000)),
        "[" + "null," * 100_000,
    ):
        with pytest.raises(BadRequest, match="more than 65536 values or lists"):
            finished(parse_json_steps(text.encode(), "the body"))


@pytest.mark.parametrize("odd", ["true", '"2"', "null"])
def test_no_other_value_is_taken_for_a_number(odd):
    with pytest.raises(BadRequest, match="a list of numbers with something else in it"):
        finished(parse_json_steps(("[" + "0.5," * 10_000 + odd + "]").encode(), "the body"))
    parsed, _ = finished(parse_json_steps(("[" + f"[1,{odd}]," * 3000 + "[1,2]]").encode(), "the body"))
    assert parsed[0] == [1, json.loads(odd)]


def test_a_list_that_begins_with_a_number_may_hold_anything():
    value = {"a": [1, [2]], "b": [1, "a]b"], "c": [-1, {"d": [2, "]"]}, []], "data": [[0.5] * 100] * 100}
    parsed, _ = finished(parse_json_steps(json.dumps(value).encode(), "it"))
    assert plain(parsed) == value


def test_whole_numbers_of_short_lists_stay_exact():
    value = {"lengths": [2**62 + 1, 3], "data": [0.5] * 10_000}
    parsed, _ = finished(parse_json_steps(json.dumps(value).encode(), "it"))
    assert parsed["lengths"] == value["lengths"]
    assert type(parsed["lengths"][0]) is int
    assert parsed["data"].dtype == np.float64


ROW = ",".join(["-11.512925"] * 5000)
HOSTILE = {
    "mel": '{"mel":[' + ",".join(f"[{ROW}]" for _ in range(80)) + "]}",
    "empty lists": '{"mel":[' + "[]," * 200_000,
    "short lists": '{"mel":[' + "[0]," * 200_000,
    "one list": "[" + "0," * 1_000_000 + "0]",
    "spaces": " " * 1_000_000 + "1",
    "spaces among numbers": "[1," + " " * 1_000_000 + "1]",
    "texts": "[" + '"\\u0041\\u0042",' * 50_000,
    "long text": '"' + "a" * 1_000_000 + '"',
    "long number": "[" + "1" * 1_000_000 + "]",
    "long word": "n" * 1_000_000,
    "no end": "[0" + ",0" * 500_000,
    "depth": "[" * 1_000_000,
    "objects": "[" + "{}," * 200_000,
    "members": "{" + '"a":0,' * 100_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_piece_is_long(kind, monkeypatch):
    """Neither what is handed to `json` nor what is done between two yields grows with the body."""
    handed: list[int] = []
    between: list[int] = []
    parse = json_pieces.parse_json

    def recorded(content: bytes, what: str) -> object:
        handed.append(len(content))
        return parse(content, what)

    monkeypatch.setattr(json_pieces, "parse_json", recorded)
    steps = parse_json_steps(HOSTILE[kind].encode(), "the body")
    try:
        while True:
            before = len(handed)
            next(steps)
            between.append(sum(handed[before:]))
    except (StopIteration, BadRequest):
        pass
    assert max(handed, default=0) <= json_pieces.PIECE_BYTES + 2
    assert max(between, default=0) <= 3 * json_pieces.PIECE_BYTES


def test_numbers_are_written_in_pieces():
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    parts, pieces = finished(number_list_steps(values))
    assert np.array_equal(np.array(json.loads(b"".join(parts)), np.float32), values)
    assert pieces > 30
    assert max(map(len, parts)) < 16_000
    assert finished(number_list_steps(values[:0])) == ([b"[", b"]"], 0)
