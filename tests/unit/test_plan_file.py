import json

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import tiny_mel, write_tiny
from hifigan_rt.engines.plan_file import read_plan
from hifigan_rt.errors import EngineError
from hifigan_rt.tools.cli import main


def test_a_mapping_is_taken_as_it_is():
    assert read_plan({"*": "direct"}) == {"*": "direct"}


def test_a_file_with_a_mapping(tmp_path):
    (tmp_path / "plan.json").write_text('{"conv_pre": "direct"}')
    assert read_plan(tmp_path / "plan.json") == {"conv_pre": "direct"}


def test_what_info_wrote_is_read_and_obeyed(tmp_path, capsys):
    model = write_tiny(tmp_path)
    assert main(["info", str(model), "--plan", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    layers = {layer["layer"]: layer for layer in facts["plan"]}
    assert {"conv_pre", "ups.0", "resblocks.3.convs2.1", "conv_post"} < set(layers)
    assert layers["ups.0"]["algorithm"] == "winograd"
    layers["resblocks.0.convs1.0"]["algorithm"] = "fft16"
    layers["ups.0"]["algorithm"] = "direct"
    (tmp_path / "plan.json").write_text(json.dumps(facts))
    plan = read_plan(tmp_path / "plan.json")
    assert plan["resblocks.0.convs1.0"] == "fft16"
    assert plan["ups.0"] == "direct"
    assert "conv_post" not in plan
    with (
        hifigan_rt.load(model, engine="native", plan=tmp_path / "plan.json") as planned,
        hifigan_rt.load(model, engine="native", plan=plan) as same,
        hifigan_rt.load(model, engine="native") as default,
    ):
        assert planned.engine_info.variant == same.engine_info.variant != default.engine_info.variant
        np.testing.assert_array_equal(planned(tiny_mel(20)), same(tiny_mel(20)))


def test_measured_times_stand_in_the_table(tmp_path, capsys):
    assert main(["info", str(write_tiny(tmp_path)), "--measure"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("plan on cpu ("))
    assert "predicted us" in lines[start + 1]
    assert "us on" in lines[start + 1]
    assert lines[start + 2].split()[0] == "conv_pre"
    total, share, verdict = lines[-3:]
    assert total.split()[0] == "sum"
    assert share.startswith("share: ")
    assert verdict.startswith("the plan is ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "is no mapping of layer names to algorithms"),
        ('{"plan": [1]}', "is no mapping of layer names to algorithms"),
        ('{"plan": []}', "is no mapping of layer names to algorithms"),
        ('{"plan": [{"layer": [], "algorithm": []}]}', "is no mapping of layer names to algorithms"),
        ('{"plan": [{"algorithm": "direct"}]}', "is no mapping of layer names to algorithms"),
        ('{"conv_pre": 3}', "is no mapping of layer names to algorithms"),
        ('{"\\udcff": "direct"}', "is no mapping of layer names to algorithms"),
        ('{"*": "\\udcff"}', "is no mapping of layer names to algorithms"),
        ('{"ups.0": "direct", "ups.0": "winograd"}', "'ups.0' stands twice, as str 'direct' and as str 'winograd'"),
        ('{"plan": [{"layer": "a", "algorithm": "fft8"}, {"layer": "a", "algorithm": "direct"}]}', "'a' stands twice"),
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_plan(tmp_path, content, message):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(EngineError, match=message):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("plan", [{"conv_pre": 3}, {1: "direct"}, {"*": None}, {"\udcff": "direct"}])
def test_a_mapping_that_is_no_plan(plan):
    with pytest.raises(EngineError, match="is no mapping of layer names to algorithms: give texts"):
        read_plan(plan)


def test_a_missing_file(tmp_path):
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        read_plan(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"nowhere": "direct"}, "nowhere"),
        ({"conv_pre": "fft17"}, "fft17"),
        ({"conv_pre": "winograd4"}, "choose direct, fft8"),
        ({"conv_pre": "winograd"}, "no convolution is computed by winograd: choose direct, fft8"),
        ({"ups.0": "fft8"}, "upsampling ups.0 .* cannot be computed by fft8 on .*: choose direct or winograd"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(tmp_path, plan, message):
    with pytest.raises(EngineError, match=message):
        hifigan_rt.load(write_tiny(tmp_path), engine="native", plan=plan)
