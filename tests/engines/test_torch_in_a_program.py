"""The PyTorch engine in the program that calls it: its switches and modes, its threads, and what it forks."""

import itertools
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from engines.test_torch import COMPILED, ROOT, load
from engines.test_torch_rows import GENERATORS, make_rows, mels_of
from golden.tiny import tiny_mel
from hifigan_rt.engines.torch_module import Form
from hifigan_rt.engines.torch_settings import convolutions
from hifigan_rt.errors import EngineError, EngineUnavailable

pytestmark = pytest.mark.torch

OWN_PRECISION = hasattr(torch.backends.cudnn, "conv")
"""Whether convolutions have a precision of their own: since PyTorch 2.9."""


def precision_of_convolutions():
    if OWN_PRECISION:
        return torch.backends.cudnn.conv.fp32_precision
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


def precisions():
    """Of convolutions by cuDNN and by oneDNN, which has no other before 2.9."""
    return precision_of_convolutions(), torch.backends.mkldnn.conv.fp32_precision if OWN_PRECISION else "ieee"


def test_switches_of_the_process_are_put_back_and_precisions_take_turns():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, precision_of_convolutions()
    cudnn.benchmark = True
    try:
        entered = threading.Event()
        seen = []

        def other_precision():
            with convolutions("cuda", tf32=True):
                seen.append((cudnn.benchmark, precision_of_convolutions()))
                entered.set()

        with convolutions("cuda"), convolutions("cuda"):
            assert (cudnn.benchmark, precision_of_convolutions()) == (False, "ieee")
            thread = threading.Thread(target=other_precision)
            thread.start()
            assert not entered.wait(0.05)
        thread.join()
        assert seen == [(False, "tf32")]
        assert (cudnn.benchmark, precision_of_convolutions()) == (True, before[1])
    finally:
        cudnn.benchmark = before[0]


def states_before_2_9():
    before = torch.backends.cudnn.allow_tf32
    for allowed in (False, True, before):
        torch.backends.cudnn.allow_tf32 = allowed
        yield precision_of_convolutions(), "ieee"


def states_since_2_9():
    everywhere, cudnn, mkldnn = torch.backends, torch.backends.cudnn, torch.backends.mkldnn
    for owner, value in ((cudnn, "ieee"), (everywhere, "tf32"), (everywhere, "bf16")):
        owner.fp32_precision = value
        yield cudnn.conv.fp32_precision, mkldnn.conv.fp32_precision, cudnn.rnn.fp32_precision
        owner.fp32_precision = "none"
        yield cudnn.conv.fp32_precision, mkldnn.conv.fp32_precision, cudnn.rnn.fp32_precision


def test_convolutions_follow_the_precision_of_all_operators_after_a_call_as_before():
    states = states_since_2_9 if OWN_PRECISION else states_before_2_9
    seen = []
    expected = list(states())
    for tf32 in (False, True):
        with convolutions("cuda", tf32=tf32), convolutions("cpu"):
            pass
    for state in states():
        seen.append(state)
        with convolutions("cuda"), convolutions("cpu"):
            assert precisions() == ("ieee", "ieee")
    assert seen == expected


def test_float32_is_never_tensorfloat32(monkeypatch):
    import hifigan_rt.engines.torch as module

    seen = []
    forward = module.TorchGenerator.forward

    def spy(self, mel):
        seen.append(precisions())
        return forward(self, mel)

    monkeypatch.setattr(module.TorchGenerator, "forward", spy)
    engine = load()
    before = precisions()
    seen.clear()
    engine.run(tiny_mel(5)[None])
    assert seen == [(before[0], "ieee")]
    with pytest.raises(EngineError):
        engine.run(np.zeros((1, 3, 5), np.float32))
    assert precisions() == before


def test_what_cards_do_meanwhile_is_as_the_program_has_it(monkeypatch):
    import hifigan_rt.engines.torch as module

    def of_cards():
        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.allow_tf32, precision_of_convolutions()

    def spy(self, mel):
        seen.append(of_cards())
        return forward(self, mel)

    seen = []
    forward = module.TorchGenerator.forward
    engine = load()
    monkeypatch.setattr(module.TorchGenerator, "forward", spy)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    expected = of_cards()
    engine.run(tiny_mel(5)[None])
    assert seen == [expected]


def test_threads_are_those_of_the_engine_during_a_call_and_put_back_after_it(monkeypatch):
    import hifigan_rt.engines.torch as module

    seen = []
    forward = module.TorchGenerator.forward

    def spy(self, mel):
        seen.append(torch.get_num_threads())
        return forward(self, mel)

    monkeypatch.setattr(module.TorchGenerator, "forward", spy)
    engines = {count: load(threads=count) for count in (1, 2, 3)}
    before = torch.get_num_threads()
    seen.clear()
    for count, engine in engines.items():
        engine.run(tiny_mel(5)[None])
        assert seen.pop() == count == engine.info.threads
        assert torch.get_num_threads() == before
    # PyTorch keeps the number per calling thread, so that engines side by side do not change one another's.
    with ThreadPoolExecutor(3) as pool:
        for engine in list(engines.values()) * 10:
            pool.submit(engine.run, tiny_mel(5)[None])
    assert sorted(seen) == sorted([*engines] * 10)
    assert torch.get_num_threads() == before


@contextmanager
def default_of(name, value, usual):
    """One of PyTorch's defaults, changed by the calling program."""
    getattr(torch, name)(value)
    try:
        yield
    finally:
        getattr(torch, name)(usual)


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "dtype": lambda: default_of("set_default_dtype", torch.bfloat16, torch.float32),
    "wide dtype": lambda: default_of("set_default_dtype", torch.float64, torch.float32),
    "device": lambda: default_of("set_default_device", "meta", None),
}


def test_what_the_calling_program_has_switched_on_changes_no_bit():
    mel = tiny_mel(20)[None]
    engine = load()
    expected = engine.run(mel)
    for mode in MODES.values():
        with mode():
            loaded = load()
            audios = [engine.run(mel), loaded.run(mel)]
        for audio in [*audios, loaded.run(mel)]:
            assert audio.dtype == np.float32
            np.testing.assert_array_equal(audio, expected)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_recorded_is_the_same_whatever_the_calling_program_has_switched_on(mode):
    generator, form = GENERATORS["like v1"], Form(torch.float32, torch.float32, folded=True)
    mels = mels_of(generator, [30, 1, 2, 44])
    expected = make_rows(generator, form)[0].run(mels)
    with MODES[mode]():
        rows, card = make_rows(generator, form)
        audios = [rows.run(mels), rows.run([torch.from_numpy(mel) for mel in mels]), rows.submit(mels, [False] * 4)()]
    audios += [rows.run(mels), rows.run([torch.from_numpy(mel) for mel in mels])]
    assert card.captured == len(rows.lengths)
    for audio, other in zip(itertools.chain(*audios), expected * len(audios), strict=True):
        assert audio.dtype in (np.float32, torch.float32)
        np.testing.assert_array_equal(np.asarray(audio), other)


def test_a_model_on_a_card_does_not_survive_a_fork(monkeypatch):
    engine = load()
    engine._device = torch.device("cuda:0")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(EngineError, match="on a GPU cannot be used in a process that was forked after it was loaded"):
        engine.run(tiny_mel(5)[None])


def test_a_compiled_model_does_not_survive_a_fork(monkeypatch):
    import hifigan_rt.engines.torch_settings as settings
    from hifigan_rt.engines.torch_compiled import CompiledModule

    engine = load()
    engine._computer = CompiledModule(engine._computer)
    monkeypatch.setattr(engine, "_process", -1)
    with pytest.raises(EngineError, match="compiled by PyTorch cannot be used in a process that was forked"):
        engine.run(tiny_mel(5)[None])
    monkeypatch.setattr(settings, "_forked", True)
    with pytest.raises(EngineUnavailable, match=r"^mode='compiled' does not work in a process that was forked"):
        load(settings=COMPILED)


def test_a_forked_process_computes_on_the_processor():
    code = """
    import os
    import tolerances
    from engines.test_torch import load, snr_db, tiny_mel
    from hifigan_rt.engines.torch_settings import convolutions

    mel = tiny_mel(400)[None]
    engine = load(threads=2)
    expected = engine.run(mel)
    with convolutions("cpu", tf32=True):  # as another thread may
        child = os.fork()
        if child == 0:
            for each in (engine, load(threads=2)):
                assert snr_db(expected[0], each.run(mel)[0]) >= tolerances.FLOAT32_ENGINE_SNR_DB
            os._exit(0)
    raise SystemExit(os.waitpid(child, 0)[1])
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    assert subprocess.run(run, env=environment, timeout=120, check=False).returncode == 0
