"""`python -m ais_bench` as simulated, against the facts of the vendor's: arguments, summary, JSON, security checks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from ascend_simulator.environment import CAVEAT
from ascend_simulator.models import convert, log_mel, made_once

NUMBER = r"\d+\.\d+(?:e-\d+)?"
FIGURES = rf"min = {NUMBER}, max = {NUMBER}, mean = ({NUMBER}), median = {NUMBER}, percentile\(99%\) = {NUMBER}"


@pytest.fixture
def om(simulator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made_once(simulator, tmp_path).name


def test_pure_inference(simulator, om, tmp_path):
    done = simulator.ais_bench("--model", om, "--loop", "3", "--dymDims", "mel_spec:1,10,250", "--output", "out")
    assert done.returncode == 0
    out = done.stdout
    order = [
        "[INFO] acl init success", "[INFO] load model m.om success", "[INFO] try get model batchsize:1",
        "[INFO] output path:out/", "[INFO] warm up 1 done", "Inference array Processing", "Performance Summary",
        "NPU_compute_time", "throughput", f"[INFO] caveat: {CAVEAT}", "unload model success",
    ]  # fmt: skip
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    mean = re.search(rf"^\[INFO\] NPU_compute_time \(ms\): {FIGURES}$", out, re.MULTILINE)
    fps = re.search(
        rf"^\[INFO\] throughput 1000\*batchsize\.mean\(1\)/NPU_compute_time\.mean\(({NUMBER})\): ({NUMBER})$", out, re.M
    )
    assert mean is not None
    assert fps is not None
    assert mean[1] == fps[1]
    assert float(fps[2]) == pytest.approx(1000 / float(fps[1]))
    assert "H2D_latency" not in out
    [summary] = tmp_path.glob("out/*_summary.json")
    facts = json.loads(summary.read_text())
    assert set(facts) == {
        "filesinfo", "args", "NPU_compute_time", "H2D_latency", "D2H_latency", "npu_compute_time_list", "throughput",
        "pid", "caveat",
    }  # fmt: skip
    assert set(facts["NPU_compute_time"]) == {"min", "max", "mean", "median", "percentile(99%)", "count"}
    assert facts["NPU_compute_time"]["count"] == len(facts["npu_compute_time_list"]) == 3
    assert facts["caveat"] == CAVEAT
    audio = np.fromfile(summary.with_name(summary.name.removesuffix("_summary.json")) / "pure_infer_data_0.bin", "<f4")
    assert audio.shape == (2000,)


def test_copies_are_shown_on_demand(simulator, om):
    out = simulator.ais_bench("--model", om, "--dymDims", "mel_spec:1,10,250", "--display_all_summary", "yes").stdout
    assert re.search(rf"H2D_latency \(ms\): {FIGURES}\n\[INFO\] NPU_compute_time .*\n\[INFO\] D2H_latency", out)


def test_four_dims_against_three(simulator, om):
    """The command of the original guide."""
    done = simulator.ais_bench("--model", om, "--loop", "3", "--batch", "1", "--dymDims", "mel_spec:1,10,1,250")
    assert done.returncode == 1
    assert "[ERROR] the dymDims parameter is not correct i:0 dysize:4 dimcount:3" in done.stdout
    assert done.stderr.endswith("RuntimeError: [-1][ACL: general failure] \n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--loop", "0"], "0 is an invalid positive int value"),
        (["--debug", "perhaps"], "Boolean value expected true, 1, false, 0 with case insensitive."),
        (["--device", "256"], "device:256 is invalid. valid value range is [0, 255]"),
        (["--outfmt", "WAV"], "invalid choice: 'WAV'"),
        (["--mel-len", "250"], "unrecognized arguments: --mel-len"),
        (["--dymDims", "mel_spec:1,10, 250"], 'dym string "mel_spec:1,10, 250" is not a legal string'),
        (["--outputSize", "1e6", "--dymShape", "mel_spec:1,10,250"], 'number_list "1e6" is not a legal list'),
    ],
)
def test_arguments_that_argparse_refuses(simulator, om, words, text):
    done = simulator.ais_bench("--model", om, *words)
    if simulator.generation == 6 and "legal" in text:
        # It checks less: a space before a number passes, and the size fails later.
        assert done.returncode == (0 if "--dymDims" in words else 1)
        return
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--profiler", "1", "--dump", "1", "--output", "out"], "error bad parameters --profiler and --dump"),
        (["--profiler", "1"], "miss output parameter!"),
        (["--output_dirname", "x"], "error bad parameters --output_dirname"),
    ],
)
def test_rules(simulator, om, words, text):
    done = simulator.ais_bench("--model", om, *words)
    assert done.returncode == 1
    assert f"RuntimeError: {text}" in done.stderr


def test_profiling_is_not_simulated(simulator, om):
    done = simulator.ais_bench("--model", om, "--profiler", "1", "--output", "out")
    assert (done.returncode, "unsupported in simulator" in done.stdout) == (1, True)


def test_security_checks_of_2024(simulator, om, tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "m.onnx").chmod(0o640)
    dims = ["--dymDims", "mel_spec:1,10,250"]
    cases = [["--model", om, "--output", "open", *dims], ["--model", "m.onnx", *dims]]
    (tmp_path / "wide.om").write_bytes((tmp_path / om).read_bytes())
    (tmp_path / "wide.om").chmod(0o664)
    cases.append(["--model", "wide.om", *dims])
    done = [simulator.ais_bench(*words) for words in cases]
    if simulator.generation == 6:
        assert [one.returncode for one in done] == [0, 1, 0]
        return
    assert [one.returncode for one in done] == [2, 2, 2]
    assert "permission should not be over 0o750(rwxr-x---)" in done[0].stdout
    assert "om path:m.onnx is illegal. Please check." in done[1].stderr
    assert "permission should not be over 0o755(rwxr-xr-x)" in done[2].stdout


def test_no_gear_named(simulator, om):
    done = simulator.ais_bench("--model", om)
    assert done.returncode == 1
    assert "check failed dym gearcount:3 but dymtype:0 not set" in done.stdout


def test_dynamic_batch_named_by_the_tool_of_2024(simulator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert(simulator, tmp_path, input_shape="mel_spec:-1,10,-1", dynamic_dims="1,250;8,250")
    done = simulator.ais_bench("--model", "m.om")
    new = "dynamic batch om model detected, but dymbatch, dymdims or dymshape not set!" in done.stderr
    assert new == (simulator.generation == 8)
    assert done.returncode == 1


def test_inputs_set_their_gear(simulator, om, tmp_path):
    (tmp_path / "in").mkdir(mode=0o750)
    for index, frames in enumerate((250, 500)):
        np.save(tmp_path / "in" / f"{index}.npy", log_mel(1, 10, frames))
        (tmp_path / "in" / f"{index}.npy").chmod(0o640)
    words = ["--model", om, "--input", "in", "--auto_set_dymdims_mode", "1", "--output", "out", "--outfmt", "NPY"]
    done = simulator.ais_bench(*words, "--output_dirname", "here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [np.load(tmp_path / "out" / "here" / f"{index}_0.npy").shape for index in (0, 1)] == [(1, 2000), (1, 4000)]
    assert "throughput 1000*batchsize.mean(1.0)/" in done.stdout


def test_inputs_must_fill_the_tensor(simulator, om, tmp_path):
    log_mel(1, 10, 251).tofile(tmp_path / "a.bin")
    (tmp_path / "a.bin").chmod(0o640)
    done = simulator.ais_bench("--model", om, "--input", "a.bin", "--dymDims", "mel_spec:1,10,250")
    assert done.returncode == 1
    assert "[ERROR] arg0 tensorsize: 10000 filesize: 10040 not match" in done.stdout


def test_several_devices(simulator, om):
    out = simulator.ais_bench("--model", om, "--device", "0,1", "--dymDims", "mel_spec:1,10,250").stdout
    each = [float(value) for value in re.findall(rf"device_\d throughput:({NUMBER})", out)]
    total = re.search(rf"^\[INFO\] summary throughput:({NUMBER})$", out, re.MULTILINE)
    assert total is not None
    assert float(total[1]) == pytest.approx(sum(each))
    assert len(each) == 2
