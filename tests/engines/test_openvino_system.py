"""The OpenVINO engine among processes, signals and threads: imports, Ctrl-C, forks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.onnx_files import batch_of_mels, own_model, write
from golden.tiny import TINY, tiny_generator, write_tiny
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.openvino import create
from hifigan_rt.errors import EngineError
from hifigan_rt.formats.onnx_graph import build_onnx


def test_importing_sends_nothing_says_nothing_and_leaves_openvino_whole(tmp_path):
    """In a fresh process without opt-out, with every connection and child process barred."""
    program = (
        "import sys, socket, subprocess, os, multiprocessing.process\n"
        "def no(*_, **__): os.write(1, b'SENT'); os._exit(1)\n"
        "socket.socket.connect = socket.create_connection = multiprocessing.process.BaseProcess.start = no\n"
        "import numpy; from hifigan_rt.engines import create_engine\n"
        "from hifigan_rt.engines.base import EngineOptions; from hifigan_rt.model.resolve import resolve_model\n"
        "engine = create_engine('openvino', resolve_model(sys.argv[1]), EngineOptions(threads=3))\n"
        "engine.run(numpy.zeros((2, 10, 30), numpy.float32))\n"
        "import openvino; openvino.convert_model\n"
        "assert not [name for name in sys.modules if 'openvino_telemetry' in name], 'telemetry was imported'\n"
    )
    path = write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "tiny.onnx")
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        env=environment | {"HOME": str(home)},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert list(home.iterdir()) == []


def test_ctrl_c_ends_a_long_run_at_once_and_the_engine_goes_on(tmp_path):
    program = (
        "import sys, time, numpy; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from golden.tiny import TINY; from engines.onnx_files import own_model\n"
        "from native_generators import V1_MODEL\n"
        "from hifigan_rt.engines import create_engine; from hifigan_rt.engines.base import EngineOptions\n"
        "engine = create_engine('openvino', V1_MODEL, EngineOptions(threads=1))\n"
        "mel = numpy.zeros((40, 80, 2000), numpy.float32)\n"
        "before = engine.run(mel[:1, :, :9])\n"
        "print('ready', flush=True)\n"
        "try:\n    engine.run(mel)\nexcept KeyboardInterrupt:\n"
        "    print('interrupted', numpy.array_equal(engine.run(mel[:1, :, :9]), before))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parents[1])], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == "interrupted True\n"


def test_ctrl_c_after_another_thread_freed_the_engine(tmp_path):
    program = (
        "import os, signal, sys, threading, time, hifigan_rt\n"
        "held = [hifigan_rt.load(sys.argv[1], engine='openvino')]\n"
        "thread = threading.Thread(target=held.clear)\n"
        "thread.start()\n"
        "thread.join()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(20)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    # With its handler of faults Python has a stack for signals of its own.
    for options in ([], ["-X", "faulthandler"]):
        command = [sys.executable, *options, "-c", program, str(write_tiny(tmp_path))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        assert (done.stdout, done.returncode) == ("interrupted\n", 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_was_forked_after_a_model_was_loaded_is_refused():
    """It would wait for ever, whatever it loads."""
    engine, mels = create(own_model(), EngineOptions(threads=2)), batch_of_mels(1, 30)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        refused = 0
        for call in (lambda: engine.run(mels), lambda: create(own_model(), EngineOptions(threads=2))):
            try:
                call()
            except EngineError as error:
                refused += str(error).startswith("OpenVINO does not work in a process that was forked from one that")
        os._exit(0 if refused == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    engine.run(mels)
