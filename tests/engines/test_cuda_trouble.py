"""Engine `cuda` where a card, its driver or its memory is not as it should be: mostly on an imitated card."""

import ctypes
import gc
import multiprocessing
import os
import shutil

import numpy as np
import pytest

import hifigan_rt._native as _native
from engines.test_cuda import TINY_GENERATOR, load, mels_of, scaled
from hifigan_rt.engines import cuda_network, why_unavailable
from hifigan_rt.engines.cuda_network import SignalPiece
from hifigan_rt.errors import EngineError, EngineUnavailable, StreamBroken
from hifigan_rt.mel.check import CheckedMel


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"devices": 0}, r"finds no card: look at what nvidia-smi says"),
        ({"version": 11040}, r"too old: it is for CUDA 11.4, and the kernels need 12.0 \(driver 525 or newer\)"),
        ({"init": 999}, r"does not start \(an imitated error\)"),
    ],
)
def test_a_driver_that_cannot_be_used(settings, text, imitated_card, monkeypatch, tmp_path):
    # A driver is opened once: this one by another name.
    path = tmp_path / "libcuda.so"
    path.symlink_to(os.environ["HIFIGAN_RT_CUDA_DRIVER"])
    monkeypatch.setenv("HIFIGAN_RT_CUDA_DRIVER", str(path))
    with imitated_card.having(**settings), pytest.raises(EngineUnavailable, match=text):
        load(TINY_GENERATOR)
    load(TINY_GENERATOR)  # it may have come since


def test_no_driver(monkeypatch):
    assert why_unavailable("cuda") is None
    monkeypatch.setenv("HIFIGAN_RT_CUDA_DRIVER", "/nowhere/libcuda.so.1")
    assert "needs NVIDIA's driver, which is not there (/nowhere/libcuda.so.1:" in (why_unavailable("cuda") or "")
    with pytest.raises(EngineUnavailable, match=r"driver is not there \(/nowhere.*install the driver of the card, 525"):
        load(TINY_GENERATOR)
    monkeypatch.setenv("HIFIGAN_RT_CUDA_DRIVER", "libc.so.6")
    with pytest.raises(EngineUnavailable, match=r"has no cu\w+: install 525 or newer"):
        load(TINY_GENERATOR)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"major": 7, "minor": 5}, r"imitated card has compute capability 7.5, and the kernels need 8.0"),
        ({"retain": 2}, r"has no memory left for a process more"),
        ({"retain": 46, "mode": 3}, r"is in exclusive use by another process"),
        ({"retain": 46, "mode": 2}, r"is closed to computing"),
        ({"load": 222}, r"no machine code for imitated card, and NVIDIA's driver is too old .*: install 575 or newer"),
    ],
)
def test_a_card_that_cannot_be_used(settings, text, imitated_card):
    with imitated_card.having(**settings), pytest.raises(EngineUnavailable, match=text):
        load(TINY_GENERATOR)


def test_a_card_is_asked_what_it_is_without_using_it(imitated_card):
    with imitated_card.having(retain=2):
        library = os.environ["HIFIGAN_RT_CUDA_DRIVER"]
        assert _native.cuda_device(library, 0) == ("imitated card", 80, 12090)


def test_cards_are_named_as_everywhere(imitated_card):
    with pytest.raises(EngineUnavailable, match=r"device 'cuda:1' is not there: NVIDIA's driver has cuda:0$"):
        load(TINY_GENERATOR, device="cuda:1")
    with pytest.raises(EngineError, match="device='gpu' is no card of engine 'cuda'"):
        load(TINY_GENERATOR, device="gpu")
    with imitated_card.having(devices=2):
        assert load(TINY_GENERATOR, device="cuda:1").info.device == "cuda:1 (imitated card)"
        with pytest.raises(EngineUnavailable, match=r"has cuda:0 to cuda:1$"):
            load(TINY_GENERATOR, device="cuda:2")


def test_kernels_that_do_not_load(monkeypatch):
    # No beginning of machine code: a real driver would believe its header, and read far behind it.
    monkeypatch.setattr(cuda_network, "image_for", lambda capability: (b"no kernels", f"sm_{capability}.cubin"))
    with pytest.raises(EngineUnavailable, match=r"the kernels do not load on .*: the file is damaged"):
        load(TINY_GENERATOR)


def test_a_pass_that_is_dropped_is_waited_for_and_nothing_behind_it(imitated_card):
    network = load(TINY_GENERATOR)._network
    pieces = [SignalPiece(mel, 0, finished=True) for mel in mels_of(TINY_GENERATOR, (4, 6))]
    before = imitated_card.get("launches")
    dropped, other = (network._begin([piece]) for piece in pieces)
    assert imitated_card.get("launches") == before
    del dropped
    assert imitated_card.get("launches") == before + len(network.plan.launches) + 1
    network.native.results(other)
    assert imitated_card.get("launches") == before + 2 * (len(network.plan.launches) + 1)


def test_no_memory_left(imitated_card):
    engine = load(TINY_GENERATOR)
    mels = mels_of(TINY_GENERATOR, (400,))
    expected = engine.run_many(mels)[0]
    free = imitated_card.get("free")
    refused = pytest.raises(
        EngineError, match=r"^imitated card has no memory left: \d+ MiB more are needed, and 0 MiB of"
    )
    for work in (
        lambda: load(TINY_GENERATOR),
        lambda: engine.run_many(mels * 4),
        lambda: [engine.stream(4) for _ in range(40)],
    ):
        imitated_card.set("free", 100)
        with refused:
            work()
    imitated_card.set("free", free)
    np.testing.assert_array_equal(engine.run_many(mels)[0], expected)


def test_a_model_takes_no_more_of_the_card_than_it_may(imitated_card):
    mels = mels_of(TINY_GENERATOR, (900, 20))
    expected = load(TINY_GENERATOR).run_many(mels)
    before = imitated_card.get("free")
    engine = load(TINY_GENERATOR, memory="0.002")
    assert engine._network.max_pass_frames < 900
    assert all(np.array_equal(a, b) for a, b in zip(engine.run_many(mels), expected, strict=True))
    streams = []
    with pytest.raises(
        EngineError, match=r"^the model may take 2 MiB of imitated card, has \d MiB.* setting memory, or open fewer"
    ):
        for _ in range(1000):
            streams.append(engine.stream(4))
    assert len(streams) >= 16
    assert before - imitated_card.get("free") <= 0.002 * 2**30
    streams.pop().close()  # a long mel keeps rows as well
    assert np.array_equal(engine.run_many(mels)[0], expected[0])
    for wrong in ("much", 0, -1, "nan", "inf", []):
        with pytest.raises(EngineError, match="is no number of GiB above 0"):
            load(TINY_GENERATOR, memory=wrong)
    with pytest.raises(EngineError, match="the model may take 0 MiB of imitated card"):
        load(TINY_GENERATOR, memory=1e-6)


def test_memory_of_passes_that_are_done_goes_to_one_that_needs_it(imitated_card):
    engine = load(TINY_GENERATOR)
    mel = mels_of(TINY_GENERATOR, (30,))[0]
    expected = engine.run_many([mel])[0]
    engine._network.max_pass_frames = 21_000
    one, longer = (CheckedMel(np.zeros((engine._graph.num_mels, frames), np.float32)) for frames in (20_000, 20_900))
    with imitated_card.having(idle=1):
        engine.run_many([one, one])  # two passes under way together
        with imitated_card.with_free(100):
            engine.run_many([longer])
    np.testing.assert_array_equal(engine.run_many([mel])[0], expected)


def test_a_network_that_is_scaled_is_not_on_the_card_twice(imitated_card):
    generator = scaled(1e7, ("conv_pre",))
    gc.collect()
    before = imitated_card.get("free")
    engine = load(generator)
    assert engine._network.gains
    taken = before - imitated_card.get("free")
    with imitated_card.with_free(taken * 5 // 4):
        load(generator)


def test_a_card_that_falls_away_ends_its_streams_and_nothing_else(imitated_card):
    engine = load(TINY_GENERATOR)
    streams = [engine.stream(2) for _ in range(3)]
    mels = mels_of(TINY_GENERATOR, (4, 5, 6))
    engine.advance(streams, mels)
    with imitated_card.having(lose=719):
        with pytest.raises(EngineError, match=r"an imitated error \(CUDA_ERROR_IMITATED\).*the card is lost"):
            engine.advance(streams, mels)
        with pytest.raises(StreamBroken):
            streams[0].finish()
        with pytest.raises(EngineError, match="the card is lost"):
            engine.run_many(mels)
        engine.close()
        del engine, streams
        gc.collect()  # what is freed then has no card to be freed on


@pytest.mark.parametrize("code", [214, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 911, 999])
def test_errors_that_end_a_process_say_so(code, imitated_card):
    with imitated_card.having(lose=code), pytest.raises(EngineError, match="the card is lost to this process: end it"):
        load(TINY_GENERATOR)


@pytest.mark.parametrize("code", [1, 701, 703, 704, 705, 708, 711, 712, 713, 720, 800])
def test_errors_that_end_a_call_alone_are_not_taken_for_more(code, imitated_card):
    with (
        imitated_card.having(lose=code),
        pytest.raises(EngineError, match=r"an imitated error \(CUDA_ERROR_IMITATED\)$"),
    ):
        load(TINY_GENERATOR)


def in_a_child(*works):
    """What each gives in a process that is forked from this one, or the name and text of its error."""

    def tell(pipe):
        for work in works:
            try:
                pipe.send(work())
            except EngineError as error:
                pipe.send((type(error).__name__, str(error)))

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=tell, args=(there,))
    child.start()
    told = [here.recv() if here.poll(20) else "nothing: it hangs" for _ in works]
    child.join(10)
    assert child.exitcode == 0
    return told


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_use_is_refused():
    engine = load(TINY_GENERATOR)
    mel = mels_of(TINY_GENERATOR, (4,))[0]
    expected = engine.run_many([mel])[0]
    stream = engine.stream(2)
    begun = engine._network._begin([SignalPiece(mel, 0, finished=True)])
    told = in_a_child(
        lambda: engine.run_many([mel]),
        lambda: engine.stream(2),
        lambda: stream.push(mel),
        lambda: engine._network.native.results(begun),
        lambda: load(TINY_GENERATOR),
        engine.close,
    )
    text = (
        "this process was forked from one that had started NVIDIA's driver, and cannot use it: start it with "
        "multiprocessing's method 'spawn', or load models only after the fork"
    )
    assert told == [("EngineError", text)] * 4 + [("EngineUnavailable", text), None]
    np.testing.assert_array_equal(engine.run_many([mel])[0], expected)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_before_use_loads_a_model_of_its_own(imitated_card, monkeypatch, tmp_path):
    mel = mels_of(TINY_GENERATOR, (4,))[0]
    expected = load(TINY_GENERATOR).run_many([mel])[0]
    # A driver that this process has looked for and not started.
    path = tmp_path / "libcuda.so"
    shutil.copy(os.environ["HIFIGAN_RT_CUDA_DRIVER"], path)
    monkeypatch.setenv("HIFIGAN_RT_CUDA_DRIVER", str(path))
    assert why_unavailable("cuda") is None
    (audio,) = in_a_child(lambda: load(TINY_GENERATOR).run_many([mel])[0])
    np.testing.assert_array_equal(audio, expected)
    # Another package of this process starts it.
    assert ctypes.CDLL(str(path)).cuInit(0) == 0
    ((name, text),) = in_a_child(lambda: load(TINY_GENERATOR))
    assert name == "EngineUnavailable"
    assert text.endswith("or load models only after the fork")


def test_streams_are_broken_together_where_the_card_fails(monkeypatch):
    monkeypatch.setattr(cuda_network, "MAX_PASS_ITEMS", 2)
    engine = load(TINY_GENERATOR)
    streams = [engine.stream(4) for _ in range(8)]
    begin, calls = engine._network._begin, iter(range(4))

    def failing(pieces):
        if next(calls):
            raise EngineError("no power")
        return begin(pieces)

    monkeypatch.setattr(engine._network, "_begin", failing)
    mel = CheckedMel(mels_of(TINY_GENERATOR, (4,))[0])
    with pytest.raises(EngineError, match="no power"):
        engine.advance(streams, [mel] * 8)
    for stream in streams:
        with pytest.raises(StreamBroken):
            stream.push(mel)
