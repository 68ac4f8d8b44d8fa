"""The ONNX Runtime engine: providers, threads, and what it refuses."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.onnx_files import batch_of_mels, foreign, own_model, write
from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.onnxruntime import CPU_PROVIDER, create
from hifigan_rt.errors import EngineError, EngineUnavailable, ModelFileError, PrecisionUnavailable
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.system.machine import usable_cores


def open_file(path: Path, options: EngineOptions = EngineOptions()):  # noqa: B008 - frozen
    return create(OnnxFile(path.name, path, "onnx"), options)


def open_model(model: onnx.ModelProto, folder: Path, options: EngineOptions = EngineOptions()):  # noqa: B008
    return open_file(write(model, folder / "foreign.onnx"), options)


def test_the_precision_of_the_weights_is_shown(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name.endswith(("weight", "bias")):
            halved = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}.half")
            tensor.CopyFrom(halved)
    casts = [helper.make_node("Cast", [t.name], [t.name.removesuffix(".half")], to=TensorProto.FLOAT)
             for t in model.graph.initializer if t.name.endswith(".half")]  # fmt: skip
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    engine = open_model(model, tmp_path)
    assert engine.info.precision == "float16"
    assert engine.run(batch_of_mels(1, 4)).shape == (1, 32)


def test_what_onnx_runtime_cannot_load_is_one_error_without_noise(tmp_path, capfd):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.node[3].op_type = "NoSuchOperator"
    with pytest.raises(EngineError, match=r"^ONNX Runtime cannot load ONNX file '.*NoSuchOperator"):
        open_model(model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_what_onnx_runtime_prints_is_no_result(tmp_path, capfd):
    """An error with a name that is not UTF-8, which its bindings cannot tell: it would print that, and try again."""
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.node[3].op_type = "NoSuchOperator"
    path = write(model, tmp_path / "foreign.onnx")
    path.write_bytes(path.read_bytes().replace(b"NoSuch", b"No\xffuch"))
    # Early releases of Python 3.11 raise ONNX Runtime's own class without a word.
    with pytest.raises(EngineError, match=r"'utf-8' codec can't decode|: InvalidGraph$"):
        open_file(path)
    assert capfd.readouterr() == ("", "")


def test_what_fails_while_running_is_one_error_without_noise(tmp_path, capfd):
    model = foreign(["b", 10, "t"], [], [("Reshape", {})], ["b", "n"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 24], np.int64), "shape"))
    model.graph.node[-1].input.append("shape")
    engine = open_model(model, tmp_path)
    assert engine.run(batch_of_mels(1, 3)).shape == (1, 24)
    with pytest.raises(EngineError, match=r"^ONNX Runtime failed on a mel \[B, M, T\] = \[1, 10, 4\]: .*Reshape"):
        engine.run(batch_of_mels(1, 4))
    assert capfd.readouterr() == ("", "")


def test_loading_and_running_prints_nothing(tmp_path):
    """In a fresh process: what the runtime says at its import counts too."""
    path = write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "tiny.onnx")
    program = (
        "import sys, numpy, hifigan_rt; from hifigan_rt.engines import create_engine\n"
        "from hifigan_rt.engines.base import EngineOptions; from hifigan_rt.model.resolve import resolve_model\n"
        "engine = create_engine('onnxruntime', resolve_model(sys.argv[1]), EngineOptions(threads=3))\n"
        "engine.run(numpy.zeros((2, 10, 30), numpy.float32))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_file_that_fails_inspection_never_reaches_the_runtime(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_: pytest.fail("the runtime was asked"))
    path = tmp_path / "page.onnx"
    path.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(ModelFileError, match="is an HTML page"):
        open_file(path)


# --- options -----------------------------------------------------------------------------------------------------


def test_info():
    info = create(own_model(), EngineOptions(threads=1)).info
    assert (info.name, info.version, info.precision) == ("onnxruntime", onnxruntime.__version__, "float32")
    assert (info.threads, info.device) == (1, CPU_PROVIDER)
    assert create(own_model(), EngineOptions()).info.threads == usable_cores()


@pytest.fixture
def session_arguments(monkeypatch):
    """What the session was asked for."""
    seen = {}
    real = onnxruntime.InferenceSession

    def spy(source, options, providers, **words):
        seen.update(options=options, providers=providers)
        return real(source, options, providers=providers, **words)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    return seen


def test_threads_reach_the_session_and_providers_are_always_named(session_arguments):
    create(own_model(), EngineOptions(threads=3))
    options = session_arguments["options"]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert session_arguments["providers"] == [CPU_PROVIDER]


def test_other_precisions_are_refused():
    with pytest.raises(PrecisionUnavailable, match="precision='bfloat16' is not offered"):
        create_engine("onnxruntime", own_model(), EngineOptions(precision="bfloat16"))


@pytest.mark.parametrize("name", [CPU_PROVIDER, "cpu", "CPU"])
def test_a_provider_by_name(name):
    assert create(own_model(), EngineOptions(settings={"execution_provider": name})).info.device == CPU_PROVIDER


def test_a_provider_that_is_not_in_the_build_lists_what_is():
    with pytest.raises(
        EngineUnavailable, match=r"execution_provider='cann' is not in this build.*CPUExecutionProvider"
    ):
        create(own_model(), EngineOptions(settings={"execution_provider": "cann"}))


def test_a_provider_that_did_not_start_is_an_error(monkeypatch):
    """As onnxruntime-cann without a driver behaves: the session comes up, on the CPU, with a warning only."""

    class Fake:
        def __init__(self, source, options, providers):
            assert providers == ["CANNExecutionProvider", CPU_PROVIDER]

        def get_providers(self):
            return [CPU_PROVIDER]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider", CPU_PROVIDER])
    with pytest.raises(EngineUnavailable, match="execution_provider='cann' is installed, and did not start here"):
        create(own_model(), EngineOptions(settings={"execution_provider": "cann"}))


def test_a_provider_that_is_in_the_session_is_the_device(monkeypatch):
    class Fake:
        def __init__(self, source, options, providers):
            pass

        def get_providers(self):
            return ["CANNExecutionProvider", CPU_PROVIDER]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider", CPU_PROVIDER])
    engine = create(own_model(), EngineOptions(settings={"execution_provider": "CANNExecutionProvider"}))
    assert engine.info.device == "CANNExecutionProvider"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_runs_and_frees_a_session():
    """Its threads, asleep in the parent, are none that the child could wait for."""
    engine = create(own_model(), EngineOptions(threads=2))
    mels = batch_of_mels(1, 30)
    expected = engine.run(mels)
    time.sleep(1)  # until they sleep
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        alike = np.array_equal(engine.run(mels), expected)
        engine.close()
        os._exit(0 if alike else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(engine.run(mels), expected)
