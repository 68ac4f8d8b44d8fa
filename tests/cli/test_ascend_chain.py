"""The whole Ascend chain as a user types it, on the simulator: checkpoint, ONNX, .om, audio.

No Ascend hardware has run this; what stands here is that the integration does what the vendor's tools ask for, in both
generations, and that nothing of the original guide's faults is left.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tolerances
from ascend_simulator.environment import CAVEAT
from cli.ascend_chain import OM, export, exported, mels, synth
from cli.running import clip, error_of, hifigan
from golden.tiny import TINY
from hifigan_rt.audio import write_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.tools.benchmark.results import read_json
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest

LENGTHS = (1, 249, 250, 251, 2000, 2001, 6000)
HOP = 8
SHORTEST_GEAR = 250
SAMPLES = Path(__file__).parents[2] / "samples"

# What differs between the generations is tried with both, here and in engines/test_ascend.py.
old_tools_in_the_long_run = pytest.mark.parametrize(
    "simulator", [pytest.param(6, id="cann6", marks=pytest.mark.long), pytest.param(8, id="cann8")], indirect=True
)


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
    assert facts["om"]["caveat"] == CAVEAT
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


@old_tools_in_the_long_run
def test_recordings(chain):
    export("--mel-len", "250,500,1000")
    synth(str(SAMPLES), "-o", "out", "--resample", "--mono")
    found = compare(str(SAMPLES))
    assert len(found) == len(list(SAMPLES.glob("*.flac")))
    for made, truth, snr in found.values():
        assert made == truth
        assert snr >= tolerances.PRETRAINED_SNR_DB


@old_tools_in_the_long_run
@pytest.mark.parametrize("batch", ["2", "8"])
def test_batches_are_filled_and_trimmed(chain, batch):
    """Five clips in batches of two and eight: the last is ragged."""
    mels(250, 260, 500, 251, 750)
    export("--batch", batch, "--mel-len", "250,500")
    synth("mels", "-o", "out", model=f"generator_bs{batch}.om")
    for made, truth, snr in compare("mels").values():
        assert made == truth
        assert snr >= tolerances.PRETRAINED_SNR_DB


@old_tools_in_the_long_run
def test_one_length_is_a_static_model(chain):
    mels(100, 300)
    export("--mel-len", "100")
    assert json.loads(hifigan("info", OM, "--json").stdout)["om"]["gears"] in ([], [100])
    synth("mels", "-o", "out")
    assert all(snr >= tolerances.PRETRAINED_SNR_DB for _, _, snr in compare("mels").values())


def test_open_lengths(chain):
    """CANN 6 has none, and says so by a code."""
    mels(1, 249, 2001)
    if chain.generation == 6:
        refused = export("--mel-len", "dynamic", status=1)
        assert "E10011" in refused.stderr
        assert "for --mel-len dynamic this atc is too old, so give gears" in refused.stderr
        return
    assert "batch 1, any length, Ascend310P3" in export("--mel-len", "dynamic").stdout
    facts = json.loads(hifigan("info", OM, "--json").stdout)["om"]
    assert (facts["gears"], facts["dynamic_shape"]) == ([], True)
    assert facts["inputs"][0]["shape"][-1] == -1
    synth("mels", "-o", "out")
    assert all(snr >= tolerances.PRETRAINED_SNR_DB for _, _, snr in compare("mels").values())
    chain.set(SOC="Ascend310B4", NPU_LAYOUT="310b")
    assert "Ascend310B4 runs no open lengths" in export("--mel-len", "dynamic", "--overwrite", status=1).stderr


@old_tools_in_the_long_run
def test_two_devices_and_the_other_interface(chain):
    mels(250, 800, 1200)
    exported("--mel-len", "250,500")
    synth("mels", "-o", "out", "--device", "0,1", "--engine-option", "backend=ais_bench")
    assert all(snr >= tolerances.PRETRAINED_SNR_DB for _, _, snr in compare("mels").values())


@old_tools_in_the_long_run
def test_a_name_with_the_systems_suffix_is_found(chain):
    chain.set(OM_NAMING="linux")
    mels(250)
    export("--mel-len", "250,500")
    assert [path.name for path in Path().glob("*.om")] == [OM]
    synth("mels", "-o", "out")


@old_tools_in_the_long_run
def test_half_precision_is_asked_for_by_name(chain):
    chain.reset("WEIGHTS")
    mels(500)
    export("--precision-mode", "force_fp16")
    assert "force_fp16" in hifigan("info", OM).stdout
    synth("mels", "-o", "out")
    [(made, truth, snr)] = compare("mels").values()
    assert made == truth
    assert tolerances.SIMULATED_FLOAT16_SNR_DB <= snr < tolerances.PRETRAINED_SNR_DB


CHIPS = {
    "Ascend310P3": ("cube_fp16in_fp32out", "float16 products, float32 sums", tolerances.SIMULATED_FLOAT16_SNR_DB),
    "Ascend910B4-1": ("must_keep_origin_dtype", "float32, convolutions in HF32", tolerances.PRETRAINED_SNR_DB),
    "Ascend310B4": ("must_keep_origin_dtype", "float32", tolerances.PRETRAINED_SNR_DB),
}
"""Chips with the default mode, what is computed under it, and the SNR of the simulator: it shows that mode and label go
together, not the arithmetic of a chip (HF32 is not imitated)."""


@pytest.mark.parametrize("simulator", [8], indirect=True)
@pytest.mark.parametrize("chip", CHIPS)
def test_the_default_precision_is_one_that_the_chip_computes(chain, chip):
    mode, label, lowest = CHIPS[chip]
    chain.reset("WEIGHTS")
    chain.set(SOC=chip)
    mels(300)
    done = export("--soc", chip, "--mel-len", "250,500")
    assert f"{chip}, {label} ({mode})" in done.stdout
    assert (f"{chip} multiplies float16 at most, so the file computes in {label}" in done.stderr) == ("16" in label)
    done = hifigan("synth", "mels", "-o", "out", "--model", OM, "--engine", "ascend", "--encoding", "float")
    assert f": {label} ({mode}), " in done.stderr
    [(made, truth, snr)] = compare("mels").values()
    assert made == truth
    assert snr >= lowest
    assert (snr < tolerances.PRETRAINED_SNR_DB) == ("16" in label), "a label must tell float16 from float32"


@pytest.mark.parametrize("words", [("--precision-mode", "must_keep_origin_dtype"), ("--precision-mode", "origin"),
                                   ("--atc-arg", "precision_mode_v2=origin")])  # fmt: skip
@pytest.mark.parametrize("simulator", [8], indirect=True)
def test_float32_on_a_chip_without_it_is_answered_by_the_mode_that_runs(chain, words):
    done = export("--soc", "Ascend310P3", "--mel-len", "250", *words, status=1)
    assert "Ascend310P3 multiplies float16 at most: under" in done.stderr
    assert "EZ3002: Optype [Conv2D]" in error_of(done)
    assert "no float32 kernel of the operator: leave --precision-mode out" in error_of(done)


@pytest.mark.long
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
    exported("--mel-len", "250,500")
    chain.ais_bench("--model", OM, "--loop", "3", "--dymDims", "mel_spec:1,10,250", "--output", "ais")
    [summary] = Path("ais").glob("*_summary.json")
    words = ("--model", OM, "--engines", "ascend", "--reference", "model", "--mel-len", "250", "--loop", "6")
    source = f"{summary}:mel_len=250:batch=1:device=310P3"
    done = hifigan("bench", *words, "--no-ceilings", "--ais-bench", source, "-o", "bench")
    assert CAVEAT in done.stdout
    assert CAVEAT in Path("bench", "bench.md").read_text()
    result = read_json(Path("bench", "bench.json"))
    assert result.caveat == CAVEAT
    ours, theirs = (entry for case in result.cases for entry in case.measurements)
    assert ours.failed is None
    assert ours.snr_db >= tolerances.PRETRAINED_SNR_DB
    assert theirs.source == "ais_bench"
    assert theirs.caveat == CAVEAT
    assert theirs.latency.calls == 3


def test_threads_that_no_om_takes_are_told(chain):
    exported()
    clip("in/a.wav")
    told = "note: --threads 2 was asked for, and engine 'ascend' takes 1 thread"
    assert told in hifigan("synth", "in", "--model", OM, "-o", "out", "--threads", "2").stderr
    assert "--threads" not in hifigan("synth", "in", "--model", OM, "-o", "out", "--overwrite").stderr
    done = hifigan("synth", "in", "--model", "model", "--engine", "native", "-o", "native", "--threads", "2")
    assert "--threads" not in done.stderr


def test_a_benchmark_of_an_om_does_not_measure_threads(chain):
    exported()
    words = ("--model", OM, "--engines", "ascend", "--mel-len", "250", "--loop", "1", "--no-ceilings")
    done = hifigan("bench", *words, "--threads", "1,2", "-o", "bench")
    assert len(read_json(Path("bench", "bench.json")).cases) == 1
    assert "--threads changes nothing for ascend, which does not compute on the processor: each case is" in done.stderr


# The faults of the original guide, one test each.


def test_fault_1_dims_are_never_typed(chain):
    """A model of rank 3 was benchmarked with four dims, which the runtime refuses."""
    mels(500)
    exported("--mel-len", "250,500")
    done = chain.ais_bench("--model", OM, "--dymDims", "mel_spec:1,10,1,500")
    assert "dysize:4 dimcount:3" in done.stdout
    assert done.returncode == 1
    synth("mels", "-o", "out")  # the gears come from the file


@old_tools_in_the_long_run
@pytest.mark.parametrize("gear", ["2000"])
def test_fault_2_outputs_are_never_too_small(chain, gear):
    """A buffer of 1,000,000 bytes was smaller than one output; no size is given at all."""
    mels(2000)
    export("--batch", "8", "--mel-len", f"250,{gear}")
    synth("mels", "-o", "out", model="generator_bs8.om")
    [(_, _, snr)] = compare("mels").values()
    assert snr >= tolerances.PRETRAINED_SNR_DB


@old_tools_in_the_long_run
def test_fault_3_gears_are_chosen_by_at_most(chain):
    """250 frames went to the gear of 500, more than the largest gear was cropped, a ragged batch failed."""
    mels(250, 251, 499, 500, 501, 1234)
    export("--batch", "4", "--mel-len", "250,500")
    synth("mels", "-o", "out", model="generator_bs4.om")
    found = compare("mels")
    for name, (made, truth, snr) in found.items():
        assert made == truth == int(name.partition("-")[2]) * HOP
        assert snr >= tolerances.PRETRAINED_SNR_DB


@old_tools_in_the_long_run
def test_fault_4_silence_is_padded_and_said(chain):
    """Zeros are loud in log-mels. Below the smallest gear the tail differs, by silence, and the manifest names it."""
    mels(200)
    exported("--mel-len", "250,500")
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


@old_tools_in_the_long_run
def test_fault_5_full_scale_does_not_wrap_and_the_hop_is_the_models(chain):
    """+1.0 became -32768, the hop was 256 for every model, and every file of the folder was taken for a recording."""
    write_audio(Path("full.wav"), np.array([1.0, -1.0], np.float32), 8000)
    assert soundfile.read("full.wav", dtype="int16")[0].tolist() == [32767, -32768]
    mels(250)
    Path("mels", "notes.txt").write_text("no mel")
    exported("--mel-len", "250,500")
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


@old_tools_in_the_long_run
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
    exported("--mel-len", "250,500")
    words = ("--engine", "ascend", "--model", OM, "--overwrite", "-o", "out")
    assert CAVEAT in hifigan("synth", "mels", *words).stdout
    facts = json.loads(hifigan("synth", "mels", *words, "--json").stdout)
    assert facts["caveat"] == CAVEAT
    done = chain.ais_bench("--model", OM, "--dymDims", "mel_spec:1,10,250")
    assert CAVEAT in done.stdout
