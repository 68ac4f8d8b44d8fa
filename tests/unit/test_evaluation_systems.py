"""Systems as a user writes them."""

from pathlib import Path

import pytest

from hifigan_rt.errors import EngineError, EvaluationError
from hifigan_rt.tools.evaluation.systems import (
    SystemSpec,
    distinct,
    folder_names,
    folder_system,
    model_system,
    parse_system,
)

FIRST = model_system(
    "models/g_02500000", config="own.json", engine="openvino", threads=2, precision="bfloat16", device="CPU",
    settings={"hint": "latency"}, mels=Path("mels"),
)  # fmt: skip


def fields(text, first=FIRST):
    spec = parse_system(text, first)
    return {name: getattr(spec, name) for name in ("name", "model", "engine", "precision")}


def test_a_system_is_named_after_its_model_or_folder():
    assert FIRST.name == "g_02500000"
    assert folder_system(Path("/data/made/")).name == "made"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("native,precision=float32", ("native float32", "models/g_02500000", "native", "float32")),
        ("reference", ("reference", "models/g_02500000", "reference", "bfloat16")),
        ("precision=float32", ("float32", "models/g_02500000", "openvino", "float32")),
        ("universal-v1", ("universal-v1", "universal-v1", "openvino", "bfloat16")),
        ("other/g_1,engine=auto", ("g_1 auto", "other/g_1", "auto", "bfloat16")),
        ("name=my own,hint=throughput", ("my own", "models/g_02500000", "openvino", "bfloat16")),
        ("hint=throughput", ("hint=throughput", "models/g_02500000", "openvino", "bfloat16")),
        (" name = a , precision = float16 ", ("a", "models/g_02500000", "openvino", "float16")),
    ],
)
def test_what_is_not_given_is_as_for_the_first(text, expected):
    assert tuple(fields(text).values()) == expected


def test_what_belongs_to_an_engine_or_a_model_stays_with_it():
    same = parse_system("precision=float32", FIRST)
    assert (same.device, same.settings, same.config, same.threads) == ("CPU", {"hint": "latency"}, "own.json", 2)
    other_engine = parse_system("native", FIRST)
    assert (other_engine.device, other_engine.settings, other_engine.config) == (None, {}, "own.json")
    other_model = parse_system("model=universal-v1", FIRST)
    assert other_model.config is None
    assert other_model.mels == Path("mels")
    assert parse_system("threads=1", FIRST).threads == 1
    assert parse_system("threads=1", FIRST).name == "threads=1"


def test_values_may_hold_commas():
    assert parse_system("device=GPU.0,1", FIRST).device == "GPU.0,1"
    assert parse_system("folder=a,b/c", FIRST).folder == Path("a,b/c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not KEY=VALUE"),
        (",engine=native", "is not KEY=VALUE"),
        ("engine=", "is not KEY=VALUE"),
        ("=x", "is not KEY=VALUE"),
        ("engine=native,engine=openvino", "engine is given twice"),
        ("native,engine=openvino", "engine is given twice"),
        ("folder=made,precision=float32", "a folder holds audio that is made already; leave out precision="),
        ("name=new,native", "'native' follows the name, which has no commas: write engine= or model= before it"),
        ("threads=0", "threads='0' is no whole number from 1 on"),
        ("threads=two", "no whole number"),
        ("engine=auto,mode=eager", "mode needs an engine that knows it: give engine=NAME"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(EvaluationError, match=message):
        parse_system(text, FIRST)


def test_engines_and_settings_are_checked_at_once():
    with pytest.raises(EngineError, match="did you mean 'openvino'"):
        parse_system("engine=openvin", FIRST)
    with pytest.raises(EngineError, match=r"has no setting 'hnit'.*did you mean 'hint'"):
        parse_system("hnit=latency", FIRST)
    with pytest.raises(EngineError, match="choose latency, throughput"):
        parse_system("hint=fast", FIRST)


def test_beside_a_folder_a_system_needs_a_model():
    folder = folder_system(Path("made"))
    with pytest.raises(EvaluationError, match="needs model=NAME"):
        parse_system("native", folder)
    assert parse_system("model=ljspeech-v1,engine=native", folder).engine == "native"
    assert parse_system("folder=other", folder).name == "other"


def test_a_system_is_either():
    with pytest.raises(EvaluationError, match="either a model or a folder"):
        SystemSpec("a")
    with pytest.raises(EvaluationError, match="either a model or a folder"):
        SystemSpec("a", "ljspeech-v1", Path("made"))
    with pytest.raises(EvaluationError, match="empty name"):
        SystemSpec(" ", "ljspeech-v1")


def test_names_are_made_distinct():
    systems = [SystemSpec("a", "m"), SystemSpec("b", "m"), SystemSpec("a", "m"), SystemSpec("a", "m")]
    assert [system.name for system in distinct(systems)] == ["a", "b", "a#2", "a#3"]


def test_folders_are_distinct_and_harmless():
    names = ["reference", "a/../b", "..", "Ä ö", "x" * 300, "A", "a", "-o"]
    folders = folder_names([SystemSpec(name, "m") for name in names], taken="reference")
    assert len({name.lower() for name in folders}) == len(names)
    for name in folders:
        assert Path(name).name == name
        assert name not in ("", ".", "..", "reference")
        assert not name.startswith(("-", "."))
        assert len(name) < 70
