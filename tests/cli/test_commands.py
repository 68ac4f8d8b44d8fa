"""Help, parsing, the words of errors, and the commands beside synth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tolerances
from cli.running import RATE, clip, error_of, hifigan, parse, records, synth
from golden.tiny import tiny_mel
from hifigan_rt import _native
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import native_tuning
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.cli import info_plan, main
from hifigan_rt.vocoder import load
from native_generators import make_case

# Help, parsing and the words of errors


@pytest.mark.parametrize(
    "name",
    [
        [],
        ["synth"],
        ["mel"],
        ["export"],
        ["export", "onnx"],
        ["export", "openvino"],
        ["export", "safetensors"],
        ["info"],
        ["models"],
        ["bench"],
        ["eval"],
        ["engines"],
    ],
)
def test_every_command_has_help_with_an_example(name):
    result = parse(*name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"hifigan {' '.join(name)}".strip() in result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom hifigan_rt.tools.cli import main\nassert main(['--help']) == 0\n"
        "print([name for name in ('numpy', 'soundfile', 'onnx', 'onnxruntime', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_file_whose_name_looks_like_an_option_is_told_how_to_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-take1.wav").touch()
    assert main(["synth", "-take1.wav", "b.wav", "--model", "x", "-o", "out"]) == 2
    assert "If '-take1.wav' is the file, write './-take1.wav'. (" in capsys.readouterr().err
    assert main(["synth", "b.wav", "--modle", "x"]) == 2
    assert "is the file" not in capsys.readouterr().err


def test_version():
    import hifigan_rt

    assert hifigan("--version").stdout == f"hifigan-rt {hifigan_rt.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["snyth"], "there is no command 'snyth'; did you mean 'synth'?"),
        (["frobnicate"], "choose one of synth, speak, mel, export, info, models, bench"),
        (["export", "onx", "x"], "did you mean 'onnx'?"),
        (["synth", "a.wav", "-o", "out", "--modle", "x"], "No such option"),
        (["synth", "a.wav", "--model"], "requires an argument. ('hifigan synth --help'"),
        (["listen", "score", "answers", "--key"], "requires an argument. ('hifigan listen score --help'"),
        (["synth", "a.wav", "-o", "out"], "Missing option '--model'"),
        (["synth", "--model", "x", "-o", "out"], "Missing argument"),
        (["synth", "a", "--model", "x", "-o", "out", "--threads", "0"], "0 is not in the range"),
        (["synth", "a", "--model", "x", "-o", "out", "--encoding", "mp3"], "'mp3' is not one of"),
        (["synth", "a", "--model", "x", "-o", "out", "--split", "test"], "'test' is not one of"),
        (["synth", "a", "--model", "x", "-o", "out", "--resume", "--overwrite"], "give one of them"),
        (["synth", "-", "a", "--model", "x", "-o", "-"], "must be the only input"),
        (["synth", "-", "--model", "x", "-o", "out"], "standard input gives its result no name"),
        (["synth", "a", "--model", "x", "-o", "b.wav", "--resume"], "--resume goes by the manifest"),
        (["synth", "a", "--model", "x", "-o", "-", "--json"], "both write to standard output"),
        (["synth", "a", "--model", "x", "-o", "b.wav", "--format", "flac"], "--format flac contradicts -o b.wav"),
        (["synth", "a", "--model", "x", "-o", "out", "--format", "flac", "--encoding", "float"], "no floats"),
        (
            ["synth", "a", "--model", "x", "-o", "out", "--engine-option", "hint=a", "--engine-option", "hint=b"],
            "hint is given as 'a' and as 'b': give one of them",
        ),
        (["mel", "a", "-o", "out"], "give --model or --config"),
        (["mel", "a", "-o", "out", "--config", "v1", "--family", "x"], "say how a checkpoint is read: give --model"),
        (
            ["mel", "a", "-o", "out", "--config", "v1", "--weights-at", "x"],
            "say how a checkpoint is read: give --model",
        ),
        (["synth", "-", "--model", "x", "-o", "-", "--split", "training"], "--split training needs an LJSpeech folder"),
        (["mel", "-", "--model", "x", "-o", "-", "--split", "training"], "--split training needs an LJSpeech folder"),
        (["info", "x", "--precision", "bfloat16"], "say whose plan is shown: give --plan"),
        (["info", "x", "--engine", "cuda"], "say whose plan is shown: give --plan"),
        *[
            (["eval", "--generated", "x", "--dataset", "a", "-o", "out", option, value], f"{option} is for a model")
            for option, value in (
                ("--engine", "openvino"),
                ("--precision", "bfloat16"),
                ("--threads", "1"),
                ("--device", "cpu"),
                ("--execution-provider", "x"),
                ("--engine-option", "a=b"),
                ("--weights-at", "x"),
                ("--family", "x"),
                ("--speaker", "1"),
                ("--conditioning", "x.npy"),
                ("--mels", "x"),
            )
        ],
        (["eval", "--model", "x", "--dataset", "a", "-o", "out", "--mel-at", "mel"], "are for the files of --mels"),
        (
            ["synth", "", "--model", "x", "-o", "out"],
            "INPUTS is empty: give a value ('.' names this folder) ('hifigan synth --help'",
        ),
        (["mel", "a", "", "--model", "x", "-o", "out"], "INPUTS is empty"),
        (["synth", "a", "--model", "", "-o", "out"], "--model is empty"),
        (["mel", "a", "--config=", "-o", "out"], "--config is empty"),
        (["synth", "a", "--model", "x", "-o", "out", "--mel-stats", ""], "--mel-stats is empty"),
        (["eval", "--model", "x", "--dataset", "a", "--dataset", "", "-o", "out"], "--dataset is empty"),
        (["eval", "--generated", "", "--dataset", "a", "-o", "out"], "--generated is empty"),
        (["listen", "make", "a", "--mode", "mos", "-o", ""], "-o is empty"),
        (["export", "onnx", "", "-o", "out"], "MODEL is empty"),
        (["serve", "--model", ""], "--model is empty"),
        *[
            ([*arguments, number], f"{arguments[-1]} is {number}: give a finite number")
            for arguments in (
                ("synth", "a", "--model", "x", "-o", "out", "--max-seconds"),
                ("mel", "a", "--model", "x", "-o", "out", "--max-seconds"),
                ("bench", "--model", "x", "--timeout"),
                ("serve", "--model", "x", "--max-queue-wait"),
                ("serve", "--model", "x", "--max-body-mib"),
                ("export", "om", "x", "-o", "out", "--timeout"),
                ("speak", "a", "--voice", "x", "-o", "a.wav", "--volume"),
            )
            for number in ("nan", "inf")
        ],
    ],
)
def test_wrong_command_lines_are_one_line_and_status_2(place, arguments, text):
    assert text in error_of(hifigan(*arguments, status=2))


@pytest.mark.parametrize("arguments", [[], ["export"]])
def test_without_arguments_the_help_is_shown(arguments):
    assert "Usage: hifigan" in hifigan(*arguments, status=2).stderr


def test_errors_are_one_line_and_v_shows_the_trace(place):
    done = hifigan("info", "ljspech-v1", status=1)
    assert "did you mean 'ljspeech-v1'?" in error_of(done)
    assert "Traceback" in hifigan("info", "ljspech-v1", "-v", status=1).stderr
    assert "Traceback" in hifigan("-v", "info", "ljspech-v1", status=1).stderr


def test_shell_completion_is_there():
    done = hifigan(
        env={**os.environ, "_HIFIGAN_COMPLETE": "bash_complete", "COMP_WORDS": "hifigan sy", "COMP_CWORD": "1"}
    )
    assert done.stdout.splitlines() == ["plain,synth"]


# info, models, engines, export, mel


def test_info(place):
    facts = json.loads(hifigan("info", "model", "--json").stdout)
    assert facts["cost"]["parameters"] == load("model", engine="reference").graph.parameter_count
    assert facts["hop_length_samples"] == 8
    assert facts["mel"]["sample_rate"] == RATE
    assert facts["format"] == "safetensors"
    assert set(facts["reach_of_one_frame"]) >= {"left_context_frames", "look_ahead_frames", "look_ahead_ms"}
    text = hifigan("info", "model").stdout
    assert "upsample rates            [4, 2]" in text


def test_a_measured_plan_tells_what_the_machine_makes_of_it(place):
    facts = json.loads(hifigan("info", "model", "--plan", "--measure", "--json").stdout)
    measured = facts["measured"]
    layers_us = sum(layer["measured_us"] for layer in facts["plan"])
    products = sum(layer["products"] for layer in facts["plan"])
    assert measured["us"] == pytest.approx(layers_us)
    assert measured["share"] == pytest.approx(products / (1e-6 * layers_us * measured["multiply_adds_per_second"]))
    assert all(layer["share"] > 0 for layer in facts["plan"])
    assert measured["verdict"] == info_plan.verdict(measured["us"], measured["direct_us"])
    text = hifigan("info", "model", "--plan", "--measure").stdout
    assert text.count("share") == 2
    assert "the plan is " in text


def test_the_plan_of_tiles_shows_formats_and_compares_with_no_other(place, monkeypatch):
    monkeypatch.setenv("HIFIGAN_RT_ISA", "amx-software")
    facts = json.loads(hifigan("info", "model", "--measure", "--precision", "bfloat16", "--json").stdout)
    assert [layer["format"] for layer in facts["plan"][:3]] == ["bfloat16x3", "bfloat16x3", "bfloat16"]
    assert facts["measured"].keys() == {"us", "multiply_adds_per_second", "share"}
    text = hifigan("info", "model", "--plan", "--precision", "bfloat16").stdout
    assert "plan on cpu (amx-software) in bfloat16" in text
    refused = hifigan("info", "model", "--plan", status=1)
    assert "has no float32" in refused.stderr


def test_a_plan_slower_than_direct_convolution_is_called_so():
    assert info_plan.verdict(100, 310) == "3.1 times as fast as the same network by direct convolution, as it should be"
    assert info_plan.verdict(200, 100).startswith(
        "SLOWER than the same network by direct convolution (2.0 times its time)"
    )


def test_a_plan_of_direct_convolution_alone_is_not_compared_with_itself():
    case = make_case(GeneratorConfig(16, (8, 8), (8, 8), "2", (1,), ((1,),), num_mels=10), 1)
    measured = info_plan.plan_of(Weights("a test", Path("test"), "none", case.generator), measure=True)["measured"]
    assert measured["verdict"].startswith("direct convolution in every layer")
    assert "direct_us" not in measured


def test_engines_tell_of_the_tile_unit_under_the_set_that_is_named(monkeypatch):
    monkeypatch.setenv("HIFIGAN_RT_ISA", "amx-software")
    text = hifigan("engines").stdout
    assert "  used       amx-software" in text
    assert "  tile unit  used in precisions" in text
    # Where the processor has a unit, no other set uses it.
    monkeypatch.setenv("HIFIGAN_RT_ISA", "generic")
    monkeypatch.setattr(_native, "request_tiles", lambda isa: "" if isa == "amx" else "another is named")
    assert "  tile unit  none: another is named" in hifigan("engines").stdout


@pytest.mark.parametrize(
    ("variable", "engine", "told"),
    [
        ("HIFIGAN_RT_ISA", "native", "is not an instruction set that this processor runs: unset it or choose generic"),
        ("HIFIGAN_RT_TUNING", "native", "is not a tuning: unset it or choose "),
        ("HIFIGAN_RT_CUDA_KERNELS", "cuda", "is not a set of kernels: choose general or hopper, or unset it"),
    ],
)
def test_engines_are_listed_where_a_variable_is_wrong(monkeypatch, variable, engine, told):
    monkeypatch.setenv(variable, "pdp11")
    facts = json.loads(hifigan("engines", "--json").stdout)
    rows = {row["name"]: row for row in facts["engines"]}
    assert not rows[engine]["available"]
    assert f"{variable}='pdp11' {told}" in rows[engine]["reason"]
    assert rows["reference"]["available"]
    # "auto" takes the engine and tells the same error: it makes no other choice.
    assert rows["native"]["automatic"]
    assert facts["isas"] == _native.supported_isas()
    text = hifigan("engines").stdout
    assert f"  available  no: {variable}='pdp11' {told}" in text
    assert "the native code knows: generic" in text


def test_engines_warn_of_a_slow_machine(monkeypatch):
    monkeypatch.delenv("HIFIGAN_RT_TUNING", raising=False)
    monkeypatch.setenv("HIFIGAN_RT_ISA", "generic")
    slow = native_tuning.TuningChoice("products", "the default", {"products": 2.0}, 1.5)
    monkeypatch.setattr(native_tuning, "choose_tuning", lambda isa: slow)
    done = hifigan("engines")
    assert "slow on this machine (generic)" in done.stderr


def test_models_and_engines():
    names = [model["name"] for model in json.loads(hifigan("models", "--json").stdout)]
    assert names == ["ljspeech-v1", "universal-v1"]
    facts = json.loads(hifigan("engines", "--json").stdout)
    reference = next(engine for engine in facts["engines"] if engine["name"] == "reference")
    assert reference["available"]
    assert not reference["automatic"]
    assert facts["isas"][0] == "generic"
    native = facts["native"]
    assert native["tuning"] in native["tunings"]
    assert native["isa"] in facts["isas"]
    assert "reference: " in hifigan("engines").stdout


def test_export_both_formats(place):
    report = json.loads(hifigan("export", "onnx", "model", "-o", "g.onnx", "--json").stdout)
    assert report["snr_db"] >= 90
    hifigan("export", "safetensors", "model", "-o", "g.safetensors")
    assert "would be read as another format" in error_of(
        hifigan("export", "safetensors", "model", "-o", "a.onnx", status=1)
    )
    clip("in/a.wav")
    for model in ("g.onnx", "g.safetensors"):
        hifigan("synth", "in", "--model", model, "-o", f"out-{model}", "--encoding", "float")
    one, other = (soundfile.read(f"out-{model}/a.wav")[0] for model in ("g.onnx", "g.safetensors"))
    assert len(one) == RATE // 4
    # The ONNX file runs in ONNX Runtime, the other in the native engine.
    assert snr_db(other, one) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_export_protects_what_is_there(place):
    Path("g.safetensors").write_bytes(b"precious")
    assert "exists already: --overwrite" in error_of(
        hifigan("export", "safetensors", "model", "-o", "g.safetensors", status=1)
    )
    assert Path("g.safetensors").read_bytes() == b"precious"
    model = "model/generator.safetensors"
    same = hifigan("export", "safetensors", model, "-o", "model/../" + model, "--overwrite", status=1)
    assert "is the model itself" in error_of(same)
    assert "must end in .onnx" in error_of(hifigan("export", "onnx", "model", "-o", "g.bin", status=1))
    for kind in ("onnx", "openvino", "safetensors"):
        folder = hifigan("export", kind, "model", "-o", "model", status=1)
        assert "'model' is a folder, and only files are replaced" in error_of(folder)
        stream = hifigan("export", kind, "model", "-o", "-", status=1)
        assert "models are not written to standard output" in error_of(stream)
    assert not Path("-").exists()


def test_mel_then_synth_equals_synth(place):
    for i in range(3):
        clip(f"in/{i}.wav", seed=i)
    hifigan("mel", "in", "--model", "model", "-o", "mels")
    synth("in", "-o", "direct")
    synth("mels", "-o", "via")
    for i in range(3):
        assert np.load(f"mels/{i}.npy").shape == (10, RATE // 4 // 8)
        assert Path(f"direct/{i}.wav").read_bytes() == Path(f"via/{i}.wav").read_bytes()


def test_mels_are_made_without_an_engine_to_time(place):
    clip("in/a.wav")
    told = hifigan("mel", "in", "--model", "model", "-o", "mels").stdout
    assert "0.25 s of audio in " in told
    assert "computing" not in told
    assert records("mels")["a.npy"].compute_seconds is None
    summary = json.loads(hifigan("mel", "in", "--model", "model", "-o", "mels", "--overwrite", "--json").stdout)
    assert [summary[name] for name in ("compute_seconds", "x_real_time", "engine_busy_share")] == [None] * 3


def test_mels_beside_other_arrays(place):
    mels = [np.maximum(tiny_mel(40, seed) - 4, -11.5).astype(np.float32) for seed in range(2)]
    Path("in").mkdir()
    np.savez("in/a.npz", before=mels[0], after=mels[1])
    told = synth("in", "-o", "out", status=1).stderr
    assert "holds 2 arrays (after, before): one is needed" in told
    assert "--mel-at NAME takes one" in told
    for name, mel in zip(("before", "after"), mels, strict=True):
        synth("in", "-o", "out", "--mel-at", name, "--encoding", "float", "--resume")  # another name is made anew
        made = soundfile.read("out/a.wav", dtype="float32")[0]
        assert np.array_equal(made, load("model", engine="reference")(mel))
    assert "none at 'middle'" in synth("in", "-o", "out", "--mel-at", "middle", "--overwrite", status=1).stderr


def test_time_major_mels(place):
    mel = np.maximum(tiny_mel(40) - 4, -11.5).astype(np.float32)  # as loud as speech, not louder
    Path("in").mkdir()
    np.save("in/a.npy", mel.T)
    assert "--time-major" in synth("in", "-o", "out", status=1).stderr
    synth("in", "-o", "out2", "--time-major", "--encoding", "float")
    made = soundfile.read("out2/a.wav", dtype="float32")[0]
    assert np.array_equal(made, load("model", engine="reference")(mel))
