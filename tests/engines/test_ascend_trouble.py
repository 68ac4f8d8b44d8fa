"""Engine `ascend` when devices, files or packages are missing, do not fit or are damaged."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

import hifigan_rt
from ascend_simulator.environment import CAVEAT
from engines.ascend_models import works
from golden.tiny import TINY, tiny_mel
from hifigan_rt.engines import ascend
from hifigan_rt.engines.ascend_runtime import worker_client
from hifigan_rt.errors import EngineError, EngineUnavailable, MelError, ModelFileError
from hifigan_rt.formats.config_json import config_to_dict

GEARS = (100, 150)
MEL = tiny_mel(120)[None]


@pytest.fixture
def load(place):
    return lambda *device, **settings: place.engine(place.om(gears=GEARS), *device, **settings)


def test_a_simulator_file_on_a_real_runtime_is_refused(place, stand_in):
    om = place.om(gears=GEARS)
    stand_in()
    with pytest.raises(EngineError, match=rf"says '{CAVEAT}' of itself and runs on no Ascend chip: convert .*atc"):
        place.engine(om)


def test_a_real_file_on_the_simulator_is_refused(place, monkeypatch):
    om = place.om(gears=GEARS)
    tell(monkeypatch, caveat="")
    with pytest.raises(EngineError, match=rf"aclruntime of .* says '{CAVEAT}' of itself, and .* was not made for it"):
        place.engine(om)


def tell(monkeypatch, **changes):
    """Let the engine think that an .om tells something else."""
    read = ascend.read_om
    monkeypatch.setattr(ascend, "read_om", lambda path: dataclasses.replace(read(path), **changes))


def test_an_interpreter_without_the_packages(place, stand_in, monkeypatch):
    om = place.om(gears=GEARS)
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(
        EngineUnavailable, match=r"needs aclruntime, which .*python.* does not have: install the wheels"
    ):
        place.engine(om)
    stand_in()
    with pytest.raises(EngineUnavailable, match=r"needs ais_bench, which"):
        place.engine(om, backend="ais_bench")
    stand_in("", "ais_bench/__init__.py")
    with pytest.raises(EngineUnavailable, match=r"it is another tool of the same name \(AISBench for language models"):
        place.engine(om, backend="ais_bench")


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (
            "raise ImportError('libascendcl.so: cannot open shared object file')",
            r"libraries were not found: source set_env",
        ),
        (
            "raise ImportError('undefined symbol: PyUnicode_AsWhat')",
            "the wheel may be of another Python or CANN version",
        ),
    ],
)
def test_packages_that_do_not_import(place, stand_in, code, way_out):
    om = place.om(gears=GEARS)
    stand_in(code)
    with pytest.raises(EngineUnavailable, match=way_out):
        place.engine(om)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "#!/bin/sh\necho no python; exit 7",
            "ended with status 7 while importing aclruntime; the last it printed: no",
        ),
        ("#!/bin/sh\nsleep 600", "did not answer within 0.5 s while importing aclruntime, and was stopped"),
        ("no program", "cannot be started"),
    ],
)
def test_an_interpreter_that_is_none(place, tmp_path, monkeypatch, script, text):
    om = place.om(gears=GEARS)
    path = tmp_path / "python"
    path.write_text(script)
    path.chmod(0o700)
    monkeypatch.setenv("HIFIGAN_ASCEND_PYTHON", str(path))
    monkeypatch.setattr(worker_client, "START_TIMEOUT_S", 0.5 if "sleep" in script else 60)
    with pytest.raises(EngineError, match=text):
        place.engine(om)


def test_an_interpreter_behind_a_shell_script_that_sets_the_environment(place, tmp_path, monkeypatch):
    path = tmp_path / "ascend-python"
    path.write_text(f'#!/bin/sh\necho "environment set"\n"{sys.executable}" "$@"\n')
    path.chmod(0o700)
    monkeypatch.setenv("HIFIGAN_ASCEND_PYTHON", str(path))
    works(place.engine(place.om(gears=GEARS)), MEL)


def test_devices_that_are_missing_or_busy(place):
    om = place.om(gears=GEARS)
    with pytest.raises(
        EngineUnavailable, match=r"^Ascend device 7 cannot be opened: .*npu-smi shows Ascend310P3 \(device 0"
    ):
        place.engine(om, device="0,7")
    place.simulator.set(FAULT="acl:busy=0")
    with pytest.raises(EngineUnavailable, match=r"^Ascend device 0 cannot be opened: .*another process has it.*507033"):
        place.engine(om)
    place.simulator.set(FAULT="acl:busy=0,npu-smi:no-permission=255")
    with pytest.raises(EngineUnavailable, match=r"'npu-smi info -m' lists what is there"):
        place.engine(om)


@pytest.mark.parametrize("backend", ["aclruntime", "ais_bench"])
def test_a_model_for_another_chip(place, backend):
    om = place.om(gears=GEARS)
    place.simulator.set(SOC="Ascend310B1")
    with pytest.raises(EngineError) as caught:
        place.engine(om, backend=backend)
    text = str(caught.value)
    assert text.startswith(f"{str(om)!r} was converted for Ascend310P3, and npu-smi shows Ascend310B1 (device 0)")
    assert "--soc" in text


def test_an_error_on_the_chip_while_it_runs(place):
    place.simulator.set(FAULT="acl:execute")
    engine = place.engine(place.om(gears=GEARS))
    for _ in range(2):
        with pytest.raises(EngineError, match=r"507011"):
            engine.run(MEL)


def test_gears_that_the_file_does_not_have(place, monkeypatch):
    tell(monkeypatch, dynamic_dims=((99,), (150,)))
    engine = place.engine(place.om(gears=GEARS))
    with pytest.raises(EngineError, match=r"the gears that .* was compiled with are not those that its file tells"):
        engine.run(tiny_mel(99)[None])


@pytest.mark.parametrize("bytes_kept", [0, 3, 40, 3000])
def test_truncated_and_damaged_files(place, tmp_path, bytes_kept):
    damaged = tmp_path / "damaged.om"
    damaged.write_bytes(place.om(gears=GEARS).read_bytes()[:bytes_kept])
    with pytest.raises((ModelFileError, EngineError), match=r"damaged\.om"):
        place.engine(damaged)


def test_paths_that_ais_bench_refuses(place, tmp_path):
    if place.simulator.generation == 6:
        return  # the older one checks no paths
    om = place.om(gears=GEARS)
    (tmp_path / "link.om").symlink_to(om)
    open_to_all = tmp_path / "open.om"
    open_to_all.write_bytes(om.read_bytes())
    open_to_all.chmod(0o666)
    named = tmp_path / "modèle.om"
    named.write_bytes(om.read_bytes())
    named.chmod(0o640)
    for path, reason in (
        (tmp_path / "link.om", "it is a soft link: name "),
        (open_to_all, r"others than its owner may write to it \(mode 0666\): chmod 640 "),
        (named, "its name holds 'è': only A-Z"),
    ):
        with pytest.raises(EngineError, match=f"^ais_bench does not accept the path .*: {reason}"):
            place.engine(path, backend="ais_bench")
        works(place.engine(path), MEL)


def test_a_model_whose_layers_are_not_known(place):
    from hifigan_rt.engines import create_engine
    from hifigan_rt.engines.base import EngineOptions
    from hifigan_rt.model.kinds import OmFile

    om = place.om(gears=GEARS)
    with pytest.raises(EngineError, match=r"the layers of the model must be known .* config\.json with --config$"):
        create_engine("ascend", OmFile("m", om, "om"), EngineOptions())


def test_a_config_of_another_model(place):
    from dataclasses import replace

    from hifigan_rt.config import GeneratorConfig, ModelConfig
    from hifigan_rt.engines import create_engine
    from hifigan_rt.engines.base import EngineOptions
    from hifigan_rt.model.kinds import OmFile

    om = place.om(gears=GEARS)
    other = ModelConfig(GeneratorConfig(8, (4, 4), (8, 8), "1", (3, 5), ((1, 3), (1, 2)), num_mels=10))
    model = OmFile("m", om, "om", other)
    engine = create_engine("ascend", model, EngineOptions())
    place.engines.append(engine)
    with pytest.raises(EngineError, match=r"its config says 1600 \(hop length 16\): that is 8 samples a frame"):
        engine.run(tiny_mel(100)[None])
    five = replace(TINY.generator, num_mels=5)
    with pytest.raises(EngineError, match=r"which is no mel of 5 bands"):
        create_engine("ascend", replace(model, config=ModelConfig(five)), EngineOptions())


def test_bands_that_the_model_does_not_take(place, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_to_dict(TINY)))
    with (
        hifigan_rt.load(place.om(gears=GEARS), config=config) as vocoder,
        pytest.raises(MelError, match=r"the mel has 9 bands \(shape \[9, 100\]\), and this model takes 10"),
    ):
        vocoder(np.zeros((9, 100), np.float32))
