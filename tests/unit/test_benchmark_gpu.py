"""What the benchmark of engine `cuda` does beside measuring, on the imitated card."""

import json
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import run_cuda

from engines.cuda_engines import load
from golden.tiny import tiny_generator, write_tiny
from hifigan_rt.engines.reference import generate
from hifigan_rt.model.kinds import Weights
from hifigan_rt.vocoder import Vocoder
from measuring.gpu import Failed, Report, card_name, told_by_smi, used_mib

TINY_GENERATOR = tiny_generator()


def test_the_card_that_is_measured_is_the_one_that_nvidia_smi_is_asked_for(imitated_card, monkeypatch, tmp_path):
    assert card_name() == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told_by_smi("name").startswith("unknown: ")
    assert used_mib() is None
    told = tmp_path / "nvidia-smi"
    told.write_text('#!/bin/sh\n[ "$1" = --id=GPU-00010203-0405-0607-0809-0a0b0c0d0e0f ] && echo 1234 MiB\n')
    told.chmod(0o755)
    assert told_by_smi("memory.used") == "1234 MiB"
    assert used_mib() == 1234
    told.write_text("#!/bin/sh\necho 99 MiB\nexit 6\n")
    assert used_mib() is None
    with imitated_card.having(init=999):
        assert told_by_smi("name") == "unknown: NVIDIA's driver has no cuda:0"


def test_what_pytorch_fails_with_is_its_figure_and_ours_are_still_measured(imitated_card, monkeypatch, tmp_path):
    def fails(*_, compiled):
        if not compiled:
            raise RuntimeError("no memory")
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(run_cuda, "SHAPES", ((1, 4),))
    monkeypatch.setattr(run_cuda, "has_torch", lambda: True)
    monkeypatch.setattr(run_cuda, "best_of_torch", fails)
    vocoder = Vocoder(Weights("tiny", "tiny", "test", TINY_GENERATOR), load(TINY_GENERATOR))
    monkeypatch.setattr(run_cuda, "on_card", lambda vocoder, mel: lambda: run_cuda.wall_ms(lambda: vocoder(mel)))
    speech = SimpleNamespace(batch=lambda items, frames: np.zeros((items, TINY_GENERATOR.graph.num_mels, frames)))
    run_cuda.compare(Report(tmp_path / "figures.json"), "V1", vocoder, "float32", speech)
    figures = json.loads((tmp_path / "figures.json").read_text())
    times = figures["V1 float32: 1 x 4 frames, ms"]
    assert times.pop("cuda") > 0
    assert times == {"torch": "RuntimeError: no compiler and much more"}
    assert figures["V1 float32: 1 x 4 frames from and to the host, ms"] > 0
    # Without a C compiler, say, what PyTorch does without one is the peer.
    monkeypatch.setattr(
        run_cuda, "best_of_torch", lambda *_, compiled: fails(compiled=True) if compiled else (lambda: 2.0, None)
    )
    run_cuda.compare(Report(tmp_path / "figures.json"), "V1", vocoder, "float32", speech)
    times = json.loads((tmp_path / "figures.json").read_text())["V1 float32: 1 x 4 frames, ms"]
    assert (times["torch"], times["torch_is_not_compiled"]) == (2.0, "RuntimeError: no compiler and much more")
    assert times["ratio"] == pytest.approx(2.0 / times["cuda"], abs=1e-3)


@pytest.mark.filterwarnings("ignore::hifigan_rt.errors.MelConventionWarning")
def test_both_sets_of_kernels_are_measured_where_a_card_has_them(imitated_card, monkeypatch, tmp_path):
    monkeypatch.setattr(run_cuda, "SHAPES", ((1, 4),))
    monkeypatch.setattr(run_cuda, "has_torch", lambda: False)
    model = write_tiny(tmp_path)
    clip = np.random.default_rng(0).uniform(-5, 0, (TINY_GENERATOR.graph.num_mels, 4)).astype(np.float32)
    speech = SimpleNamespace(batch=lambda items, frames: clip[None], clip=clip, truth=generate(TINY_GENERATOR, clip))
    with imitated_card.having(major=9):
        run_cuda.sets(Report(tmp_path / "both.json"), model, speech)
    run_cuda.sets(Report(tmp_path / "one.json"), model, speech)
    both, one = (json.loads((tmp_path / name).read_text()) for name in ("both.json", "one.json"))
    assert both["V1 float16: SNR of 250 frames by each set of kernels, dB"].keys() == {"general", "hopper"}
    assert "hopper is for compute capability 9.0" in one["V1 float32: hopper kernels"]
    assert one["V1 float32: 1 x 4 frames by each set of kernels, ms"].keys() == {"general"}


def test_a_part_that_fails_keeps_no_other_one_from_being_measured(imitated_card, monkeypatch, tmp_path):
    def fails(*_):
        raise OSError("no room\nfor it")

    assert list(run_cuda.PARTS)[-1] == "sets"
    monkeypatch.setattr(run_cuda.hifigan_rt, "load", lambda *_, **__: None)
    monkeypatch.setattr(run_cuda, "Speech", lambda _: None)
    monkeypatch.setattr(run_cuda, "PARTS", {"whole": fails, "start": lambda report, *_: report.note("start", 1)})
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["run_cuda.py", "-o", str(path), "--parts", "whole,start"])
    with pytest.raises(SystemExit, match="failed: whole"):
        run_cuda.main()
    figures = json.loads(path.read_text())
    assert (figures["whole: failed"], figures["start"]) == ("OSError: no room for it", 1)
    monkeypatch.setattr(sys, "argv", ["run_cuda.py", "-o", str(path), "--parts", "start,wohle"])
    with pytest.raises(SystemExit):
        run_cuda.main()


def test_a_server_that_ends_badly_costs_no_figure(monkeypatch, tmp_path):
    @asynccontextmanager
    async def ends_badly(*_):
        yield SimpleNamespace(url="", read=lambda: SimpleNamespace(processor_seconds=1, memory_mib=2))
        raise RuntimeError("the server ended with status -11")

    told = {"answers": 1, "first_audio_ms": None, "latency_ms": {"p99": 3}, "underruns": 0}
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/load_generator.py").write_text(f"import json; print(json.dumps({told}))")
    monkeypatch.setattr(run_cuda, "ROOT", tmp_path)
    monkeypatch.setattr(run_cuda, "running_server", ends_badly)
    with pytest.raises(Failed, match=r"failed: V1 float16: 500 live .*, V1 float16: 1500 live"):
        run_cuda.server(Report(tmp_path / "figures.json"), "v1", None)
    figures = json.loads((tmp_path / "figures.json").read_text())
    for count in (500, 1000, 1500):
        name = f"V1 float16: {count} live streams through the server"
        assert (figures[name]["first_audio_p95_ms"], figures[name]["latency_p99_ms"]) == (None, 3)
        assert figures[f"{name}: failed"] == "RuntimeError: the server ended with status -11"


@pytest.mark.torch
def test_one_form_of_pytorchs_engine_that_fails_keeps_no_other_one_from_being_measured(monkeypatch, tmp_path):
    import run_torch_gpu

    def measured(arguments, mode, precision, speech, report):
        if mode == "compiled":
            raise OSError("no compiler")
        report.note(precision, 1)

    monkeypatch.setattr(run_torch_gpu.hifigan_rt, "load", lambda *_, **__: None)
    monkeypatch.setattr(run_torch_gpu, "Speech", lambda _: None)
    monkeypatch.setattr(run_torch_gpu, "measure_all", measured)
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["run_torch_gpu.py", "-o", str(path)])
    with pytest.raises(SystemExit, match="failed: compiled float16, compiled float32"):
        run_torch_gpu.main()
    figures = json.loads(path.read_text())
    assert [figures[precision] for precision in run_torch_gpu.PRECISIONS] == [1] * 4
    assert figures["compiled float32: failed"] == "OSError: no compiler"
