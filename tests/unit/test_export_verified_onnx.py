"""What `export_onnx` promises: a file appears only when it is valid and computes what the reference computes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

import tolerances
from golden.tiny import TINY, build_another_network, tiny_generator
from hifigan_rt.errors import EngineUnavailable, ExportError, OutputError
from hifigan_rt.export import onnx as conversion
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.export.verification import LOWEST_SNR_DB
from hifigan_rt.graph import Generator


@pytest.mark.parametrize(("rank", "keep_channel", "opset"), [(3, False, 17), (4, True, 11), (4, False, 13)])
def test_writes_and_reports(tmp_path, rank, keep_channel, opset):
    path = tmp_path / "out.onnx"
    report = export_onnx(tiny_generator(), TINY.mel, path, rank=rank, keep_channel=keep_channel, opset=opset)
    assert report.path == path
    assert report.size_bytes == path.stat().st_size
    assert report.snr_db >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert report.seconds > 0
    assert onnx.load(path).opset_import[0].version == opset
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    folder = tmp_path / b"mod\xe8le".decode("utf-8", "surrogateescape")
    folder.mkdir()
    assert export_onnx(tiny_generator(), None, folder / "out.onnx").snr_db >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_without_verification_no_snr_is_claimed(tmp_path):
    report = export_onnx(tiny_generator(), None, tmp_path / "out.onnx", verify=False)
    assert report.snr_db is None


def test_a_wrong_graph_never_takes_the_name(tmp_path, monkeypatch):
    """The exporter is made to use a wrong slope; the file that stood there before must stay."""
    path = tmp_path / "out.onnx"
    path.write_bytes(b"what was there")
    monkeypatch.setattr("hifigan_rt.export.onnx.build_onnx", build_another_network)
    with pytest.raises(ExportError, match=r"is \d+\.\d dB from the reference, at least 90 dB are needed"):
        export_onnx(tiny_generator(), None, path)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_an_invalid_graph_is_caught_by_the_checker(tmp_path, monkeypatch):
    def build(*arguments, **options):
        model = real(*arguments, **options)
        model.graph.node[0].input[0] = "nowhere"
        return model

    real = conversion.build_onnx
    monkeypatch.setattr(conversion, "build_onnx", build)
    with pytest.raises(ExportError, match="not valid ONNX"):
        export_onnx(tiny_generator(), None, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_all_weights_zero_is_exact_silence(tmp_path):
    silent = Generator(tiny_generator().graph, {k: np.zeros_like(v) for k, v in tiny_generator().weights.items()})
    assert export_onnx(silent, None, tmp_path / "out.onnx").snr_db == float("inf")


def test_the_name_must_end_in_onnx_so_that_a_checkpoint_is_never_replaced(tmp_path):
    checkpoint = tmp_path / "generator_v1"
    checkpoint.write_bytes(b"weights")
    with pytest.raises(ExportError, match=r"must end in \.onnx"):
        export_onnx(tiny_generator(), None, checkpoint)
    assert checkpoint.read_bytes() == b"weights"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"could not be written: folder .*missing' is not there, make it first"):
        export_onnx(tiny_generator(), None, tmp_path / "missing" / "out.onnx")


def test_a_folder_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "out.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder, and only files are replaced"):
        export_onnx(tiny_generator(), None, tmp_path / "out.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.onnx"]


def test_verification_without_onnx_runtime_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("hifigan_rt.engines.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'hifigan-rt\[onnx\]'"):
        export_onnx(tiny_generator(), None, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_above_what_float16_reaches(tmp_path, monkeypatch):
    """Weights rounded to float16 stay below the limit: it tells them from float32."""
    real = conversion.build_onnx

    def build(generator, mel, **options):
        rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in generator.weights.items()}
        return real(replace(generator, weights=rounded), mel, **options)

    monkeypatch.setattr(conversion, "build_onnx", build)
    with pytest.raises(ExportError, match=f"at least {LOWEST_SNR_DB:.0f} dB"):
        export_onnx(tiny_generator(), None, tmp_path / "out.onnx")


MEMORY = """
import json, sys
from pathlib import Path
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib

model = resolve_model("ljspeech-v1")
loaded = peak_memory_mib()
report = export_onnx(model.generator, model.mel, Path(sys.argv[1]), verify=sys.argv[2] == "1")
print(json.dumps([report.size_bytes, report.snr_db, (peak_memory_mib() - loaded) * 2**20]))
"""


@pytest.mark.pretrained
@pytest.mark.parametrize("verify", [False, True])
def test_memory_and_accuracy_of_exporting_v1(tmp_path, verify):
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "v1.onnx"), str(int(verify))]
    size, snr, memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert memory <= tolerances.EXPORT_MEMORY_FACTOR * size + tolerances.EXPORT_MEMORY_EXTRA_BYTES
    assert snr >= tolerances.PRETRAINED_SNR_DB if verify else snr is None
