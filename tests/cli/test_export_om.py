"""`hifigan export om` and `hifigan info x.om`, as a user types them."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import click
import numpy as np
import pytest

import om_files
import tolerances
from ascend_simulator.environment import BIN, CAVEAT
from cli.running import command, error_of, hifigan, parse
from fake_tools import put_on_path
from golden.features import FEATURES, feature_generator
from golden.seeded import seeded_mel
from hifigan_rt import load
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.system.temporary_names import temporary_prefix
from hifigan_rt.tools.cli.export_om import parse_numbers
from waiting import wait_for, wait_until_gone

SOC = ("--soc", "Ascend310P3")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("250", (250,)),
        ("250, 500", (250, 500)),
        ("250,500,...,2000", tuple(range(250, 2001, 250))),
        ("100,250,500,…,1000", (100, 250, 500, 750, 1000)),
        ("500,250", (500, 250)),
    ],
)
def test_numbers(text, numbers):
    parameter = click.Option(["--mel-len"])
    assert parse_numbers(click.Context(click.Command("x")), parameter, text) == numbers


@pytest.mark.parametrize(
    "text",
    ["", "a", "1,,2", "-1", "1.5", "...,9", "1,...,9", "1,2,...", "1,4,...,9", "4,1,...,9", "1,2,...,x", "9" * 20],
)
def test_numbers_that_are_none(text):
    result = parse("export", "om", "model", f"--mel-len={text}")
    assert result.exit_code == 2
    assert "give whole numbers with commas between" in result.output


def test_help():
    result = parse("export", "om", "--help")
    assert result.exit_code == 0
    assert "hifigan export om g_02500000" in result.output


def test_a_dry_run_needs_no_tools_and_its_commands_survive_a_shell(place, monkeypatch):
    put_on_path(place / "bin", {"atc": 'printf "%s\\n" "$@"'}, monkeypatch)
    done = hifigan("export", "om", "model", *SOC, "--batch", "1,8", "--dry-run")
    first, *rest = done.stdout.splitlines()
    assert first == "hifigan export onnx model --opset 11 --rank 3 -o generator.onnx"
    assert len(rest) == 2
    ran = subprocess.run(["/bin/sh", "-c", rest[1]], capture_output=True, text=True, check=True)
    assert "--dynamic_dims=250;500;750;1000;1250;1500;1750;2000" in ran.stdout.splitlines()
    assert "--input_shape=mel_spec:8,10,-1" in ran.stdout.splitlines()
    assert sorted(entry.name for entry in place.iterdir()) == ["bin", "model"]
    as_json = json.loads(hifigan("export", "om", "model", *SOC, "--dry-run", "--json").stdout)
    assert as_json["commands"] == [first, rest[0]]


def test_the_dry_run_typed_by_hand_gives_the_same_model(place, simulator):
    """The ONNX command and the atc command of another machine, one after the other."""
    done = hifigan("export", "om", "model", *SOC, "--mel-len", "50,100", "--dry-run")
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        subprocess.run(command(*words[1:]) if words[0] == "hifigan" else words, check=True, capture_output=True)
    hifigan("export", "om", "model", *SOC, "--mel-len", "50,100", "-o", "model", "-q")
    by_hand, at_once = (
        json.loads(hifigan("info", name, "--config", "model/config.json", "--json").stdout)["om"]
        for name in ("generator_bs1.om", "model/generator_bs1.om")
    )
    assert by_hand["command"] == at_once["command"]
    assert by_hand["gears"] == at_once["gears"] == [50, 100]
    assert "onnx_sha256" not in by_hand


def test_export_and_info(place, simulator):
    done = hifigan("export", "om", "model", "--mel-len", "100,50", "--batch", "2")
    assert "note: mel_len was sorted" in done.stderr
    assert "note: chip Ascend310P3, as npu-smi tells" in done.stderr
    assert "atc: ATC run success" in done.stderr
    size = Path("generator_bs2.om").stat().st_size
    assert f"'generator_bs2.om': {size} bytes" in done.stdout
    assert (
        "batch 2, gears 50, 100 frames, Ascend310P3, float16 products, float32 sums (cube_fp16in_fp32out)"
        in done.stdout
    )
    assert f"on the chip: {CAVEAT}" in done.stdout
    facts = json.loads(hifigan("info", "generator_bs2.om", "--json").stdout)
    assert facts["om"]["caveat"] == CAVEAT
    assert facts["om"]["chip"] == "Ascend310P3"
    assert facts["om"]["computes_in"] == "float16 products, float32 sums (cube_fp16in_fp32out)"
    assert facts["om"]["inputs"] == [{"name": "mel_spec", "dtype": "float32", "shape": [2, 10, -1]}]
    assert facts["om"]["gears"] == [50, 100]
    assert facts["om"]["size_bytes"] == size
    assert facts["hop_length_samples"] == 8
    text = hifigan("info", "generator_bs2.om").stdout
    assert "gears                     [50, 100]" in text
    assert "inputs                    [mel_spec float32 [2, 10, -1]]" in text


def test_json(place, simulator):
    (report,) = json.loads(hifigan("export", "om", "model", *SOC, "--mel-len", "40", "--json").stdout)
    assert report["snr_db"] is None
    assert report["onnx_snr_db"] >= 90
    assert report["caveat"] == CAVEAT
    assert report["mel_lengths"] == [40]
    assert hifigan("export", "om", "model", *SOC, "--mel-len", "40", "--overwrite", "-q").stdout == ""


def test_info_of_the_vendors_container(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    om_files.write(tmp_path, om_files.geared(inout=True))
    text = hifigan("info", "model.om").stdout
    assert "caveat" not in text
    assert "chip                      Ascend310P3" in text
    assert "gears                     [300, 600]" in text
    assert "inputs and outputs" in text
    assert om_files.COMMAND in text
    assert "float32, convolutions on the AI CPU (must_keep_origin_dtype)" in text
    half = om_files.op("mel_spec", "Data", outputs=[om_files.tensor("", 2, [1, 80, 250])])
    definition = om_files.model_def(om_files.ATTRIBUTES, [half, om_files.OUTPUT])
    om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition), (om_files.WEIGHTS, b"1")]))
    text = hifigan("info", "model.om").stdout
    assert "the ONNX file's own types, float16 of its mels (must_keep_origin_dtype)" in text
    om_files.write(tmp_path, om_files.geared()[:1000])
    assert "is truncated" in error_of(hifigan("info", "model.om", status=1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mel-len", "250,0"], "mel_len=0 must be from 1"),
        (["--mel-len", "1,2,...,101"], "at most 100 gears"),
        (["--precision-mode", "force_fp61"], "did you mean 'force_fp16'?"),
        (["--log", "loud"], "log='loud' is not offered: choose null, error, warning, info, debug"),
        (["--atc-arg", "input_shape=x"], "hifigan sets this option itself"),
        (["--timeout", "-1"], "timeout=-1 must be above 0 s"),
        (["-o", "model/config.json"], "'model/config.json' is a file"),
    ],
)
def test_wrong_values(place, simulator, arguments, text):
    assert text in error_of(hifigan("export", "om", "model", *SOC, *arguments, status=1))


def test_the_folder_is_made_and_leaves_with_a_failure(place, simulator):
    hifigan("export", "om", "model", *SOC, "-o", "new/om")
    assert (place / "new/om/generator_bs1.om").is_file()
    hifigan("export", "om", "model", "--soc", "Ascend1", "-o", "other", status=1)
    assert not (place / "other").exists()


def test_wrong_words(place):
    assert "is not KEY=VALUE" in error_of(hifigan("export", "om", "model", "--atc-arg", "x", status=2))


def test_weights_are_not_read_out_of_an_om(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    om_files.write(tmp_path, om_files.converted())
    done = hifigan("export", "om", "model.om", *SOC, status=1)
    assert "'model.om' is an Ascend .om file, and weights are not read out of it" in error_of(done)


def test_an_error_of_atc_is_one_line_with_the_way_out(place, simulator):
    simulator.set(FAULT="atc:error=E20001")
    text = error_of(hifigan("export", "om", "model", *SOC, status=1))
    assert "atc failed (status 255): E20001: " in text
    assert "way out: an operator did not compile for one of the gears" in text


def test_ctrl_c_ends_atc_and_leaves_nothing(place, monkeypatch):
    put_on_path(place / "bin", {"atc": f"echo $$ > {place}/pid; echo working; sleep 100"}, monkeypatch)
    Path("out").mkdir()
    process = subprocess.Popen(
        command("export", "om", "model", *SOC, "-o", "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: process.poll() is not None or (Path("pid").exists() and Path("pid").read_text().strip()))
    assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert list(Path("out").iterdir()) == []
    wait_until_gone(int(Path("pid").read_text()))


def test_all_files_or_none(place, simulator, monkeypatch):
    """A folder takes the place of the last file while atc runs: the first ones are as they were."""
    hifigan("export", "om", "model", *SOC, "-o", "out")
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    atc = f'mkdir -p {place}/out/generator_bs8.json; exec {BIN}/atc "$@"'
    put_on_path(place / "bin", {"atc": atc}, monkeypatch)
    done = hifigan(
        "export", "om", "model", *SOC, "-o", "out", "--batch", "1,8", "--log", "null", "--overwrite", status=1
    )
    assert "Is a directory; nothing stands at its place but what was there before" in error_of(done)
    Path("out/generator_bs8.json").rmdir()
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


@pytest.mark.parametrize("words", [["om", *SOC], ["onnx"], ["openvino"], ["safetensors"]], ids=lambda words: words[0])
def test_what_a_killed_export_left_is_taken_away(place, simulator, words):
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = Path(temporary_prefix().replace(f"-{os.getpid()}-", f"-{ended.pid}-") + "x.part")
    left.mkdir()
    (left / "generator.onnx").write_bytes(b"half of it")
    hifigan("export", words[0], "model", *words[1:])
    assert not left.exists()


@pytest.mark.parametrize("name", ["rows kept", "normalized"])
def test_networks_beyond_the_originals(name, place, simulator):
    generator = feature_generator(FEATURES[name])
    write_safetensors(generator, None, Path("g.safetensors"), "a test")
    hifigan("export", "om", "g.safetensors", *SOC, "--mel-len", "40,60")
    mel = seeded_mel(1, generator.graph.num_mels, 100, 3)[0].astype(np.float32)
    with load("g_bs1.om") as vocoder:
        assert snr_db(generate(generator, mel), vocoder(mel)) >= tolerances.SIMULATED_FLOAT16_SNR_DB
    write_safetensors(feature_generator(FEATURES["reflect"]), None, Path("g.safetensors"), "a test")
    text = error_of(hifigan("export", "om", "g.safetensors", *SOC, "--overwrite", status=1))
    assert "has padding_mode='reflect', which an .om does not carry here: export onnx" in text
