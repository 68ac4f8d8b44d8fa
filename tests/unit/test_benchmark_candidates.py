import pytest

from hifigan_rt import engines
from hifigan_rt.engines import EngineEntry
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.model.kinds import OmFile, OnnxFile, OpenVinoFile, Weights
from hifigan_rt.tools.benchmark.candidates import check_names, plan_candidates

REGISTRY = {
    "slow": EngineEntry("the last that auto takes", "m", runs=(Weights, OnnxFile)),
    "reference": EngineEntry("the truth", "m"),
    "quick": EngineEntry("the first that auto takes", "m"),
    "wide": EngineEntry(
        "has all there is", "m", precisions=("float32", "bfloat16"), settings={"mode": ("a", "b")}, devices="NAME"
    ),
    "absent": EngineEntry("not installed", "m", ("no_such_package",), "extra"),
    "om only": EngineEntry("another kind", "m", runs=(OmFile,), uses_threads=False),
}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    from hifigan_rt.tools.benchmark import candidates

    for module in (engines, candidates):
        monkeypatch.setattr(module, "REGISTRY", REGISTRY)
        monkeypatch.setattr(module, "AUTO_ORDER", ("quick", "slow"))


def names(wanted, precisions=("float32",), kind=Weights, **options):
    return [candidate.name for candidate in plan_candidates(wanted, precisions, kind, **options)]


def test_all_is_what_can_run_the_model_here_the_automatic_choice_first():
    assert names(["all"]) == ["quick", "slow", "wide"]
    assert names(["all"], kind=OnnxFile) == ["slow"]
    assert names(["all"], ["float32", "bfloat16"]) == ["quick", "slow", "wide", "wide bfloat16"]
    assert not any(candidate.named for candidate in plan_candidates(["all"], ["float32"], Weights))


def test_names_multiply_and_are_told_apart():
    wanted = ["quick", "wide", "quick", "wide:mode=b", "wide:precision=bfloat16", "auto", "reference"]
    assert names(wanted) == ["quick", "wide", "quick#2", "wide:mode=b", "wide:precision=bfloat16", "auto", "reference"]
    found = plan_candidates(wanted, ["float32"], Weights)
    assert found[-2].engine == "quick"
    assert found[3].settings == {"mode": "b"}
    assert found[4].precision == "bfloat16"
    assert names(["quick"], ["float32", "bfloat16"]) == ["quick", "quick bfloat16"], "named: its row will say why not"


def test_what_is_meant_for_all_goes_to_those_that_know_it():
    wide, quick, own = plan_candidates(
        ["wide", "quick", "wide:mode=b:device=Y"], ["float32"], Weights, device="X", settings={"mode": "a"}
    )
    assert (wide.device, wide.settings) == ("X", {"mode": "a"})
    assert (quick.device, quick.settings) == (None, {})
    assert (own.device, own.settings) == ("Y", {"mode": "b"})


def test_threads_mean_something_on_the_processor_alone():
    found = plan_candidates(["wide", "wide:device=CPU", "wide:device=cuda:0", "om only"], ["float32"], Weights)
    assert [candidate.uses_threads for candidate in found] == [True, True, False, False]


def test_a_value_may_have_a_colon_of_its_own():
    one, other = plan_candidates(["wide:device=cuda:0", "wide:device=cuda:1:mode=b"], ["float32"], Weights)
    assert (one.name, one.device, one.settings) == ("wide:device=cuda:0", "cuda:0", {})
    assert (other.device, other.settings) == ("cuda:1", {"mode": "b"})


def test_what_cannot_run_is_a_row_with_the_reason():
    absent, other = plan_candidates(["absent", "om only"], ["float32"], Weights)
    assert "no_such_package" in absent.unavailable
    assert "does not run checkpoints" in other.unavailable


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (["quik"], "did you mean 'quick'"),
        (["wide:mode=c"], "choose a, b"),
        (["wide:mod=a"], "did you mean 'mode'"),
        (["wide:mode"], "is not KEY=VALUE"),
        (["wide:=a"], "is not KEY=VALUE"),
        (["wide:mode=a:b"], "setting mode='a:b' of engine 'wide': choose a, b"),
    ],
)
def test_what_is_misspelt_is_refused(wanted, text):
    with pytest.raises(EngineError, match=text):
        names(wanted)


def test_no_candidate_is_an_error():
    with pytest.raises(EngineUnavailable, match="no engine can run OpenVINO IR in float32 here"):
        names(["all"], kind=OpenVinoFile)


def test_spelling_is_checked_before_a_model_is_read():
    check_names(["all", "absent", "wide:mode=b", "auto"])
    with pytest.raises(EngineError, match="did you mean 'wide'"):
        check_names(["all", "wide", "wid:mode=a"])
