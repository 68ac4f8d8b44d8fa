"""Arguments and texts of atc, and what becomes of each way in which it can fail."""

import shlex
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

import om_files
from fake_tools import printing, put_on_path
from hifigan_rt.errors import ExportError, ToolFailed
from hifigan_rt.tools.ascend import atc
from hifigan_rt.tools.ascend.atc import AtcJob, build_arguments, check_extra, check_soc, command_text, find_atc, run_atc
from hifigan_rt.tools.ascend.atc_errors import ADVICE, parse_errors, uncoded_cause

JOB = AtcJob("g.onnx", "g_bs1", "mel_spec", 1, 80, 3, (250, 500, 1000), "Ascend310P3", "force_fp16")
STARTED = "ATC start working now, please wait for a moment.\n"
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"


def test_arguments_of_a_model_with_gears():
    assert build_arguments(JOB) == [
        "--mode=0", "--framework=5", "--model=g.onnx", "--output=g_bs1", "--input_format=ND",
        "--input_shape=mel_spec:1,80,-1", "--dynamic_dims=250;500;1000", "--soc_version=Ascend310P3",
        "--precision_mode=force_fp16", "--log=error",
    ]  # fmt: skip


def test_arguments_of_a_static_model_of_rank_4():
    job = AtcJob("g.onnx", "g", "mel_spec", 8, 80, 4, (500,), "Ascend910B4", None, "info", {"op_debug_level": "1"})
    assert build_arguments(job)[4:] == [
        "--input_format=ND", "--input_shape=mel_spec:8,80,1,500", "--soc_version=Ascend910B4", "--log=info",
        "--op_debug_level=1",
    ]  # fmt: skip


def test_the_command_survives_a_shell():
    arguments = [*build_arguments(JOB), "--x=a b'c;d"]
    assert shlex.split(command_text(arguments)) == ["atc", *arguments]
    assert "'--dynamic_dims=250;500;1000'" in command_text(arguments)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"soc_version": "x"}, "hifigan sets this option itself, from --soc"),
        ({"--input-shape": "x"}, "hifigan sets this option itself, from --batch and --mel-len"),
        ({"external_weight": "1"}, "from nothing: the weights stay in the .om"),
        ({"a b": "x"}, "are written NAME=VALUE"),
        ({"x": "a\nb"}, "must be one line"),
        ({"x": ""}, "must be one line"),
    ],
)
def test_options_that_are_not_passed_through(extra, text):
    with pytest.raises(ExportError, match=text):
        check_extra(extra)


def test_options_are_spelt_as_atc_spells_them():
    assert check_extra({"--op-debug-level": "1"}) == {"op_debug_level": "1"}


def test_files_of_options_are_named_by_whole_paths(tmp_path, monkeypatch):
    """atc runs in another folder, which goes with what it makes there; what is no file, or no option of one, stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep.cfg").write_text("")
    (tmp_path / "cache").mkdir()
    (tmp_path / "high_precision").write_text("")
    given = {
        "keep_dtype": "keep.cfg", "--op-compiler-cache-dir": "cache", "op_precision_mode": f"{tmp_path}/keep.cfg",
        "insert_op_conf": "absent.cfg", "op_select_implmode": "high_precision", "raw_ge_options": "keep.cfg",
        "check_report": "made.json",
    }  # fmt: skip
    assert check_extra(given) == {
        "keep_dtype": f"{tmp_path}/keep.cfg", "op_compiler_cache_dir": f"{tmp_path}/cache",
        "op_precision_mode": f"{tmp_path}/keep.cfg", "insert_op_conf": "absent.cfg",
        "op_select_implmode": "high_precision", "raw_ge_options": f"{tmp_path}/keep.cfg",
        "check_report": f"{tmp_path}/made.json",
    }  # fmt: skip
    assert check_extra({"op_compiler_cache_dir": "made"}) == {"op_compiler_cache_dir": f"{tmp_path}/made"}


def test_the_form_of_a_chip():
    for name in ("Ascend910_9362", "Ascend910B4-1", "Ascend950PR_9579", "Ascend310B4", "Ascend310P3vir01", "AS31XM1"):
        assert check_soc(name) == name
    for name in ("-Ascend910B4", "Ascend910B4-", "--help", "Ascend910B4,Ascend310P3"):
        with pytest.raises(ExportError, match="is no chip"):
            check_soc(name)
    for name in ("Ascend310P3; rm", "AUTO", "Atlas300I", "atlas-300I-duo"):
        with pytest.raises(ExportError, match=f"soc='{name}' is no chip: a name like Ascend310P3, or auto"):
            check_soc(name)
    with pytest.raises(ExportError, match="how npu-smi shows the chip; atc knows it as 'Ascend310P3'"):
        check_soc("310P3")
    with pytest.raises(ExportError, match="knows it as 'Ascend910B'; Atlas A2, which is called 910B too, shows 910B1"):
        check_soc("910B")
    for name in ("ascend310p3", "Ascend310p3", "310p3", "ASCEND310P3"):
        with pytest.raises(ExportError, match=f"soc='{name}' is not how atc spells chips: it takes 'Ascend' and"):
            check_soc(name)
    for name in ("910C", "Ascend910C"):
        with pytest.raises(ExportError, match=f"soc='{name}' is what Atlas A3 is called, .*Ascend910_93xx"):
            check_soc(name)


# --- atc absent ----------------------------------------------------------------------------------------------------


def test_without_atc(tmp_path, monkeypatch):
    put_on_path(tmp_path / "bin", {}, monkeypatch)
    monkeypatch.setattr(atc, "_TOOLKITS", ("${ASCEND_TOOLKIT_HOME}",))
    with pytest.raises(ToolFailed, match=r"part of the CANN toolkit .*--dry-run"):
        find_atc()


@pytest.mark.parametrize("place", ["toolkit/set_env.sh", "toolkit/latest/set_env.sh"])
def test_without_atc_but_with_the_toolkit(tmp_path, monkeypatch, place):
    put_on_path(tmp_path / "bin", {}, monkeypatch)
    monkeypatch.setattr(atc, "_TOOLKITS", ("${ASCEND_TOOLKIT_HOME}",))
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path / "toolkit/latest"))
    (tmp_path / "toolkit/latest").mkdir(parents=True)
    (tmp_path / place).write_text("")
    with pytest.raises(ToolFailed, match=f"run 'source {tmp_path / place}' first"):
        find_atc()


# --- atc runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for atc to run in, and a way to say what atc does there."""
    (tmp_path / "work").mkdir()
    om_files.write(tmp_path, om_files.converted(), "good")

    def run(script: str, **options):
        put_on_path(tmp_path / "bin", {"atc": script}, monkeypatch)
        return run_atc(JOB, tmp_path / "work", **options)

    run.good = tmp_path / "good"
    run.work = tmp_path / "work"
    run.texts = tmp_path / "texts"
    return run


@pytest.mark.parametrize("name", ["g_bs1.om", "g_bs1_linux_x86_64.om", "g_bs1_linux_aarch64.om"])
def test_the_file_is_found_under_each_name(place, name):
    lines = []
    path, info = place(f'echo start; echo "$@"; cp {place.good} {name}', on_line=lines.append)
    assert path == place.work / name
    assert info.soc_version == "Ascend310P3"
    assert lines == ["start", " ".join(build_arguments(JOB))]


def test_a_file_of_an_earlier_run_is_not_taken_for_the_result(place):
    shutil.copy(place.good, place.work / "g_bs1_linux_x86_64.om")
    with pytest.raises(ToolFailed, match=r"wrote no g_bs1\.om"):
        place("exit 0")


def test_status_0_and_no_file(place):
    with pytest.raises(ToolFailed, match=r"status 0 and wrote no g_bs1\.om: .*it printed: fine") as caught:
        place("echo fine")
    assert caught.value.output == "fine"


def test_status_0_and_half_a_file(place):
    with pytest.raises(
        ToolFailed, match=r"wrote a wrong file \(Ascend model .* is truncated: .*\): it printed nothing"
    ):
        place(f"head -c 50 {place.good} > g_bs1.om")


def test_a_file_but_a_failure(place):
    with pytest.raises(ToolFailed, match=r"atc failed \(status 255\): it printed nothing"):
        place(f"cp {place.good} g_bs1.om; exit 255")


def test_killed(place):
    with pytest.raises(ToolFailed, match=r"atc failed \(killed, often because memory ran out: use fewer gears"):
        place("echo working; kill -9 $$")


def test_hanging(place):
    with pytest.raises(ToolFailed, match=r"did not end within 2 s .* the last it printed: working"):
        place("echo working; sleep 100", timeout_seconds=2.0)


def test_words_that_are_not_utf8(place):
    text = STARTED.encode() + b"\xbe\xaf\xb8\xe6\n" + FAILED.encode() + b"E10010: \xce\xde\xd0\xa7\n"
    with pytest.raises(ToolFailed, match=r"E10010: .*--log takes debug") as caught:
        place(printing(place.texts, "gbk", text) + "; exit 255")
    assert caught.value.codes == ("E10010",)


def test_a_full_disk_is_named(place, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 3 << 20))
    with pytest.raises(ToolFailed, match=r"has 3 MiB left: make room, or write elsewhere with -o"):
        place("exit 255")


def test_a_full_disk_that_atc_tells(place):
    with pytest.raises(ToolFailed, match="MiB left: make room"):
        place("echo 'write failed: No space left on device'; exit 255")


def environment_of(place, monkeypatch, **variables) -> dict[str, str]:
    """What atc sees."""
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "HIFIGAN_ATC_PYTHON", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)
    lines: list[str] = []
    put_on_path(place.work.parent / "bin", {"atc": f"env; cp {place.good} g_bs1.om"}, monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run_atc(JOB, place.work, on_line=lines.append)
    return dict(line.partition("=")[::2] for line in lines)


def test_atc_is_started_without_our_python(place, tmp_path, monkeypatch):
    """Our environment's programs, and all of PYTHONPATH but the toolkit's folders."""
    ours = tmp_path / "venv"
    (ours / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(ours))
    toolkit = tmp_path / "Ascend/cann"
    own = [str(toolkit / "python/site-packages"), str(toolkit / "opp/tbe")]
    seen = environment_of(
        place, monkeypatch, VIRTUAL_ENV=str(ours), PYTHONHOME="/x", ASCEND_HOME_PATH=str(toolkit),
        MAX_COMPILE_CORE_NUMBER="1", PATH=f"{ours}/bin:{tmp_path}/bin:/usr/bin:/bin",
        PYTHONPATH=":".join([str(ours / "lib"), own[0], "/y", own[1]]),
    )  # fmt: skip
    assert seen["PATH"] == f"{tmp_path}/bin:/usr/bin:/bin"
    assert seen["PYTHONPATH"] == ":".join(own)
    assert seen["MAX_COMPILE_CORE_NUMBER"] == "1"
    assert not {"VIRTUAL_ENV", "PYTHONHOME"} & set(seen)


def test_a_system_python_and_another_environment_stay_on_the_path(place, tmp_path, monkeypatch):
    """Where hifigan runs in the system's Python there is nothing to leave out, and an activated one is not ours."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    path = f"{sys.base_prefix}/bin:{tmp_path}/other/bin:{tmp_path}/bin:/usr/bin:/bin"
    assert environment_of(place, monkeypatch, PATH=path)["PATH"] == path


@pytest.mark.parametrize("name", ["python3", "python3.9"])
def test_atc_gets_the_interpreter_that_the_variable_names(place, tmp_path, monkeypatch, name):
    """Under another name than python3 it is linked to that name: nothing else is looked for."""
    interpreter = tmp_path / "pythons" / name
    interpreter.parent.mkdir()
    interpreter.write_text("#!/bin/sh\necho mine\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    first = environment_of(place, monkeypatch, HIFIGAN_ATC_PYTHON=str(interpreter))["PATH"].split(":")[0]
    assert (Path(first) / "python3").resolve() == interpreter
    with pytest.raises(ToolFailed, match=r"HIFIGAN_ATC_PYTHON='/no/python' is no program that can be run"):
        environment_of(place, monkeypatch, HIFIGAN_ATC_PYTHON="/no/python")


@pytest.mark.parametrize(
    "text",
    ["ModuleNotFoundError: No module named 'te'", "No module named 'tbe'", "[ERROR] No module named decorator",
     "E19999: Internal error!\nE19999  [te] ModuleNotFoundError: No module named 'attr'",
     "AttributeError: module 'numpy' has no attribute 'float_'", "EC0010: failed", "E40000: failed"],
)  # fmt: skip
def test_an_interpreter_that_does_not_suit_is_answered_by_the_variable(place, text):
    with pytest.raises(ToolFailed, match=r"NumPy below 2.*HIFIGAN_ATC_PYTHON"):
        place(printing(place.texts, "block", STARTED + text + "\n") + "; exit 255")


@pytest.mark.parametrize("code", ["E20001", "E40021", "E90000"])
def test_an_operator_that_does_not_compile_is_answered_by_fewer_gears(place, code):
    text = f"{code}: Failed to compile Op [conv_pre]. (oppath: [Pre-compile /opp/conv2d.py failed], optype: [Conv2D])"
    with pytest.raises(ToolFailed, match=rf"{code}: Failed to compile .*way out: .*fewer gears \(--mel-len 500,1000\)"):
        place(printing(place.texts, "block", STARTED + text + "\n") + "; exit 255")


@pytest.mark.parametrize("where", ["devlib", "x86_64-linux/devlib", "devlib/linux/x86_64"])
def test_a_machine_without_the_driver_is_told_of_the_toolkits_library(place, tmp_path, monkeypatch, where):
    text = "atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared object file"
    script = printing(place.texts, "hal", text) + "; exit 127"
    with pytest.raises(ToolFailed, match=r"export LD_LIBRARY_PATH=/usr/local/Ascend/cann/<arch>-linux/devlib:"):
        place(script)
    (tmp_path / "cann" / where).mkdir(parents=True)
    (tmp_path / "cann" / where / "libascend_hal.so").write_text("")
    put_on_path(tmp_path / "bin", {"atc": script}, monkeypatch)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "cann"))
    with pytest.raises(ToolFailed, match=f"export LD_LIBRARY_PATH={tmp_path}/cann/{where}:"):
        run_atc(JOB, place.work)


# --- error codes ---------------------------------------------------------------------------------------------------

BLOCKS = {
    "old": "{code}: Value [x] for [--something] is odd.\n        Solution: Try again.\n",
    "with the process": "{code}: [PID: 200452] 2025-06-16-13:02:36.801.136 Value x for --something is odd.\n"
    "        Possible Cause: None.\n        Solution: Try again.\n        TraceBack (most recent call last):\n",
    "code twice": "{code}[PID: 7] 2026-01-02-03:04:05.006 ({code}): Value x for --something is odd.\n",
    "title, CANN 8.5": "[PID: 7] 2026-01-02-03:04:05.006.007 Unsupported_Operator({code}): Value x for --something is "
    "odd.\n        Possible Cause: None.\nTraceBack (most recent call last):\n        build graph failed\n",
    "title behind a logger's prefix": "(EngineCore pid=9) ERROR 01-02 [log.py:1] [PID: 7] 2026-01-02-03:04:05.006.007 "
    "Invalid_Argument({code}): Value x for --something is odd.\n",
    "inner error": "{code}: Internal error!\n{code}[PID: 7] 2026-01-02-03:04:05.006.007 Inner_Error({code}):  Value x "
    "for --something is odd.\nTraceBack (most recent call last):\n       build graph failed\n",
    "inner error without a code below": "{code}: Internal error!\n        Value x for --something is odd.\n",
}


@pytest.mark.parametrize("generation", BLOCKS)
@pytest.mark.parametrize("code", sorted(ADVICE))
def test_every_code_has_a_way_out(place, code, generation):
    block = STARTED + FAILED + BLOCKS[generation].format(code=code)
    with pytest.raises(ToolFailed) as caught:
        place(printing(place.texts, "block", block) + "; exit 255")
    assert caught.value.codes == (code,)
    text = str(caught.value)
    assert f"atc failed (status 255): {code}: Value " in text
    assert f"is odd. (way out: {ADVICE[code]})" in text
    assert "PID" not in text
    assert caught.value.output == block.rstrip("\n")


def test_an_unknown_code_is_shown_with_the_vendors_own_advice():
    (error,) = parse_errors("EZ9998: Something new.\n        Possible Cause: A.\n        Solution: Do B.\n")
    assert (error.code, error.message, error.way_out) == ("EZ9998", "Something new.", "Do B.")


def test_an_inner_error_is_told_by_the_line_below_its_heading():
    text = "E19999: Inner Error!\nE19999  [PID: 1] 2025-01-01-00:00:00.0 Write file failed\n        TraceBack:\n"
    (error,) = parse_errors(text)
    assert error.message == "Write file failed"


@pytest.mark.parametrize("heading", ["Inner Error!", "Internal Error!", "Internal error!", "Inner error!"])
def test_every_heading_of_an_inner_error_is_passed_over(heading):
    (error,) = parse_errors(f"EZ9999: {heading}\nEZ9999  AI Core exception\nTraceBack (most recent call last):\n   x\n")
    assert error.message == "AI Core exception"


def test_a_warning_of_the_new_layout_ends_an_error():
    text = (
        "[PID: 7] 2026-01-02-03:04:05.006.007 Unsupported_Operator(EZ3002): no\n"
        "[PID: 7] 2026-01-02-03:04:05.006.007 Compile_Hint(W11001): slow\n        Solution: Wait.\n"
    )
    assert [(error.code, error.message, error.solution) for error in parse_errors(text)] == [("EZ3002", "no", "")]


@pytest.mark.parametrize("code", ["EZ3002", "EZ3003"])
def test_a_refused_float32_is_told_from_a_missing_package(code):
    """As printed on 310P3: the compiler's reason, and in the layout of CANN 8.5 the second error without its code."""
    reason = "[Static shape check]:data type DT_FLOAT of input [x] is not supported. All supported data type and format"
    (error,) = parse_errors(
        f"[PID: 7] 2026-01-02-03:04:05.006.007 Unsupported_Operator({code}): Optype [Conv2D] of Ops kernel "
        f"[AIcoreEngine] is unsupported. Reason: {reason}\nTraceBack (most recent call last):\n"
        "        No supported Ops kernel and engine are found for [conv], optype [Conv2D].\n"
    )
    assert "leave --precision-mode out" in error.way_out
    (other,) = parse_errors(f"{code}: TransData not found in this op store\n")
    assert "kernels package" in other.way_out


def test_without_a_code_the_cause_comes_before_the_traceback():
    cause = "No module named 'decorator'"
    trace = "Traceback (most recent call last):\n  File 'a.py', line 1, in f\n    import decorator\n"
    text = f"{STARTED}{FAILED}[ERROR] te: {cause}\n{trace}ModuleNotFoundError: {cause}\nend\nend\n"
    assert uncoded_cause(text) == f"[ERROR] te: {cause} | ModuleNotFoundError: {cause}"
    assert uncoded_cause("one\ntwo\nthree\nfour\n") == "one | two | three"
    assert uncoded_cause(STARTED + "....\n") == ""


def test_several_codes_keep_their_order_and_come_once():
    text = "E20001: a\nEZ3002: b\nE20001: c\nW11001: d\nxE10001: e\nE100012: f\nno code\nE20001: (E10001): g\n(E1): h\n"
    assert [(error.code, error.message) for error in parse_errors(text)] == [("E20001", "a"), ("EZ3002", "b")]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("Value x for parameter insert_op_conf is invalid. Reason: The dynamic dims function does not support AIPP.",
         "take insert_op_conf out"),
        ("Value [NCHW] for parameter [--input_format] is invalid. Reason: input_format must be ND when",
         "take input_format out"),
        ("Value Ascend000 for parameter soc_version is invalid. Reason: it is not supported", "compare --soc"),
        ("Value z for parameter precision_mode is invalid. Reason: it must be one of", "another --precision-mode"),
        ("Value 1 for parameter auto_tune_mode is invalid.", "take auto_tune_mode out"),
        ("Value a for parameter --dynamic_dims is invalid. Reason: must be positive integer", "give --mel-len"),
        ("Value a for parameter --other is invalid.", "the reason is in its text"),
    ],
)  # fmt: skip
def test_the_code_of_every_bad_value_is_told_apart_by_its_reason(message, text):
    (error,) = parse_errors(f"E10001: {message}\n")
    assert text in error.way_out
