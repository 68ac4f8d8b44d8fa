"""What `export_om` promises: checked settings, all files or none, and what each file is told by its record."""

import json

import onnx
import pytest

import npu_smi_outputs
import om_files
import tolerances
from ascend_simulator.environment import CAVEAT
from fake_tools import printing, put_on_path
from golden.tiny import TINY, tiny_generator
from hifigan_rt.config import PRESETS
from hifigan_rt.engines.ascend_runtime.precision import V2_MODES
from hifigan_rt.errors import ConfigError, ExportError, ModelFileError, OutputError, ToolFailed
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.om_record import read_record
from hifigan_rt.model.kinds import OmFile
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.ascend.om_export import export_om, plan_om
from hifigan_rt.tools.ascend.om_settings import OmSettings, checked, folder_notes, safe_stem

GENERATOR = tiny_generator()
SETTINGS = OmSettings(mel_lengths=(50, 100), soc="Ascend310P3")


def export(folder, settings=SETTINGS, **options):
    plan = plan_om(GENERATOR.graph, "generator.pth", settings)
    return export_om(GENERATOR, TINY.mel, folder, plan, source="generator.pth", timeout_seconds=60, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (OmSettings(batches=()), "batch is empty"),
        (OmSettings(batches=(0,)), "batch=0 must be from 1 to 1024"),
        (OmSettings(batches=(2, 0), mel_lengths=()), "batch=0 must be from 1 to 1024"),
        (OmSettings(mel_lengths=(250, 0)), "mel_len=0 must be from 1 to"),
        (OmSettings(mel_lengths=tuple(range(1, 102))), "mel_len has 101 values: atc takes at most 100 gears"),
        (OmSettings(rank=5), "rank=5 is not offered"),
        (OmSettings(soc="Ascend 310P3"), "soc='Ascend 310P3' is no chip"),
        (OmSettings(precision_mode="force_fp23"), "did you mean 'force_fp32'"),
        (OmSettings(precision_mode="force_fp32", atc_options={"precision_mode_v2": "fp16"}), "exclude each other"),
        (OmSettings(log="eror"), "did you mean 'error'"),
        (OmSettings(timeout_seconds=0), "timeout=0 must be above 0 s"),
        (OmSettings(timeout_seconds=float("nan")), "timeout=nan must be above 0 s"),
        (OmSettings(atc_options={"output": "x"}), "hifigan sets this option itself, from -o"),
    ],
)
def test_what_is_not_offered(settings, text):
    with pytest.raises(ExportError, match=text):
        checked(settings)


def test_lengths_are_sorted_and_taken_once_with_a_note():
    settings, notes = checked(OmSettings(batches=(8, 1, 8), mel_lengths=(500, 250, 500)))
    assert (settings.batches, settings.mel_lengths) == ((1, 8), (250, 500))
    assert notes == (
        "batch was sorted, and each value is taken once: 1, 8",
        "mel_len was sorted, and each value is taken once: 250, 500",
    )
    assert checked(OmSettings(mel_lengths=(500, 500)))[0].mel_lengths == (500,)
    assert checked(OmSettings()) == (OmSettings(), ())
    assert checked(OmSettings(mel_lengths=tuple(range(1, 101))))[1] == ()


def test_precision_mode_v2_takes_the_place_of_the_default():
    plan = plan_om(GENERATOR.graph, "g", OmSettings(soc="Ascend310P3", atc_options={"precision-mode-v2": "origin"}))
    assert "--precision_mode_v2=origin" in plan.commands[0]
    assert "--precision_mode=" not in plan.commands[0]


@pytest.mark.parametrize(
    ("chip", "mode"),
    [(chip, "cube_fp16in_fp32out") for chip in (
        "Ascend310", "Ascend310P", "Ascend710", "Ascend310P1", "Ascend310P3", "Ascend310P5", "Ascend310P7",
        "Ascend610", "Ascend910A", "Ascend910B", "Ascend910ProA", "Ascend910ProB", "Ascend910PremiumA")]
    + [(chip, "must_keep_origin_dtype") for chip in (
        "Ascend310B1", "Ascend310B4", "Ascend910B1", "Ascend910B2C", "Ascend910B4-1", "Ascend910_9362",
        "Ascend910_9391", "Ascend950PR_9579", "Ascend950DT_95A1", "Ascend999")],
)  # fmt: skip
def test_the_default_precision_follows_the_chip(chip, mode):
    plan = plan_om(GENERATOR.graph, "g", OmSettings(soc=chip))
    assert f" --precision_mode={mode} " in plan.commands[0]
    assert any("multiplies float16 at most, so the file" in note for note in plan.notes) == ("cube" in mode)


@pytest.mark.parametrize("mode", V2_MODES)
def test_modes_of_the_newer_option_are_given_to_it(mode):
    plan = plan_om(GENERATOR.graph, "g", OmSettings(soc="Ascend910B4", precision_mode=mode))
    assert f" --precision_mode_v2={mode} " in plan.commands[0]
    assert "--precision_mode=" not in plan.commands[0]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("g_02500000", "g_02500000"), ("ljspeech-v1", "ljspeech-v1"), ("声 码.pth", "___"), ("a b;c.pth", "a_b_c"),
     ("..pth", "pth"), ("-rf.pth", "rf"), (".hidden", "hidden")],
)  # fmt: skip
def test_names_that_the_vendors_tools_take(name, stem):
    safe, notes = safe_stem(name)
    assert safe == stem
    assert bool(notes) == (safe != name.removesuffix(".pth"))


def test_folders_that_the_vendors_tools_refuse(tmp_path):
    assert folder_notes(tmp_path / "a_b") == ()
    assert "characters that the vendor's tools refuse" in folder_notes(tmp_path / "a b")[0]


def test_gears_within_the_overlap_are_noted():
    # TINY's windows overlap by a few frames; 1 is less than that.
    plan = plan_om(GENERATOR.graph, "g", OmSettings(mel_lengths=(1, 500), soc="Ascend310P3"))
    assert "mel_len 1: two windows of this model overlap by" in plan.notes[0]


@pytest.mark.parametrize(("rank", "shape"), [(3, "1,10,-1"), (4, "1,10,1,-1")])
def test_open_lengths_are_one_open_dimension_without_gears(rank, shape):
    plan = plan_om(GENERATOR.graph, "g", OmSettings(mel_lengths=(), soc="Ascend310P3", rank=rank))
    assert f"--input_shape=mel_spec:{shape} " in plan.commands[0]
    assert "dynamic_dims" not in plan.commands[0]


@pytest.mark.parametrize("soc", ["Ascend310", "Ascend310B1", "Ascend310B4"])
def test_chips_that_run_no_open_lengths(soc):
    with pytest.raises(ExportError, match=rf"mel_len=dynamic: {soc} runs no open lengths; give gears"):
        plan_om(GENERATOR.graph, "g", OmSettings(mel_lengths=(), soc=soc))
    assert plan_om(GENERATOR.graph, "g", OmSettings(mel_lengths=(50,), soc=soc)).commands
    for other in ("Ascend310P1", "Ascend310P3", "Ascend910B4-1", "Ascend910_9362", "Ascend950PR_9579"):
        assert plan_om(GENERATOR.graph, "g", OmSettings(mel_lengths=(), soc=other)).commands


def test_the_chip_is_asked_for(tmp_path, monkeypatch):
    script = printing(tmp_path, "mapping", npu_smi_outputs.MAPPING_910B)
    put_on_path(tmp_path / "bin", {"npu-smi": script}, monkeypatch)
    plan = plan_om(GENERATOR.graph, "g", OmSettings())
    assert plan.notes == ("chip Ascend910B4, as npu-smi tells",)
    assert "--soc_version=Ascend910B4" in plan.commands[0]


# --- with atc ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [3, 4])
def test_files_records_and_what_they_tell(tmp_path, simulator, rank):
    lines = []
    settings = OmSettings((1, 8), (50, 100), "Ascend310P3", rank=rank)
    reports = export(tmp_path, settings, keep_onnx=True, on_line=lines.append)
    assert names(tmp_path) == [
        "generator.onnx", "generator_bs1.json", "generator_bs1.om", "generator_bs8.json", "generator_bs8.om",
    ]  # fmt: skip
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in tmp_path.iterdir())
    assert lines.count("ATC run success, welcome to the next use.") == 2
    onnx_model = onnx.load(tmp_path / "generator.onnx")
    assert [entry.version for entry in onnx_model.opset_import] == [11], "atc takes one import (E16005)"
    assert onnx_model.graph.input[0].name == "mel_spec"
    for batch, report in zip((1, 8), reports, strict=True):
        assert report.path == tmp_path / f"generator_bs{batch}.om"
        assert report.size_bytes == report.path.stat().st_size
        record = read_record(report.path)
        assert record == report.record
        assert (record.batch, record.mel_lengths, record.rank) == (batch, (50, 100), rank)
        assert record.config == TINY
        assert record.caveat == CAVEAT
        assert record.source == "generator.pth"
        assert record.onnx_sha256 == file_sha256(tmp_path / "generator.onnx")
        assert record.onnx_snr_db >= tolerances.FLOAT32_ENGINE_SNR_DB
        assert set(record.versions) == {"hifigan-rt", "onnx", "atc"}


def test_one_length_is_static(tmp_path, simulator):
    (report,) = export(tmp_path, OmSettings(mel_lengths=(60,), soc="Ascend310P3"))
    assert "--input_shape=mel_spec:1,10,60" in report.record.command
    assert "dynamic_dims" not in report.record.command


def test_a_result_with_the_name_of_the_host_is_renamed(tmp_path, simulator):
    simulator.set(OM_NAMING="linux")
    export(tmp_path)
    assert names(tmp_path) == ["generator_bs1.json", "generator_bs1.om"]


@pytest.mark.parametrize("fault", ["half-way", "no-output", "disk-full", "error=E20001", "gears=1", "op-store"])
def test_nothing_is_left_behind_by_a_failure(tmp_path, simulator, fault):
    simulator.set(FAULT=f"atc:{fault}")
    with pytest.raises(ToolFailed):
        export(tmp_path)
    assert names(tmp_path) == []


def test_the_second_batch_fails_and_the_first_is_not_left_alone(tmp_path, monkeypatch):
    om_files.write(tmp_path, om_files.converted([[50], [100]]), "good")
    script = f'case "$*" in *bs1*) cp {tmp_path}/good generator_bs1.om;; *) echo "E20001: no"; exit 255;; esac'
    put_on_path(tmp_path / "bin", {"atc": script}, monkeypatch)
    (tmp_path / "out").mkdir()
    with pytest.raises(ToolFailed, match="E20001"):
        export(tmp_path / "out", OmSettings((1, 8), (50, 100), "Ascend310P3"))
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ({"gears": [[50]]}, r"with the gears \[\(50,\)\], and \[\(50,\), \(100,\)\] were asked for"),
        ({"gears": [[50], [100]], "soc_version": "Ascend310B4"}, "for Ascend310B4, and Ascend310P3 was asked"),
    ],
)
def test_a_result_that_was_not_asked_for(tmp_path, monkeypatch, made, text):
    om_files.write(tmp_path, om_files.converted(**made), "good")
    put_on_path(tmp_path / "bin", {"atc": f"cp {tmp_path}/good generator_bs1.om"}, monkeypatch)
    (tmp_path / "out").mkdir()
    with pytest.raises(ToolFailed, match=text):
        export(tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_without_atc_no_onnx_is_made_first(tmp_path, monkeypatch):
    put_on_path(tmp_path / "bin", {}, monkeypatch)
    monkeypatch.setattr("hifigan_rt.tools.ascend.om_export.export_onnx", None)
    (tmp_path / "out").mkdir()
    with pytest.raises(ToolFailed, match="atc is not on the PATH"):
        export(tmp_path / "out")


def test_what_is_there_is_protected(tmp_path, simulator):
    (tmp_path / "generator_bs1.json").write_text("precious")
    with pytest.raises(OutputError, match=r"generator_bs1.json' exists already: --overwrite"):
        export(tmp_path)
    assert (tmp_path / "generator_bs1.json").read_text() == "precious"
    export(tmp_path, overwrite=True)
    assert read_record(tmp_path / "generator_bs1.om") is not None
    (tmp_path / "generator_bs1.om").unlink()
    (tmp_path / "generator_bs1.om").mkdir()
    with pytest.raises(OutputError, match="is a folder: move it away"):
        export(tmp_path, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file: name a folder"):
        export(tmp_path / "file")


# --- as a model ----------------------------------------------------------------------------------------------------


def test_resolved_with_the_config_of_its_record(tmp_path, simulator):
    (report,) = export(tmp_path)
    model = resolve_model(report.path)
    assert isinstance(model, OmFile)
    assert (model.path, model.config, model.mel) == (report.path, TINY, TINY.mel)
    assert model.graph == GENERATOR.graph
    assert model.format == f"om ({CAVEAT})"
    assert model.notes[0] == f"this .om says of itself: {CAVEAT}"
    # By its content, and in a folder too.
    report.path.rename(tmp_path / "renamed.bin")
    (tmp_path / "generator_bs1.json").rename(tmp_path / "renamed.json")
    assert resolve_model(tmp_path / "renamed.bin").config == TINY
    (tmp_path / "renamed.bin").rename(tmp_path / "renamed.om")
    assert resolve_model(tmp_path).path == tmp_path / "renamed.om"


@pytest.fixture
def foreign(tmp_path):
    """A container of the vendor's, of 80 bands, without a record."""
    return om_files.write(tmp_path, om_files.geared())


def test_without_a_record_a_config_is_asked_for(foreign):
    model = resolve_model(foreign)
    assert (model.config, model.mel, model.graph, model.num_mels, model.format) == (None, None, None, 80, "om")
    assert model.notes == ("no record lies beside this .om, and no config.json: give --config for mels and lengths",)
    assert resolve_model(foreign, "v1").graph is not None


def test_the_config_beside_and_a_record_before_it(foreign, tmp_path, simulator):
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(PRESETS["v2"])))
    assert resolve_model(foreign).config == PRESETS["v2"]
    (report,) = export(tmp_path)
    assert resolve_model(report.path).config == TINY


def test_a_config_of_other_bands(foreign, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    with pytest.raises(ConfigError, match=r"the config says 10, the input of .* has 80 bands"):
        resolve_model(foreign)


def test_a_record_of_another_file(foreign, tmp_path, simulator):
    (report,) = export(tmp_path)
    report.path.write_bytes(foreign.read_bytes())
    with pytest.raises(ModelFileError, match="their sha256 differ"):
        resolve_model(report.path)


@pytest.mark.parametrize("content", [b"", b"IMOD", om_files.geared()[:-9], b"PK\3\4 not an om"])
def test_a_damaged_om_is_told_as_such(tmp_path, content):
    with pytest.raises(ModelFileError, match=r"^Ascend model "):
        resolve_model(om_files.write(tmp_path, content))
