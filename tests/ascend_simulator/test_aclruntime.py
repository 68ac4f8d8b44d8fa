"""The simulated `aclruntime` and `ais_bench.infer.interface` against the facts of the vendor's."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

import tolerances
from ascend_simulator.environment import CAVEAT
from ascend_simulator.models import convert, log_mel, made_once
from golden.tiny import tiny_generator
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate

PREAMBLE = """
import sys
import numpy as np, aclruntime
from ais_bench.infer.interface import InferSession
mel = np.random.default_rng(0).uniform(-11.5, -2, (1, 10, 250)).astype(np.float32)
def session(path="m.om", device=0):
    return aclruntime.InferenceSession(path, device, aclruntime.session_options())
def attempt(name, call):
    sys.stdout.flush()
    try:
        print(f"{name}: {call()!r}", flush=True)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        print(f"{name}: {type(error).__name__} {error}", flush=True)
"""


@pytest.fixture
def om(simulator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made_once(simulator, tmp_path)


@pytest.fixture
def script(simulator, om):
    def run(code):
        done = simulator.python("-c", PREAMBLE + textwrap.dedent(code))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_descriptors(script):
    out = script("""
        s = session()
        for desc in (*s.get_inputs(), *s.get_outputs()):
            print(desc.name, desc.datatype.name, int(desc.datatype), desc.shape, desc.size, desc.realsize)
        s.set_dynamic_dims("mel_spec:1,10,250")
        print([desc.realsize for desc in s.get_inputs()], aclruntime.CAVEAT)
    """)
    # The input that carries the gear is hidden; hop 8 and 750 frames make the largest output.
    assert "mel_spec float32 0 [1, 10, -1] 30000 30000\n" in out
    assert "squeeze:0:wavs float32 0 [1, -1] 24000 24000\n" in out
    assert f"[10000] {CAVEAT}\n" in out


def test_console_lines(simulator, script):
    out = script("""
        s = session()
        s.options().loop = 2
        s.set_dynamic_dims("mel_spec:1,10,250")
        s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)])
        s.finalize() if not hasattr(s, "free_resource") else (s.free_resource(), aclruntime.InferenceSession.finalize())
    """)
    old = simulator.generation == 6
    expected = ["[INFO] acl init success", "[INFO] open device 0 success"]
    expected += ["[INFO] load model m.om success", "[INFO] create model description success"]
    # Each count overwrites the one before: a carriage return, which Python reads as a line end.
    expected += ["", "", "loop inference exec: (1/2)", "loop inference exec: (2/2)"]
    expected += ["[INFO] unload model success, model Id is 1", *["[INFO] end to destroy context"] * old]
    expected += [f"[INFO] end to reset device {'is ' * old}0", "[INFO] end to finalize acl"]
    assert out.split("\n")[:-1] == expected


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_numbers(simulator, script, tmp_path, weights):
    simulator.set(WEIGHTS=weights)
    convert(simulator, tmp_path)
    out = script("""
        s = InferSession(0, "m.om")
        [audio] = s.infer([mel], "dymdims")
        np.save("audio.npy", audio)
        print(audio.shape, audio.dtype)
    """)
    assert "(1, 2000) float32" in out
    truth = generate(tiny_generator(), log_mel(1, 10, 250)[0])
    snr = snr_db(truth, np.load("audio.npy")[0])
    if weights == "float32":
        assert snr >= tolerances.FLOAT32_ENGINE_SNR_DB
    else:
        assert tolerances.SIMULATED_FLOAT16_SNR_DB <= snr < tolerances.FLOAT32_ENGINE_SNR_DB


def test_gears_are_compared_flat_and_whole(script):
    out = script("""
        s = session()
        attempt("four", lambda: s.set_dynamic_dims("mel_spec:1,10,1,250"))
        attempt("no gear", lambda: s.set_dynamic_dims("mel_spec:1,10,251"))
        attempt("gear", lambda: s.set_dynamic_dims("mel_spec:1,10,500"))
    """)
    listed = "".join(f"[ERROR] dims[{i}]:[1][10][{frames}]\n" for i, frames in enumerate((250, 500, 750)))
    listed = f"[ERROR] model has 3 gear of dims\n{listed}"
    closing = "[ERROR] check dynamic dims failed, please set correct dymDims paramenter\n"
    failure = "RuntimeError [-1][ACL: general failure] \n"
    assert (
        "[ERROR] the dymDims parameter is not correct i:0 dysize:4 dimcount:3\n" + listed + closing + "four: " + failure
    ) in out
    assert "[ERROR] the dynamic_dims parameter is not correct\n" + listed + closing + "no gear: " + failure in out
    assert "gear: 0" in out


def test_what_is_refused_when_it_runs(script):
    out = script("""
        s = session()
        tensor = aclruntime.Tensor
        whole = np.zeros((1, 10, 750), np.float32)
        attempt("unset", lambda: s.run(["squeeze:0:wavs"], [tensor(whole)]))
        s.set_staticbatch()
        attempt("static", lambda: s.run(["squeeze:0:wavs"], [tensor(whole)]))
        s.set_dynamic_dims("mel_spec:1,10,250")
        attempt("bytes", lambda: s.run(["squeeze:0:wavs"], [tensor(mel.astype(np.float64))]))
        attempt("none", lambda: s.run(["squeeze:0:wavs"], []))
        attempt("name", lambda: s.run(["wavs"], [tensor(mel)]))
        attempt("map", lambda: s.run(["squeeze:0:wavs"], {"mel": tensor(mel)}))
        attempt("raw", lambda: s.run(["squeeze:0:wavs"], [mel]))
        attempt("batch", lambda: s.set_dynamic_batchsize(1))
    """)
    failure = "RuntimeError [-1][ACL: general failure]"
    assert "[WARN] check failed dym gearcount:3 but dymtype:0 not set\n" in out
    assert f"unset: {failure}" in out
    assert f"static: {failure}" in out
    assert "[ERROR] Check i:0 name:mel_spec in size:20000 needsize:10000 not match\n" in out
    assert "[ERROR] Check InVector failed ret:-1\nbytes: RuntimeError" in out
    assert "[WARN] intensors in:0 need:1 not match\n" in out
    assert f"[ERROR] outnames wavs not valid\n[ERROR] Get OutTensors failed ret:-1\nname: {failure}" in out
    assert f"[ERROR] intensors i:0 name:mel_spec not find\n[ERROR] Check InVector failed ret:-1\nmap: {failure}" in out
    assert "raw: TypeError" in out
    assert "the dynamic_batch_size parameter is not specified for model conversion" in out
    assert "batch: RuntimeError [1][ACL: invalid parameter]" in out


def test_bytes_are_reinterpreted(script):
    """int32 has the size of float32, so nobody notices."""
    out = script("""
        s = session()
        s.set_dynamic_dims("mel_spec:1,10,250")
        for feed in (mel, mel.view(np.int32)):
            [t] = s.run(["squeeze:0:wavs"], [aclruntime.Tensor(feed)])
            t.to_host()
            print(float(np.array(t).astype(np.float64).sum()).hex())
    """)
    sums = [line for line in out.splitlines() if "0x" in line]
    assert len(sums) == 2
    assert sums[0] == sums[1]


def test_tensors_on_the_device_do_not_become_arrays(script):
    out = script("""
        t = aclruntime.Tensor(mel)
        print(repr(t))
        t.to_device(0)
        attempt("device", lambda: np.array(t))
        print(t.device)
        t.to_host()
        print(np.array_equal(np.array(t), mel))
        print(len(aclruntime.MemorySummary().H2D_time_list), len(aclruntime.MemorySummary().D2H_time_list))
    """)
    assert out.splitlines() == [
        "<Tensor>", "shape:\t(1, 10, 250)", "dtype:\tfloat32", "device:\t-1",
        "device: RuntimeError tensor is in npu. can't convert to numpy array", "0", "True", "1 1",
    ]  # fmt: skip


def test_summary_has_two_forms(simulator, script):
    out = script("""
        s = session()
        s.set_dynamic_dims("mel_spec:1,10,250")
        s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)])
        [entry] = s.sumary().exec_time_list
        print(type(entry).__name__, np.ndim(entry))
        s.reset_sumaryinfo()
        print(s.sumary().exec_time_list)
        print(hasattr(s, "free_resource"))
    """)
    new = simulator.generation == 8
    assert out.splitlines()[-3:] == ["tuple 1" if new else "float 0", "[]", str(new)]


def test_what_cannot_be_loaded(simulator, script, tmp_path):
    real, cut = tmp_path / "real.om", tmp_path / "cut.om"
    real.write_bytes(b"IMOD" + bytes(300))
    cut.write_bytes((tmp_path / "m.om").read_bytes()[:5000])
    convert(simulator, tmp_path, "other", soc_version="Ascend910B4")
    out = script("""
        for path in ("real.om", "cut.om", "other.om", "absent.om"):
            attempt(path, lambda: session(path))
        attempt("device", lambda: session(device=7))
    """)
    for path in ("real.om", "cut.om", "other.om", "absent.om"):
        assert (
            f"[ERROR] load model from file failed, model file is {path}\n"
            "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n"
            f"{path}: RuntimeError [1][ACL: invalid parameter]"
        ) in out
    assert "Reason: Model soc version is not support in this device." in out
    assert "[ERROR] acl open device 7 failed\ndevice: RuntimeError [507033][Error code unknown]" in out


def test_busy_device_and_failing_execution(simulator, script):
    simulator.set(FAULT="acl:busy=1,acl:execute")
    out = script("""
        attempt("busy", lambda: session(device=1))
        s = session()
        s.set_dynamic_dims("mel_spec:1,10,250")
        attempt("run", lambda: s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)]))
    """)
    assert "EL0003" in out
    assert "busy: RuntimeError [507033]" in out
    assert "507011\n[ERROR] execute model failed, modelId is 1\n[ERROR] acl execute failed:1\n" in out
    assert "run: RuntimeError [-1][ACL: general failure]" in out


def test_static_models(simulator, script, tmp_path):
    convert(simulator, tmp_path, "static", input_shape="mel_spec:1,10,250", dynamic_dims=None)
    out = script("""
        s = session("static.om")
        attempt("dims", lambda: s.set_dynamic_dims("mel_spec:1,10,250"))
        attempt("run", lambda: len(s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)])))
        s.set_custom_outsize([100])
        attempt("small", lambda: s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)]))
    """)
    assert "the dynamic_dims parameter is not specified for model conversiondims: RuntimeError [-1]" in out
    assert "run: 1\n" in out
    assert "E13025: " in out
    assert "small: RuntimeError [-1]" in out


def test_truly_dynamic_models_need_a_size(simulator, script, tmp_path):
    if simulator.generation == 6:
        return  # its atc builds none: -1 alone is E10011
    simulator.set(OM_NAMING="plain")
    convert(simulator, tmp_path, "free", dynamic_dims=None)
    out = script("""
        s = session("free.om")
        s.set_dynamic_shape("mel_spec:1,10,250")
        attempt("unsized", lambda: s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)]))
        s.set_custom_outsize([8000])
        attempt("sized", lambda: s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)])[0].shape)
    """)
    assert "[ERROR] out i:0 size is zero\n" in out
    assert "unsized: RuntimeError [3011]" in out
    assert "sized: [1, 2000]" in out


def test_too_small_a_buffer_spoils_a_gear_model(script):
    out = script("""
        s = session()
        s.set_dynamic_dims("mel_spec:1,10,250")
        s.set_custom_outsize([4000])
        [t] = s.run(["squeeze:0:wavs"], [aclruntime.Tensor(mel)])
        t.to_host()
        print(np.isnan(np.array(t)).sum())
    """)
    assert out.splitlines()[-1] == "1000"


def test_modes_of_infer(simulator, script):
    out = script("""
        s = InferSession(0, "m.om")
        attempt("wrong", lambda: s.infer([mel], "dyndims"))
        attempt("static", lambda: s.infer([mel], "static"))
        attempt("type", lambda: s.infer([[1.0]], "dymdims"))
        attempt("count", lambda: s.infer([mel, mel], "dymdims"))
        attempt("right", lambda: s.infer([mel], "dymdims")[0].shape)
        print(hasattr(s, "summary"), hasattr(s, "sumary"), hasattr(s, "free_resource"))
    """)
    if simulator.generation == 8:
        assert 'wrong: RuntimeError wrong infer_mode:dyndims, only support "static","dymbatch","dymhw", ' in out
        assert "count: RuntimeError input datas and intensors nums not matched!" in out
        assert "True False True" in out
    else:
        # Every other string silently means static, which fails on gears only when it runs.
        assert "wrong: RuntimeError [-1]" in out
        assert "False True False" in out
    assert "static: RuntimeError [-1]" in out
    assert "type: RuntimeError type:<class 'list'> invalid" in out
    assert "right: (1, 2000)" in out


def test_arrays_that_are_not_contiguous(simulator, script):
    out = script("""
        s = InferSession(0, "m.om")
        turned = np.ascontiguousarray(mel.transpose(0, 2, 1)).transpose(0, 2, 1)
        print(np.array_equal(s.infer([turned], "dymdims")[0], s.infer([mel], "dymdims")[0]))
    """)
    # The tool of 2022 reads the memory as it lies.
    assert out.splitlines()[-1] == str(simulator.generation == 8)


def test_legality_of_the_model(simulator, script, tmp_path):
    (tmp_path / "link.om").symlink_to(tmp_path / "m.om")
    (tmp_path / "open.om").write_bytes((tmp_path / "m.om").read_bytes())
    (tmp_path / "open.om").chmod(0o664)
    (tmp_path / "odd name.om").write_bytes((tmp_path / "m.om").read_bytes())
    out = script("""
        for path in ("link.om", "open.om", "odd name.om", "absent.om"):
            attempt(path, lambda: bool(InferSession(0, path)))
        attempt("text", lambda: InferSession("0", "m.om"))
        attempt("far", lambda: InferSession(256, "m.om"))
    """)
    for path in ("link.om", "open.om", "odd name.om"):
        assert (f"{path}: RuntimeError om path:{path} is illegal. Please check." in out) == (simulator.generation == 8)
        assert (f"{path}: True" in out) == (simulator.generation == 6)
    if simulator.generation == 8:
        assert "text: TypeError device:0 is not a integer!" in out
        assert "far: ValueError device:256 is illegal. legal value range is [0, 255]" in out


def test_the_runtime_of_2026_checks_paths_and_writes_small_letters(simulator, tmp_path):
    """In the words of Yanguan619/aclruntime aclruntime/src/ModelInfer/File.cpp."""
    path = convert(simulator, tmp_path)
    simulator.set(TOOLS="2026")
    code = "import aclruntime, sys; aclruntime.InferenceSession(sys.argv[1], 0, aclruntime.session_options())"
    assert "[info] load model" in simulator.python("-c", code, str(path)).stdout
    (tmp_path / "link.om").symlink_to(path)
    other = tmp_path / "a b.om"
    other.write_bytes(path.read_bytes())
    path.chmod(0o660)
    for name, reason in ((tmp_path / "link.om", "path is soft link"), (other, "path characters invalid"),
                         (path, "path permission should not be over 0o755(rwxr-xr-x)")):  # fmt: skip
        done = simulator.python("-c", code, str(name))
        assert f"[error] {reason}\n[error] model path illegal, please check.\n" in done.stdout
        assert done.stderr.endswith("RuntimeError: please check model path\n")
