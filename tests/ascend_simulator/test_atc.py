"""The simulated `atc` against the facts of the vendor's: each refusal with its code, text, order and exit status."""

from __future__ import annotations

import json
import subprocess
import tomllib

import numpy as np
import onnx
import pytest
from onnx import helper

from ascend_simulator.environment import BIN, CAVEAT, PYTHON
from ascend_simulator.models import GEARS, MEL, arguments, change_onnx, convert, write_onnx
from hifigan_rt.formats.om_file import read_om
from om_files import geared

STARTED = "ATC start working now, please wait for a moment."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"


@pytest.fixture
def atc(simulator, monkeypatch, capsys):
    """Runs atc in this process, which is quicker than a process each."""
    monkeypatch.syspath_prepend(PYTHON)
    from cann_simulator.atc import main

    def run(*words):
        status = main(list(words))
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_onnx(tmp_path / "g.onnx")


def gears(count):
    return ";".join(str(10 * (i + 1)) for i in range(count))


# Options changed, code and words in CANN 6, code and words in CANN 8. None: it succeeds.
REFUSALS = {
    "no framework": ({"framework": None}, ("E10007", "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)"), None),
    "no soc": ({"soc_version": None}, ("E10001", "soc_version"), ("E10054", "--soc_version for ATC is empty")),
    "unknown soc": ({"soc_version": "310P3"}, ("E10001", "Value [310P3] for [--soc_version]"), ("E10001", "310P3")),
    "no model": ({"model": ""}, ("E10004", "Value for [--model] is empty."), ("E10054", "parameter --model for ATC")),
    "absent model": ({"model": "no.onnx"}, ("E19000", "no.onnx"), ("E13000", "Path no.onnx is empty.")),
    "absent file": (
        {"op_precision_mode": "o.ini"},
        ("E10001", "No such file or directory"),
        ("E10001", "No such file or directory"),
    ),
    "folder as model": ({"model": "."}, ("E19001", "Is a directory"), ("E13026", "Input path . is invalid")),
    "no output": ({"output": None}, ("E10004", "[--output]"), ("E10054", "--output")),
    "folder as output": ({"output": "out/"}, ("E10022", "file name"), ("E10022", "Path out/ for parameter --output")),
    "long output": ({"output": "x" * 4097}, ("E10021", "4096"), ("E10021", "4096")),
    "format": (
        {"input_format": "NHWC"},
        ("E10001", "only support NCHW, ND, NCDHW in ONNX model"),
        ("E10001", "Value NHWC for parameter --input_format is invalid."),
    ),
    "format for gears": ({"input_format": "NCHW"}, ("E10001", "input_format must be ND when set dynamic_dims"), ()),
    "small channel": ({"enable_small_channel": "2"}, ("E10006", "either 1 or 0"), None),
    "auto tune": ({"auto_tune_mode": "RL"}, ("E10001", "auto_tune_mode"), None),
    "implmode": ({"op_select_implmode": "fast"}, ("E10001", "op_select_implmode"), None),
    "optypelist": ({"optypelist_for_implmode": "Tanh"}, ("E10001", "op_select_implmode"), None),
    "precision": ({"precision_mode": "fp32"}, ("E10001", "precision_mode"), ("E10001", "fp32")),
    "log": (
        {"log": "loud"},
        ("E10010", "invalid value for --log:loud, only support debug, info, warning, error, null"),
        ("E10010", "Value loud for parameter --log is invalid."),
    ),
    "two dynamic": ({"dynamic_batch_size": "1,2"}, ("E10009", "mutually exclusive"), ("E10009", "--input_shape_range")),
    "empty gears": ({"dynamic_dims": ""}, ("E10004", "dynamic_dims"), ("E10054", "not enclosed by quotation marks")),
    "no shape": ({"input_shape": None}, ("E10004", "Value for [--input_shape] is empty."), ("E10004", "--input_shape")),
    "no colon": ({"input_shape": "1,10,-1"}, ("E10002", "[--input_shape]"), ("E10002", "--input_shape is invalid")),
    "letters": ({"input_shape": f"{MEL}:1,x,-1"}, ("E10002", "x"), ("E10002", "must be formatted as")),
    "unknown input": ({"input_shape": "mel:1,10,-1"}, ("E10016", "[mel]"), ("E10016", "Opname mel specified in")),
    "constant": ({"input_shape": "conv_pre:1,10,-1"}, ("E10017", "conv_pre"), ("E10017", "The Op type must be Data.")),
    "zero": ({"input_shape": f"{MEL}:0,10,-1"}, ("E10011", "The error value is: 0"), ("E10011", "in the shape is 0")),
    "no -1": (
        {"input_shape": f"{MEL}:1,10,250"},
        ("E10001", "at least one dim should be -1 when set dynamic_dims"),
        ("E10001", "--input_shape's dynamic dim num"),
    ),
    "-1 alone": ({"dynamic_dims": None}, ("E10011", "[mel_spec:1,10,-1]"), ()),
    "nothing": (
        {"dynamic_dims": None, "input_shape": None},
        ("E10001", "Value [-1] for [Inputs] is invalid. Reason: maybe you should set input_shape to specify its shape"),
        ("E10001", "Value NULL for parameter --input_shape is invalid. Reason: The shapes of inputs contain -1"),
    ),
    "5 dims": ({"input_shape": f"{MEL}:1,10,1,1,-1"}, ("E10001", "Dim num must within [1, 4]"), ("E10049", "count 5")),
    "4 dims": ({"input_shape": f"{MEL}:1,10,1,-1"}, ("E19999", "4 dims"), ("E10049", "Dimension count 4")),
    "bands": ({"input_shape": f"{MEL}:1,80,-1"}, ("E19999", "Inner Error!"), ("E19999", "Internal Error!")),
    "gear width": (
        {"dynamic_dims": "1,250;1,500"},
        ("E10003", "Each gear setting needs to be consistent with the number of -1 in the inputshape"),
        ("E10003", "Each setting needs to be consistent with the number of -1 in the input shape."),
    ),
    "space": (
        {"dynamic_dims": "250; 500"},
        ("E10001", "must be positive integer"),
        ("E10001", "Value  500 for parameter --dynamic_dims is invalid. Reason: Dynamic dims must be a positive"),
    ),
    "negative": ({"dynamic_dims": "250;-500"}, ("E10001", "-500"), ("E10001", "-500")),
    "one gear": (
        {"dynamic_dims": "250"},
        ("E10035", "argument has [1] profiles, which is less than the minimum [1]."),  # off by one, as printed
        ("E10035", "--dynamic_dims has 1 profiles, which is less than the minimum 2."),
    ),
    "one and a semicolon": ({"dynamic_dims": "250;"}, ("E10035", "[1] profiles"), ("E10035", "1 profiles")),
    "101 gears": ({"dynamic_dims": gears(101)}, ("E10036", "maximum [101]"), ("E10036", "101 profiles, which is gr")),
    "twice": ({"dynamic_dims": "250;500;250"}, ("E10039", "duplicate profiles"), ("E10039", "duplicate profiles")),
    "zero gear": ({"dynamic_dims": "0;500"}, ("E10038", "Dimension size [0]"), ("E10038", "Dimension size 0 is")),
    "AIPP": ({"insert_op_conf": "a.cfg"}, ("E10001", "does not support AIPP"), None),
    "batch elsewhere": (
        {"dynamic_dims": None, "dynamic_batch_size": "1,2"},
        ("E10018", "-1"),
        ("E10018", "only batch size N can be -1"),
    ),
    "batch without -1": (
        {"dynamic_dims": None, "dynamic_batch_size": "1,2", "input_shape": f"{MEL}:1,10,250"},
        ("E10040", "must have –1 axes"),
        ("E10040", "must have -1 axes and cannot have '~'"),
    ),
    "100 gears": ({"dynamic_dims": gears(100)}, (), None),
    "trailing semicolon": ({"dynamic_dims": GEARS + ";"}, (), None),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_check(atc, model, simulator, case):
    changes, old, new = REFUSALS[case]
    expected = old if simulator.generation == 6 or new is None else new
    status, text = atc(*arguments(model, **changes))
    lines = text.splitlines()
    assert lines[0] == STARTED
    if not expected:
        assert status == 0
        assert lines[-1] == "ATC run success, welcome to the next use."
        return
    code, words = expected
    assert status == 255
    assert FAILED in lines
    block = lines[lines.index(FAILED) + 1]
    assert block.startswith(f"{code}: ")
    assert words in text
    assert ("[PID: " in block) == (simulator.generation == 8 and code != "E19999")


def test_ranges_belong_to_the_new_tool(atc, model, simulator):
    status, text = atc(*arguments(model, input_shape=f"{MEL}:1,10,1~2000"))
    assert status == 255
    assert ("E10002" if simulator.generation == 6 else "E10040") in text


def test_order_of_checks(atc, model, simulator):
    """Old: the format first and the chip last. New: framework, chip, output, model."""
    wrong = {"input_format": "NHWC", "soc_version": None, "model": None, "output": None, "framework": None}
    order = []
    for _ in range(5):
        text = atc(*arguments(model, **wrong))[1]
        order.append(next(name for name in wrong if f"--{name}" in text))
        del wrong[order[-1]]
    assert order == (
        ["input_format", "model", "framework", "output", "soc_version"]
        if simulator.generation == 6
        else ["framework", "soc_version", "output", "model", "input_format"]
    )


def test_unknown_options(simulator, model):
    done = simulator.atc(*arguments(model), "--batch=1")
    assert done.returncode == (1 if simulator.generation == 6 else 255)
    assert "batch" in done.stderr


def test_spellings_of_options(simulator, model):
    words = [word for argument in arguments(model) for word in argument.split("=", 1)]
    assert simulator.atc(*words).returncode == 0
    dashed = [argument.replace("soc_version", "soc-version") for argument in arguments(model)]
    assert (simulator.atc(*dashed).returncode == 0) == (simulator.generation == 8)


def test_unquoted_semicolons_reach_atc_cut_off(simulator, model):
    """As where the shell of a script splits the command."""
    command = f"{BIN}/atc {' '.join(arguments(model))}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
    assert "E10035" in done.stdout
    assert "minimum" in done.stdout


@pytest.mark.parametrize("rank", [3, 4])
def test_the_om_holds_what_the_runtime_needs(simulator, tmp_path, monkeypatch, rank):
    monkeypatch.syspath_prepend(PYTHON)
    from cann_simulator.om_file import NotSimulated, read_om

    path = convert(simulator, tmp_path, rank=rank)
    facts, payload = read_om(path)
    assert path.read_bytes().startswith(b"IMOD")
    assert payload == (tmp_path / "m.onnx").read_bytes()
    ones = [1] if rank == 4 else []
    assert facts["inputs"] == [{"name": MEL, "dtype": "float32", "shape": [1, 10, *ones, -1]}]
    assert facts["outputs"] == [{"name": "squeeze:0:wavs", "dtype": "float32", "shape": [1, -1]}]
    assert facts["dynamic_dims"] == [[250], [500], [750]]
    assert facts["input_dims_of_gears"] == [[1, 10, *ones, frames] for frames in (250, 500, 750)]
    assert (facts["soc_version"], facts["weights"], facts["simulator"]) == ("Ascend310P3", "float16", True)
    assert "'--dynamic_dims=250;500;750'" in facts["atc_cmdline"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotSimulated, match="cut off"):
        read_om(path)
    for real in (geared(), geared(wide=False), b"IMOD" + bytes(252)):
        path.write_bytes(real)
        with pytest.raises(NotSimulated, match=r"no \.om of the simulator"):
            read_om(path)


def test_default_precision_is_half(simulator, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PYTHON)
    from cann_simulator.om_file import read_om

    assert read_om(convert(simulator, tmp_path, precision_mode=None))[0]["weights"] == "float16"
    simulator.set(WEIGHTS="float32")
    assert read_om(convert(simulator, tmp_path, precision_mode=None))[0]["weights"] == "float32"


def test_static_and_renamed(simulator, model, tmp_path):
    simulator.set(OM_NAMING="linux")
    done = simulator.atc(*arguments(model, dynamic_dims=None, input_shape=f"{MEL}:2,10,250"))
    assert done.returncode == 0
    assert len(list(tmp_path.glob("m_linux_*.om"))) == 1
    assert not (tmp_path / "m.om").exists()


def with_operator(op_type, domain=""):
    return lambda model: model.graph.node.insert(
        0, helper.make_node(op_type, [MEL], ["unused"], name="odd", domain=domain)
    )


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (with_operator("Snake"), ("E19010", "[ai.onnx::11::Snake]"), ("E16002", "optype ai.onnx::11::Snake")),
        (with_operator("Tanh", "com.acme"), ("E19010", "com.acme"), ("E16002", "com.acme")),
        (lambda model: model.graph.ClearField("node"), ("E16001", "node"), ("E16001", "node")),
        (lambda model: model.ClearField("graph"), ("E16004", "no graph"), ("E16004", "ONNX model has no graph.")),
        (
            lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx", 12)),
            ("E16005", "domain_version"),
            ("E16005", "domain_version"),
        ),
    ],
)
def test_models_that_the_parser_refuses(atc, model, simulator, change, old, new):
    code, words = old if simulator.generation == 6 else new
    status, text = atc(*arguments(change_onnx(model, change)))
    assert status == 255
    assert f"\n{code}: " in text
    assert words in text


def test_no_onnx_at_all(atc, model):
    model.write_bytes(b"\x08\x07not a model")
    assert "\nE10041: " in atc(*arguments(model))[1]


def test_opsets(atc, tmp_path, simulator):
    model = write_onnx(tmp_path / "new.onnx", opset=17)
    status, text = atc(*arguments(model, str(tmp_path / "m")))
    assert (status == 0) == (simulator.generation == 8)
    assert ("E19010" in text) == (simulator.generation == 6)


def test_conv_transpose_needs_kernel_shape(atc, model):
    def change(graph_model):
        for node in graph_model.graph.node:
            if node.op_type == "ConvTranspose":
                kept = [attribute for attribute in node.attribute if attribute.name != "kernel_shape"]
                del node.attribute[:]
                node.attribute.extend(kept)

    assert "E19999" in atc(*arguments(change_onnx(model, change)))[1]
    assert onnx.load(model).graph.node  # the model itself is sound


@pytest.mark.parametrize("code", ["E10045", "E10046", "E13025", "E20001", "E90000", "E90003", "EZ3002", "EZ3003"])
def test_any_code_on_demand(atc, model, simulator, code):
    simulator.set(FAULT=f"atc:error={code}")
    status, text = atc(*arguments(model))
    assert status == 255
    assert f"\n{code}: " in text


def test_every_code_has_a_text(simulator, monkeypatch):
    monkeypatch.syspath_prepend(PYTHON)
    from cann_simulator.error_texts import KNOWN, AtcError, error_block

    for code in KNOWN:
        assert error_block(AtcError(code)).startswith(code)
    simulator.set(FAULT="atc:layout-2026")
    assert f"(E10039): The {'[' if simulator.generation == 6 else '--'}" in error_block(AtcError("E10039"))


def test_too_many_gears_for_the_compiler(atc, model, simulator):
    simulator.set(FAULT="atc:gears=2")
    status, text = atc(*arguments(model))
    assert status == 255
    assert "Failed to compile Op [conv_pre_ascend_mbatch_batch_2]" in text
    assert atc(*arguments(model, dynamic_dims="250;500"))[0] == 0


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("atc:half-way", 137, STARTED),
        ("atc:no-output", 0, "ATC run success"),
        ("atc:not-utf8", 0, "ATC run success"),
        ("atc:warning", 0, "\nW11001: "),
        ("atc:disk-full", 255, "No space left on device"),
        ("atc:op-store", 255, "TransData not found in this op store"),
    ],
)
def test_faults_on_demand(simulator, model, tmp_path, fault, status, words):
    simulator.set(FAULT=fault)
    done = simulator.atc(*arguments(model))
    assert done.returncode == status
    assert words in done.stdout
    assert done.stderr == ""
    assert ("\\x" in done.stdout) == (fault == "atc:not-utf8")
    assert (tmp_path / "m.om").exists() == (fault not in ("atc:no-output", "atc:op-store"))


def test_dynamic_shapes_on_an_old_chip(simulator, model):
    simulator.set(FAULT="atc:dynamic-chip")
    done = simulator.atc(*arguments(model, dynamic_dims=None))
    assert ("E10011" if simulator.generation == 6 else "Dynamic shape is not supported on this chip!") in done.stdout


def test_modes(simulator, tmp_path):
    path = convert(simulator, tmp_path)
    shown = simulator.atc("--mode=6", f"--om={path}").stdout
    assert "============ Display Model Info start ============" in shown
    assert "soc_version[Ascend310P3], framework_type[5]." in shown
    assert "simulated on CPU; not Ascend performance" in shown
    assert simulator.atc("--mode=1", f"--om={path}", f"--json={tmp_path}/m.json").returncode == 0
    assert json.loads((tmp_path / "m.json").read_text())["simulator"] is True
    assert "unsupported in simulator" in simulator.atc("--mode=3").stdout
    real = tmp_path / "real.om"
    real.write_bytes(b"IMOD" + np.zeros(252, np.uint8).tobytes())
    assert "Invalid om file" in simulator.atc("--mode=6", f"--om={real}").stdout


def test_refuses_to_run_beside_real_cann(simulator, model, tmp_path, monkeypatch):
    (tmp_path / "real" / "acl").mkdir(parents=True)
    (tmp_path / "real" / "acl" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{PYTHON}:{tmp_path / 'real'}")
    done = simulator.atc(*arguments(model))
    assert done.returncode == 3
    assert "refuses to run beside real CANN" in done.stderr
    assert "refuses to run beside real CANN" in simulator.python("-c", "import aclruntime").stderr
    simulator.set(FORCE=1)
    assert simulator.atc(*arguments(model)).returncode == 0


@pytest.mark.parametrize("changes", [
    {}, {"dynamic_dims": None, "input_shape": f"{MEL}:1,10,250"},
    {"dynamic_dims": None, "input_shape": f"{MEL}:-1,10,250", "dynamic_batch_size": "1,8"},
])  # fmt: skip
def test_the_om_is_read_as_an_ordinary_one(simulator, tmp_path, monkeypatch, changes):
    monkeypatch.syspath_prepend(PYTHON)
    from cann_simulator.om_file import read_om as read_facts

    path = convert(simulator, tmp_path, **changes)
    facts, _ = read_facts(path)
    info = read_om(path)
    assert info.caveat == CAVEAT
    assert (info.soc_version, info.atc_version, info.atc_cmdline) == (
        facts["soc_version"], facts["atc_version"], facts["atc_cmdline"],
    )  # fmt: skip
    assert info.precision_mode == "cube_fp16in_fp32out"
    for told, known in ((info.inputs, facts["inputs"]), (info.outputs, facts["outputs"])):
        assert [(tensor.name, tensor.dtype, list(tensor.shape)) for tensor in told] == [
            (entry["name"], entry["dtype"], entry["shape"]) for entry in known
        ]
    assert [list(gear) for gear in info.dynamic_dims] == facts["dynamic_dims"]
    assert [list(dims) for dims in info.input_dims_of_gears] == facts["input_dims_of_gears"]


def test_the_simulator_is_never_installed():
    """The wheel's content itself is looked at by scripts/check-wheel."""
    root = BIN.parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert build["wheel"]["packages"] == ["src/hifigan_rt"]
    assert not [path for name in ("aclruntime", "ais_bench", "cann_simulator") for path in (root / "src").rglob(name)]
