"""The whole Ascend chain as a user types it, on the simulator: checkpoint, ONNX, .om, audio.

No Ascend hardware has run this; what stands here is that the integration does what the vendor's tools ask for, in both
generations, and that nothing of the original guide's faults is left.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tolerances
from cli.running import clip, error_of, hifigan
from golden.tiny import TINY, tiny_mel
from hifigan_rt.ascend.atc import AtcJob, run_atc
from hifigan_rt.ascend.atc_errors import parse_errors
from hifigan_rt.audio import write_audio
from hifigan_rt.benchmark.results import SIMULATED, read_json
from hifigan_rt.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.errors import ToolFailed
from hifigan_rt.signal_metrics import snr_db

LENGTHS = (1, 249, 250, 251, 2000, 2001, 6000)
HOP = 8
SHORTEST_GEAR = 250
OM = "generator_bs1.om"
SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def chain(place, simulator):
    """A folder with a tiny checkpoint, in an environment of simulated tools."""
    return simulator


def mels(*lengths: int, folder: str = "mels") -> None:
    Path(folder).mkdir()
    for index, frames in enumerate(lengths):
        np.save(f"{folder}/{index}-{frames}.npy", tiny_mel(frames, seed=index))


def export(*arguments: str, status: int = 0):
    return hifigan("export", "om", "model", *arguments, status=status)


def synth(*arguments: str, model: str = OM, status: int = 0):
    words = ("--engine", "ascend", "--model", model, "--encoding", "float", "--quiet")
    return hifigan("synth", *arguments, *words, status=status)


def compare(inputs: str, output: str = "out") -> dict[str, tuple[int, int, float]]:
    """Each clip's length, the reference's length, and the SNR over the whole clip."""
    hifigan("synth", inputs, "--engine", "reference", "--model", "model", "-o", "truth", "--encoding", "float",
            "--resample", "--overwrite")  # fmt: skip
    found = {}
    for path in sorted(Path("truth").glob("*.wav")):
        truth, made = soundfile.read(path)[0], soundfile.read(Path(output, path.name))[0]
        same = truth.size == made.size
        found[path.stem] = made.size, truth.size, snr_db(truth, made) if same else float("-inf")
    return found


@pytest.mark.parametrize("rank", ["3", "4"])
def test_the_whole_chain(chain, rank):
    mels(*LENGTHS)
    export("--rank", rank, "--mel-len", "250,500,...,2000")
    facts = json.loads(hifigan("info", OM, "--json").stdout)
    assert facts["om"]["simulated"] is True
    assert facts["om"]["gears"] == [*range(250, 2001, 250)]
    assert facts["om"]["chip"] == "Ascend310P3"
    synth("mels", "-o", "out")
    clips = dict(read_manifest(Path("out", MANIFEST_NAME)).clips)
    found = compare("mels")
    assert len(found) == len(LENGTHS)
    for name, (made, truth, snr) in found.items():
        frames = int(name.partition("-")[2])
        assert made == truth == frames * HOP
        [record] = [record for record in clips.values() if record.output == f"{name}.wav"]
        if frames >= SHORTEST_GEAR:
            assert snr >= tolerances.PRETRAINED_SNR_DB
            assert not record.inexact_tail_frames
        else:
            assert 0 < record.inexact_tail_frames <= frames


def test_recordings(chain):
    export("--mel-len", "250,500,1000")
    synth(str(SAMPLES), "-o", "out", "--resample", "--mono")
    found = compare(str(SAMPLES))
    assert len(found) == len(list(SAMPLES.glob("*.flac")))
    for made, truth, snr in found.values():
        assert made == truth
        assert snr >= tolerances.PRETRAINED_SNR_DB


@pytest.mark.parametrize("batch", ["2", "8"])
def test_batches_are_filled_and_trimmed(chain, batch):
    """Five clips in batches of two and eight: the last is ragged."""
    mels(250, 260, 500, 251, 750)
    export("--batch", batch, "--mel-len", "250,500")
    synth("mels", "-o", "out", model=f"generator_bs{batch}.om")
    for made, truth, snr in compare("mels").values():
        assert made == truth
        assert snr >= tolerances.PRETRAINED_SNR_DB


def test_one_length_is_a_static_model(chain):
    mels(100, 300)
    export("--mel-len", "100")
    assert json.loads(hifigan("info", OM, "--json").stdout)["om"]["gears"] in ([], [100])
    synth("mels", "-o", "out")
    assert all(snr >= tolerances.PRETRAINED_SNR_DB for _, _, snr in compare("mels").values())


def test_two_devices_and_the_other_interface(chain):
    mels(250, 800, 1200)
    export("--mel-len", "250,500")
    synth("mels", "-o", "out", "--device", "0,1", "--engine-option", "backend=ais_bench")
    assert all(snr >= tolerances.PRETRAINED_SNR_DB for _, _, snr in compare("mels").values())


def test_a_name_with_the_systems_suffix_is_found(chain):
    chain.set(OM_NAMING="linux")
    mels(250)
    export("--mel-len", "250,500")
    assert [path.name for path in Path().glob("*.om")] == [OM]
    synth("mels", "-o", "out")


def test_half_precision_is_asked_for_by_name(chain):
    mels(500)
    export("--precision-mode", "force_fp16")
    assert "force_fp16" in hifigan("info", OM).stdout
    synth("mels", "-o", "out")
    [(made, truth, snr)] = compare("mels").values()
    assert made == truth
    assert tolerances.SIMULATED_FLOAT16_SNR_DB <= snr < tolerances.PRETRAINED_SNR_DB


@pytest.mark.slow
@pytest.mark.pretrained
def test_real_weights(chain):
    """A part of a recording: float64 on V1 is slow."""
    hifigan("export", "om", "ljspeech-v1", "--mel-len", "64,128", timeout=300)
    hifigan("mel", str(SAMPLES / "question.flac"), "--model", "ljspeech-v1", "-o", "mels")
    np.save("part.npy", np.load("mels/question.npy")[:, 60:210])
    for engine, model in (("ascend", "ljspeech-v1_bs1.om"), ("reference", "ljspeech-v1")):
        words = ("--model", model, "--engine", engine, "-o", f"{engine}.wav", "--encoding", "float")
        hifigan("synth", "part.npy", *words, timeout=600)
    made, truth = (soundfile.read(f"{engine}.wav")[0] for engine in ("ascend", "reference"))
    assert made.size == truth.size == 150 * 256
    assert snr_db(truth, made) >= tolerances.PRETRAINED_SNR_DB


def test_benchmark(chain):
    """Ours, and a summary of the vendor's tool beside it; both say what they are."""
    export("--mel-len", "250,500")
    chain.ais_bench("--model", OM, "--loop", "3", "--dymDims", "mel_spec:1,10,250", "--output", "ais")
    [summary] = Path("ais").glob("*_summary.json")
    words = ("--model", OM, "--engines", "ascend", "--reference", "model", "--mel-len", "250", "--loop", "6")
    source = f"{summary}:mel_len=250:batch=1:device=310P3"
    done = hifigan("bench", *words, "--no-ceilings", "--ais-bench", source, "-o", "bench")
    assert SIMULATED in done.stdout
    assert SIMULATED in Path("bench", "bench.md").read_text()
    result = read_json(Path("bench", "bench.json"))
    assert result.simulated
    ours, theirs = (entry for case in result.cases for entry in case.measurements)
    assert ours.failed is None
    assert ours.snr_db >= tolerances.PRETRAINED_SNR_DB
    assert theirs.source == "ais_bench"
    assert theirs.simulated
    assert theirs.latency.calls == 3


# The faults of the original guide, one test each.


def test_fault_1_dims_are_never_typed(chain):
    """A model of rank 3 was benchmarked with four dims, which the runtime refuses."""
    mels(500)
    export("--mel-len", "250,500")
    done = chain.ais_bench("--model", OM, "--dymDims", "mel_spec:1,10,1,500")
    assert "dysize:4 dimcount:3" in done.stdout
    assert done.returncode == 1
    synth("mels", "-o", "out")  # the gears come from the file


@pytest.mark.parametrize("gear", ["2000"])
def test_fault_2_outputs_are_never_too_small(chain, gear):
    """A buffer of 1,000,000 bytes was smaller than one output; no size is given at all."""
    mels(2000)
    export("--batch", "8", "--mel-len", f"250,{gear}")
    synth("mels", "-o", "out", model="generator_bs8.om")
    [(_, _, snr)] = compare("mels").values()
    assert snr >= tolerances.PRETRAINED_SNR_DB


def test_fault_3_gears_are_chosen_by_at_most(chain):
    """250 frames went to the gear of 500, more than the largest gear was cropped, a ragged batch failed."""
    mels(250, 251, 499, 500, 501, 1234)
    export("--batch", "4", "--mel-len", "250,500")
    synth("mels", "-o", "out", model="generator_bs4.om")
    found = compare("mels")
    for name, (made, truth, snr) in found.items():
        assert made == truth == int(name.partition("-")[2]) * HOP
        assert snr >= tolerances.PRETRAINED_SNR_DB


def test_fault_4_silence_is_padded_and_said(chain):
    """Zeros are loud in log-mels. Below the smallest gear the tail differs, by silence, and the manifest names it."""
    mels(200)
    export("--mel-len", "250,500")
    done = synth("mels", "-o", "out")
    [record] = dict(read_manifest(Path("out", MANIFEST_NAME)).clips).values()
    tail = record.inexact_tail_frames
    assert 0 < tail <= 8  # the reach of the tiny network
    assert "padded with silence" in record.warnings[0]
    assert done.returncode == 0
    hifigan("synth", "mels", "--engine", "reference", "--model", "model", "-o", "truth", "--encoding", "float")
    made, truth = (soundfile.read(f"{folder}/0-200.wav")[0] for folder in ("out", "truth"))
    exact = (200 - tail) * HOP
    assert snr_db(truth[:exact], made[:exact]) >= tolerances.PRETRAINED_SNR_DB
    silence = np.full((10, 50), np.log(1e-5), np.float32)
    np.save("padded.npy", np.concatenate([np.load("mels/0-200.npy"), silence], axis=1))
    hifigan("synth", "padded.npy", "--engine", "reference", "--model", "model", "-o", "p.wav", "--encoding", "float")
    assert snr_db(soundfile.read("p.wav")[0][: made.size], made) >= tolerances.PRETRAINED_SNR_DB


def test_fault_5_full_scale_does_not_wrap_and_the_hop_is_the_models(chain):
    """+1.0 became -32768, the hop was 256 for every model, and every file of the folder was taken for a recording."""
    write_audio(Path("full.wav"), np.array([1.0, -1.0], np.float32), 8000)
    assert soundfile.read("full.wav", dtype="int16")[0].tolist() == [32767, -32768]
    mels(250)
    Path("mels", "notes.txt").write_text("no mel")
    export("--mel-len", "250,500")
    hifigan("synth", "mels", "--engine", "ascend", "--model", OM, "-o", "out")
    [path] = Path("out").glob("*.wav")
    assert soundfile.info(path).frames == 250 * HOP
    assert soundfile.info(path).samplerate == TINY.mel.sample_rate


def test_fault_6_options_are_whole_and_the_chip_is_found(chain):
    """`--batch` worked by a prefix only, and --soc had a default that was none."""
    report = json.loads(export("--mel-len", "250,500", "--json").stdout)
    assert report[0]["soc_version"] == "Ascend310P3"
    line = export("--mel-len", "250,500", "--dry-run", "--soc", "Ascend910B4").stdout
    assert "--soc_version=Ascend910B4" in line
    assert "'--dynamic_dims=250;500'" in line
    known = chain.atc("--help")
    assert known.returncode == 0


@pytest.mark.parametrize("rank", ["3", "4"])
def test_fault_7_the_output_has_the_shape_that_is_said(chain, rank):
    """The guide says [B, N], its graph gives [B, 1, N] or [B, 1, 1, N]; ours gives [B, N] in both."""
    export("--rank", rank, "--batch", "2", "--mel-len", "250,500", "--keep-onnx")
    code = (
        "import numpy as np; from ais_bench.infer.interface import InferSession\n"
        f"mel = np.zeros((2, 10{', 1' if rank == '4' else ''}, 250), np.float32)\n"
        "print(InferSession(0, 'generator_bs2.om').infer([mel], 'dymdims')[0].shape)"
    )
    assert chain.python("-c", code).stdout.splitlines()[-1] == "(2, 2000)"


def test_fault_8_figures_say_that_they_are_simulated(chain):
    """The guide's table exceeds the chip's peak. A simulated figure can never stand for a measured one."""
    mels(250)
    export("--mel-len", "250,500")
    words = ("--engine", "ascend", "--model", OM, "--overwrite", "-o", "out")
    assert SIMULATED in hifigan("synth", "mels", *words).stdout
    facts = json.loads(hifigan("synth", "mels", *words, "--json").stdout)
    assert facts["simulated"] is True
    done = chain.ais_bench("--model", OM, "--dymDims", "mel_spec:1,10,250")
    assert SIMULATED in done.stdout


# Every error code and every trouble of the tools, understood


def known_codes() -> list[str]:
    source = (Path(__file__).parents[1] / "ascend_simulator/python/cann_simulator/error_texts.py").read_text()
    return sorted(set(re.findall(r'"(E[A-Z0-9]\d{4})"', source)) - {"EL0003"})  # that one is the runtime's


@pytest.mark.parametrize("code", known_codes())
def test_each_code_is_understood(simulator, tmp_path, code):
    simulator.set(FAULT=f"atc:error={code},atc:not-utf8")
    job = AtcJob("g.onnx", "g_bs1", "mel_spec", 1, 10, 3, (250, 500), "Ascend310P3")
    with pytest.raises(ToolFailed) as caught:
        run_atc(job, tmp_path)
    assert caught.value.codes == (code,)
    assert code in str(caught.value)
    assert "255" in str(caught.value)
    assert parse_errors(caught.value.output)[0].way_out


@pytest.mark.parametrize("layout", ["", ",atc:layout-2026"])
def test_codes_reach_the_user_with_a_way_out(chain, layout):
    chain.set(FAULT="atc:error=E20001" + layout)
    error = error_of(export(status=1))
    assert "E20001: Failed to compile Op" in error
    assert "fewer gears" in error
    assert not list(Path().glob("*.om"))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("atc:gears=4", "E20001"),
        ("atc:half-way", "atc failed"),
        ("atc:no-output", "wrote no generator_bs1.om"),
        ("atc:disk-full", "No space left on device"),
        ("atc:op-store", "EZ3002"),
        ("npu-smi:no-permission", "--soc Ascend310P3"),
        ("npu-smi:no-permission=255", "--soc Ascend310P3"),
    ],
)
def test_troubles_of_the_converter(chain, fault, text):
    before = sorted(os.listdir())
    chain.set(FAULT=fault)
    assert text in error_of(export(status=1))
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("layout", ["310p-legacy", "310p", "310p-duo", "910b", "a3"])
@pytest.mark.parametrize("table_only", [False, True])
def test_every_layout_of_npu_smi_tells_the_chip(chain, layout, table_only):
    chain.set(NPU_LAYOUT=layout)
    if table_only and layout != "a3":
        chain.set(FAULT="npu-smi:table-only")
    expected = {"910b": "Ascend910B4", "a3": "Ascend910_9362"}.get(layout, "Ascend310P3")
    assert f"--soc_version={expected}" in export("--dry-run").stdout


def test_output_that_is_not_utf8_and_warnings_do_no_harm(chain):
    chain.set(FAULT="atc:not-utf8,atc:warning")
    export("--mel-len", "250,500")
    assert Path(OM).is_file()


def test_tools_that_are_absent(chain, monkeypatch):
    bare = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    assert "npu-smi is not on the PATH" in error_of(export(status=1))
    assert "atc" in error_of(export("--soc", "Ascend310P3", status=1))
    assert "atc" in export("--soc", "Ascend310P3", "--dry-run").stdout


def test_a_converter_that_hangs(chain):
    chain.set(FAULT="atc:hang")
    error = error_of(export("--timeout", "2", status=1))
    assert "2 s" in error


def test_lengths_as_people_give_them(chain):
    done = export("--mel-len", "500,250,500", "--dry-run")
    assert "'--dynamic_dims=250;500'" in done.stdout
    assert "sorted" in done.stderr
    too_many = ",".join(str(10 * (i + 1)) for i in range(101))
    assert "at most 100 gears" in error_of(export("--mel-len", too_many, status=1))
    assert "dynamic_dims" not in export("--mel-len", "250", "--dry-run").stdout


def test_an_om_for_another_chip(chain):
    mels(250)
    export("--soc", "Ascend910B4", "--mel-len", "250,500")
    error = error_of(synth("mels", "-o", "out", status=1))
    assert "was converted for Ascend910B4" in error
    assert "Ascend310P3" in error


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise", "real"])
def test_damaged_and_foreign_files(chain, damage):
    mels(250)
    export("--mel-len", "250,500")
    content = Path(OM).read_bytes()
    changed = {"truncated": content[: len(content) // 2], "empty": b"", "noise": bytes(range(256)) * 40}
    # A header that says 4,096 bytes follow, and zeros where the parts should be listed.
    real = b"IMOD" + (256).to_bytes(4, "little") + (0x20000000).to_bytes(4, "little") + bytes(64)
    changed["real"] = (real + (4096).to_bytes(4, "little")).ljust(256, b"\0") + bytes(4096)
    Path(OM).write_bytes(changed[damage])
    for done in (hifigan("info", OM, status=1), synth("mels", "-o", "out", status=1)):
        assert OM in error_of(done)


def test_a_simulated_file_on_a_real_machine(chain, tmp_path, monkeypatch):
    """A runtime that does not call itself simulated stands for the vendor's."""
    mels(250)
    export("--mel-len", "250,500")
    real = tmp_path / "real" / "aclruntime"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("class session_options: pass\nclass InferenceSession: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(real.parent))
    assert "simulat" in error_of(synth("mels", "-o", "out", status=1))


def test_without_the_runtime_the_hint_says_how_to_get_it(chain, monkeypatch):
    mels(250)
    export("--mel-len", "250,500")
    monkeypatch.delenv("PYTHONPATH")
    error = error_of(synth("mels", "-o", "out", status=1))
    assert "aclruntime" in error
    assert "HIFIGAN_ASCEND_PYTHON" in error


@pytest.mark.parametrize(
    ("fault", "text"),
    [("acl:busy", "device 0 cannot be opened"), ("acl:execute", "507011"), ("acl:wrong-chip", "Ascend310P3")],
)
def test_troubles_of_the_runtime(chain, fault, text):
    mels(250)
    export("--mel-len", "250,500")
    chain.set(FAULT=fault)
    done = synth("mels", "-o", "out", status=1)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_devices_that_are_not_there(chain):
    mels(250)
    export("--mel-len", "250,500")
    assert "device 7" in error_of(synth("mels", "-o", "out", "--device", "7", status=1))
    assert "0 or 0,1" in error_of(synth("mels", "-o", "out", "--device", "zero", status=1))


def test_a_misspelt_engine(chain):
    clip("a.wav")
    done = hifigan("synth", "a.wav", "--engine", "acsend", "--model", "model", "-o", "b.wav", status=1)
    assert "did you mean 'ascend'?" in error_of(done)
