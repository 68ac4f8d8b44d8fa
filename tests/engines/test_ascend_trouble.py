"""Engine `ascend` when devices, files or packages are missing, do not fit or are damaged."""

from __future__ import annotations

import dataclasses
import json
import re
import sys

import numpy as np
import onnx
import pytest

import hifigan_rt
from ascend_simulator.environment import CAVEAT, PYTHON
from ascend_simulator.models import arguments, change_onnx, convert, write_onnx
from engines.ascend_models import works
from golden.tiny import TINY, tiny_mel
from hifigan_rt.engines import ascend, why_unavailable
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


def test_a_file_of_dynamic_batch_sizes_is_refused_before_it_fails_every_mel(place, tmp_path):
    """aclruntime runs it by another call, and says of this one: no dynamic_dims (SetDynamicDims there)."""
    place.simulator.set(OM_NAMING="plain")
    om = convert(
        place.simulator, tmp_path, dynamic_dims=None, dynamic_batch_size="1,4", input_shape="mel_spec:-1,10,100"
    )
    with pytest.raises(EngineError, match=r"--dynamic_batch_size, .* convert it with --dynamic_dims, or with"):
        place.engine(om)


@pytest.mark.parametrize(
    ("end", "dtype", "text"),
    [
        ("input", onnx.TensorProto.UINT8, "takes mels as uint8, .* convert it without --insert_op_conf"),
        ("output", onnx.TensorProto.INT8, "gives audio as int8, .* convert it without --output_type"),
        ("output", onnx.TensorProto.INT32, "gives audio as int32, .* export it without its conversion to integers"),
        ("output", onnx.TensorProto.FLOAT16, None),
    ],
)
def test_a_file_that_takes_or_gives_whole_numbers(place, tmp_path, end, dtype, text):
    """As atc's options make it: mels and samples were cut, and the audio was silent or clicks."""

    def change(model):
        graph = model.graph
        value = getattr(graph, end)[0]
        inner = next(node for node in graph.node if value.name in (node.input if end == "input" else node.output))
        names = inner.input if end == "input" else inner.output
        names[list(names).index(value.name)] = "inner"
        outer = ([value.name], ["inner"]) if end == "input" else (["inner"], [value.name])
        kind = onnx.TensorProto.FLOAT if end == "input" else dtype
        graph.node.insert(0 if end == "input" else len(graph.node), onnx.helper.make_node("Cast", *outer, to=kind))
        value.type.tensor_type.elem_type = dtype

    model = change_onnx(write_onnx(tmp_path / "m.onnx"), change)
    done = place.simulator.atc(*arguments(model, str(tmp_path / "m")))
    assert done.returncode == 0, done.stdout
    (tmp_path / "m.om").chmod(0o640)
    if text is None:
        assert np.ptp(place.engine(tmp_path / "m.om").run(MEL)) > 0
        return
    with pytest.raises(EngineError, match=rf"m\.om {text}"):
        place.engine(tmp_path / "m.om")


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
        (
            "#!/bin/sh\necho '[error] [ACL ERROR] EZ9999: Inner Error!'\n"
            "echo 'EZ9999[PID: 7] 2026-01-02-03:04:05.006 (EZ9999):  no library'\necho end; exit 9",
            r"ended with status 9 while importing aclruntime; it named: EZ9999: no library$",
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


def test_an_interpreter_without_numpy(place, tmp_path, monkeypatch):
    """A system's Python has the wheel, which brings no NumPy."""
    om = place.om(gears=GEARS)
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{PYTHON}" "{sys.executable}" -S "$@"\n')
    path.chmod(0o700)
    monkeypatch.setenv("HIFIGAN_ASCEND_PYTHON", str(path))
    text = f"engine 'ascend' needs numpy, which '{path}' does not have: {path} -m pip install numpy"
    assert text in (why_unavailable("ascend") or "")
    with pytest.raises(EngineUnavailable, match=re.escape(text)):
        place.engine(om)


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


@pytest.mark.parametrize("backend", ["aclruntime", "ais_bench"])
def test_paths_that_the_vendors_tools_refuse(place, tmp_path, backend, monkeypatch):
    """aclruntime of 2025 and ais_bench of 2024 have these rules: they are told before a worker starts."""
    om = place.om(gears=GEARS)
    (tmp_path / "link.om").symlink_to(om)

    def copy(name, mode=0o640):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(om.read_bytes())
        path.chmod(mode)
        return path

    good = copy("good.om")
    with monkeypatch.context() as patch:
        patch.setattr(worker_client.DeviceWorker, "__init__", None)
        for path, reason in (
            (tmp_path / "link.om", "it is a soft link: name "),
            (copy("open.om", 0o666), r"others than its owner may write to it \(mode 0666\): chmod 640 "),
            (copy("group.om", 0o664), r"others than its owner may write to it \(mode 0664\): chmod 640 "),
            (copy("modèle.om"), "its name holds 'è': only A-Z"),
            (copy("a b/m.om"), "its name holds ' ': only A-Z"),
            (copy("m.bin"), r"its name ends in '\.bin': rename it to \.om"),
        ):
            with pytest.raises(EngineError, match=f"^{backend} does not accept the path .*: {reason}"):
                place.engine(path, backend=backend)
    place.simulator.set(TOOLS="2026")
    works(place.engine(good, backend=backend), MEL)


@pytest.mark.parametrize("tools", ["", "2026"])
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("memory", "has too little free memory"),
        ("heartbeat", "does not answer"),
        ("in-use", "is in use, by another process"),
    ],
)
@pytest.mark.parametrize("simulator", [8], indirect=True)
def test_a_cause_decides_before_the_return_value_that_many_share(place, fault, text, tools):
    om = place.om(gears=GEARS)
    place.simulator.set(FAULT=f"acl:{fault}", TOOLS=tools)
    with pytest.raises(EngineError, match=rf"^.*device 0 {text}.*\(E.0?.*\| \[507033\]"):
        place.engine(om)


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
