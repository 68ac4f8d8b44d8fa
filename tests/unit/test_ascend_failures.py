"""What the vendor's runtime prints and raises, and the error that a user sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from hifigan_rt.engines.ascend_runtime import failures
from hifigan_rt.engines.ascend_runtime.chips import Chip
from hifigan_rt.engines.ascend_runtime.failures import DeviceContext, import_failure, missing_package, runtime_failure
from hifigan_rt.errors import EngineError, EngineUnavailable, ToolFailed

HERE = DeviceContext("/opt/python3.7", Path("/models/m.om"), 3, "Ascend310P3")
STAMP = "[PID: 7] 2026-01-02-03:04:05.006.007"
GENERAL = "[-1][ACL: general failure] "


@pytest.fixture(autouse=True)
def chips(monkeypatch):
    """What npu-smi shows; nothing by default."""
    shown = []

    def find(timeout_seconds):
        if not shown:
            raise ToolFailed("npu-smi is not on the PATH")
        return tuple(shown)

    monkeypatch.setattr(failures, "find_chips", find)
    return shown


@pytest.mark.parametrize(
    ("text", "log", "kind", "says"),
    [
        ("[1][ACL: invalid parameter] ",
         "[ERROR] load model from file failed, model file is /models/m.om\n"
         "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1",
         EngineError, "the Ascend runtime cannot load '/models/m.om': it is damaged, was converted by a newer CANN"),
        ("[507033][Error code unknown] ", "[ERROR] acl open device 3 failed", EngineUnavailable,
         "Ascend device 3 cannot be opened"),
        (GENERAL, "EL0003: The argument is invalid.", EngineUnavailable, "/dev/davinci3 in the container"),
        (GENERAL, "[ERROR] the dymDims parameter is not correct i:0 dysize:4 dimcount:3", EngineError,
         "the gears that '/models/m.om' was compiled with are not those that its file tells"),
        (GENERAL, "[ERROR] the dynamic_dims parameter is not correct\n[ERROR] model has 8 gear of dims", EngineError,
         "convert it again with 'hifigan export om'"),
        (GENERAL, "the dynamic_dims parameter is not specified for model conversion", EngineError, "the gears that"),
        (GENERAL, "[WARN] check failed dym gearcount:8 but dymtype:0 not set", EngineError, "the gears that"),
        (GENERAL, "[ERROR] Check i:0 name:mel_spec in size:80 needsize:160 not match", EngineError,
         "takes other inputs than one mel"),
        (GENERAL, "[WARN] intensors in:1 need:2 not match", EngineError, "takes other inputs than one mel"),
        ("[3011][Undefined error code] ", "[ERROR] out i:0 size is zero", EngineError, "true dynamic shapes"),
        (GENERAL, "E10001: ... Reason: Model soc version is not support in this device.\n"
         "[ERROR] load model from file failed, model file is /models/m.om", EngineError,
         "'/models/m.om' was converted for Ascend310P3: convert it with"),
        (GENERAL, "EZ9999: AI Core exception, code 507011\n[ERROR] execute model failed, modelId is 1", EngineError,
         "device 3 failed while it ran '/models/m.om' (error 507011, the execution of the model failed): if the"),
        (GENERAL, "E19999 The opp version of the model does not match the current opp version", EngineError,
         "was converted with a newer CANN than this machine has"),
        ("aclruntime version:None is lower please update aclruntime follow any one method", "", EngineUnavailable,
         "aclruntime and ais_bench are of different versions: install the wheels"),
        ("module 'aclruntime' has no attribute 'session_options'", "", EngineUnavailable, "of different versions"),
        ("[207001][Error code unknown] ", "", EngineError, "device 3 has too little free memory"),
        ("om path:/models/m.om is illegal. Please check.", "", EngineError, "ais_bench does not accept the path"),
        ("", "", EngineError, "the Ascend runtime failed on device 3: it gave no reason"),
        ("[9][new] ", "[INFO] load\n[ERROR] something new\nEZ1234: newer", EngineError,
         "failed on device 3: EZ1234: newer | [ERROR] something new | [9][new]"),
        ("[507033][Error code unknown] ", f"[ACL ERROR] {STAMP} Memory_Allocation_Failure(EL0004): Failed to allocate "
         "memory requested by RUNTIME module.\n[ERROR] acl open device 3 failed", EngineError,
         "device 3 has too little free memory for '/models/m.om'"),
        ("[507033][Error code unknown] ", f"[error] [ACL ERROR] {STAMP} Resource_Busy(EL0005): The resources are "
         "busy.\n[error] acl open device 3 failed", EngineUnavailable, "Ascend device 3 is in use, by another process"),
        ("[507033][Error code unknown] ", "E39009: [PID: 1] 2025-01-01-00:00:00.000.000 Failed to connect the device.",
         EngineUnavailable, "Ascend device 3 does not answer (its heartbeat is lost)"),
        ("[507033][Error code unknown] ", f"{STAMP} Inner_Error_Device_Status_Abnormal(E39009): Failed to connect the "
         "device.", EngineUnavailable, "does not answer"),
        ("[507899][Error code unknown] ", "dcmi model initialized failed, because the device is used. ret is -8020",
         EngineUnavailable, "is in use"),
        ("[-1][ACL: general failure] ", "EE8888: The soc version=Ascend310P3 has been set, device cannot be created on "
         "real soc version=Ascend910B4", EngineError, "was converted for Ascend310P3"),
        ("[9][x] ", "EE1001: model is of Ascend910B4-1, and soc_version here Ascend910B4", EngineError,
         "was converted for"),
        ("[9][x] ", "EE1001: soc_version Ascend310P3 of the model, Ascend310P3 here", EngineError,
         "the Ascend runtime failed on device 3: EE1001"),
        ("[507011][Error code unknown] ", "code 507015", EngineError, "(error 507015, an exception in the AI core)"),
        ("[507035][Error code unknown] ", "", EngineError, "(error 507035, an exception in the vector core)"),
        ("[507014][Error code unknown] ", "", EngineError, "(error 507014, the AI core did not end in time): end what"),
        ("[507046][Error code unknown] ", "", EngineError, "(error 507046, the stream did not end in time)"),
        ("[507009][Error code unknown] ", "", EngineError, "a task of a type that the device does not know): look at"),
        ("[507899][Error code unknown] ", "", EngineError, "(error 507899, an internal error of the driver)"),
        ("please check model path", "[error] path is soft link\n[error] model path illegal, please check.", EngineError,
         "aclruntime does not accept the path '/models/m.om'"),
    ],
)  # fmt: skip
def test_every_known_failure_has_its_text(text, log, kind, says):
    error = runtime_failure(text, log, HERE)
    assert type(error) is kind
    assert says in str(error)
    assert "Traceback" not in str(error)


def test_what_npu_smi_shows_is_told(chips):
    chips.append(Chip(0, 0, 0, "Ascend310B1", "Ascend310B1"))
    text = str(runtime_failure("[507011][Error code unknown] ", "", HERE))
    assert "was converted for Ascend310P3, and npu-smi shows Ascend310B1 (device 0)" in text
    text = str(runtime_failure("[507033][Error code unknown] ", "", HERE))
    assert "npu-smi shows Ascend310B1 (device 0)" in text


def test_a_failure_while_running_does_not_blame_the_chip_that_the_model_is_for(chips):
    chips.append(Chip(0, 0, 3, "Ascend310P3", "Ascend310P3"))
    text = str(runtime_failure("[507011][Error code unknown] ", "", HERE))
    assert "was converted for" not in text
    assert "with fewer gears, another --precision-mode or --rank" in text


def test_causes_are_shown_first_and_tracebacks_not():
    """As aclruntime of 2026 prints CANN's last error."""
    log = (
        "[info] open device 0 success\n[error] [ACL ERROR] E39999: Inner Error!\n"
        f"E39999{STAMP} (E39999):  No TsdCloseEx symbol found in libtsdclient.so.\n"
        "        TraceBack (most recent call last):\n       rtDatadumpInfoLoadWithFlag execution failed\n"
        "[error] load failed\n"
    )
    text = str(runtime_failure("[9][?] ", log, HERE))
    assert text.endswith("E39999: No TsdCloseEx symbol found in libtsdclient.so. | [error] load failed | [9][?]")


def test_a_long_log_is_cut_to_what_was_marked():
    log = "\n".join(["[INFO] x" * 100] * 50 + [f"[ERROR] number {n}" for n in range(50)])
    text = str(runtime_failure("[9][?] ", log, HERE))
    assert "number 5" in text
    assert "number 6" not in text
    assert "[INFO]" not in text


def test_packages_that_are_missing_or_do_not_import():
    assert "needs aclruntime, which '/opt/python3.7' does not have" in str(missing_package("aclruntime", HERE.python))
    assert "another tool of the same name" in str(missing_package("ais_bench.infer", HERE.python))
    unset = import_failure("ImportError", "libascendcl.so: cannot open shared object file", HERE)
    assert "source set_env.sh of the CANN toolkit in this shell first" in str(unset)
    assert "of another Python or CANN version" in str(import_failure("ImportError", "undefined symbol: _Py", HERE))


@pytest.mark.parametrize("mode", [0o240, 0o040, 0o000])
def test_a_file_that_its_owner_may_not_read(tmp_path, mode):
    """aclruntime looks at the mode alone, so that root is refused too."""
    path = tmp_path / "m.om"
    path.write_bytes(b"")
    path.chmod(mode)
    said = f"its owner may not read it (mode {mode:04o}): chmod 640 {path}"
    assert said in failures.illegal_path(path, "aclruntime").split("; ")
