"""What `export_openvino` promises: two files or none, and only when they compute what the reference computes."""

from dataclasses import replace

import numpy as np
import pytest

import tolerances
from golden.tiny import TINY, build_another_network, tiny_generator
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import EngineError, ExportError, ModelFileError, OutputError
from hifigan_rt.export.openvino import LOWEST_SNR_DB_OF, OpenVinoSettings, export_openvino
from hifigan_rt.formats.openvino_package import import_openvino, openvino_core
from hifigan_rt.formats.openvino_reading import inspect_openvino
from hifigan_rt.model.kinds import OpenVinoFile
from hifigan_rt.model.resolve import resolve_model

SETTINGS = {
    "default": OpenVinoSettings(),
    "rank 3": OpenVinoSettings(rank=3),
    "fixed": OpenVinoSettings(batch=2, frames=70),
    "fixed and short, rank 3": OpenVinoSettings(rank=3, batch=1, frames=5),
    "float16": OpenVinoSettings(precision="float16"),
}


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", SETTINGS)
def test_writes_and_reports(tmp_path, name):
    settings = SETTINGS[name]
    path = tmp_path / "out.xml"
    report = export_openvino(tiny_generator(), TINY.mel, path, settings, source="tiny")
    assert names(tmp_path) == ["out.bin", "out.xml"]
    assert report.path == path
    assert report.size_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    if settings.precision == "float32":
        assert report.snr_db >= tolerances.FLOAT32_ENGINE_SNR_DB
    else:
        assert LOWEST_SNR_DB_OF["float16"] <= report.snr_db < tolerances.FLOAT32_ENGINE_SNR_DB
    info = inspect_openvino(path)
    ones = (1,) if settings.rank == 4 else ()
    assert info.inputs[0].shape == (settings.batch, 10, *ones, settings.frames)
    assert (info.config, info.num_mels, info.precision) == (TINY, 10, settings.precision)
    assert info.metadata["source"] == "tiny"
    assert info.is_ours


def test_the_model_it_makes(tmp_path):
    """A folder with a .bin that is half of an IR and not a checkpoint."""
    export_openvino(tiny_generator(), TINY.mel, tmp_path / "out.xml", verify=False)
    model = resolve_model(tmp_path)
    assert isinstance(model, OpenVinoFile)
    assert (model.path.name, model.mel, model.num_mels) == ("out.xml", TINY.mel, 10)
    assert model.graph == tiny_generator().graph
    assert model.format == "openvino (float32 weights)"


def test_weights_of_another_export_are_refused(tmp_path):
    for name, seed in (("one", 0), ("other", 1)):
        export_openvino(tiny_generator(seed=seed), TINY.mel, tmp_path / f"{name}.xml", verify=False)
    path, weights = tmp_path / "one.xml", tmp_path / "one.bin"
    size = weights.stat().st_size
    weights.write_bytes((tmp_path / "other.bin").read_bytes())
    assert weights.stat().st_size == size
    with pytest.raises(
        ModelFileError, match=r"'one\.bin' are not those that it was exported with: sha256 .*; copy both"
    ):
        resolve_model(path)
    # What others write of it, such as quantisers, has weights of its own.
    model = openvino_core().read_model(path)
    import_openvino().save_model(model, tmp_path / "again.xml", compress_to_fp16=True)
    assert resolve_model(tmp_path / "again.xml").format == "openvino (float16 weights)"
    # As earlier exports are.
    path.write_text(path.read_text().partition("<!--sha256")[0])
    resolve_model(path)


def test_a_fixed_shape_runs_that_shape_only(tmp_path):
    export_openvino(tiny_generator(), TINY.mel, tmp_path / "out.xml", OpenVinoSettings(batch=2, frames=9), verify=False)
    engine = create_engine("openvino", resolve_model(tmp_path), EngineOptions())
    assert engine.run(np.zeros((4, 10, 9), np.float32)).shape == (4, 72)
    with pytest.raises(EngineError, match="mels of exactly 9 frames, this one has 8"):
        engine.run(np.zeros((2, 10, 8), np.float32))


def test_a_wrong_graph_never_takes_the_names(tmp_path, monkeypatch):
    for name in ("out.xml", "out.bin"):
        (tmp_path / name).write_bytes(b"what was there")
    monkeypatch.setattr("hifigan_rt.export.openvino.build_onnx", build_another_network)
    with pytest.raises(ExportError, match=r"is \d+\.\d dB from the reference, at least 90 dB are needed"):
        export_openvino(tiny_generator(), None, tmp_path / "out.xml")
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"what was there"] * 2


def test_a_wrong_graph_of_a_long_fixed_shape_is_told(tmp_path, monkeypatch):
    """Of which only the beginning is compared."""
    monkeypatch.setattr("hifigan_rt.export.openvino.build_onnx", build_another_network)
    with pytest.raises(ExportError, match="dB from the reference"):
        export_openvino(tiny_generator(), None, tmp_path / "out.xml", OpenVinoSettings(frames=200))
    assert names(tmp_path) == []


def test_float16_weights_have_a_limit_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setitem(LOWEST_SNR_DB_OF, "float16", 95.0)
    with pytest.raises(ExportError, match=r"at least 95 dB are needed: nothing was written; do the weights hold"):
        export_openvino(tiny_generator(), None, tmp_path / "out.xml", SETTINGS["float16"])
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int8"}, "precision='int8' is not offered for weights: choose float32, float16"),
        ({"precision": "bfloat16"}, "bfloat16 arithmetic is chosen when the file is loaded"),
        ({"batch": 0}, "batch=0 must be from 1 to 1024"),
        ({"frames": -1}, "frames=-1 must be from 1 to"),
        ({"rank": 5}, "rank=5 is not offered"),
    ],
)
def test_what_is_not_offered(tmp_path, changes, message):
    with pytest.raises(ExportError, match=message):
        export_openvino(tiny_generator(), None, tmp_path / "out.xml", replace(OpenVinoSettings(), **changes))
    assert names(tmp_path) == []


def test_the_name_must_end_in_xml(tmp_path):
    with pytest.raises(ExportError, match=r"must end in \.xml"):
        export_openvino(tiny_generator(), None, tmp_path / "out.bin")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="is not there, make it first; nothing stands at its place"):
        export_openvino(tiny_generator(), None, tmp_path / "none" / "out.xml", verify=False)
