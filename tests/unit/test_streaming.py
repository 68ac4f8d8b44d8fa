"""The stream that users get: latency, bookkeeping, what it refuses, and what it survives."""

import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import hifigan_rt
import tolerances
from golden.tiny import TINY, tiny_generator, tiny_mel, write_tiny
from hifigan_rt.config import MelConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.errors import (
    ConfigError,
    EngineError,
    MelConventionWarning,
    MelError,
    StreamBroken,
    StreamBusy,
    StreamClosed,
    StreamFinished,
)
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import MAX_FRAMES
from hifigan_rt.model.kinds import OnnxFile, Weights
from hifigan_rt.streaming import Stream
from waiting import at_once

MODEL = Weights("tiny", Path("none"), "none", tiny_generator(), TINY.mel)
GRAPH = MODEL.graph


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="native") as loaded:
        yield loaded


@pytest.fixture
def stream(vocoder):
    with vocoder.stream() as opened:
        yield opened


def pushed(stream, mel, size=7):
    parts = [stream.push(mel[:, start : start + size]) for start in range(0, mel.shape[1], size)]
    return np.concatenate([*parts, stream.finish()])


@pytest.mark.parametrize("engine", ["native", "onnxruntime", "reference"])
@pytest.mark.parametrize("segment", [1, 16, 33])
def test_a_stream_equals_the_call_with_its_segments(tmp_path, engine, segment):
    vocoder = hifigan_rt.load(write_tiny(tmp_path), engine=engine)
    mel = tiny_mel(70)
    whole = vocoder(mel, segment_frames=segment)
    assert (whole.dtype, whole.shape) == (np.float32, (vocoder.output_length(70),))
    if engine == "reference":
        np.testing.assert_allclose(pushed(vocoder.stream(segment), mel), whole, rtol=0, atol=1e-7)
    else:
        np.testing.assert_array_equal(pushed(vocoder.stream(segment), mel), whole)


def test_segments_of_a_call_are_those_of_the_engine(tmp_path):
    path, mel = write_tiny(tmp_path), tiny_mel(70)
    for segment in (1, 8, 64):
        expected = hifigan_rt.load(path, engine="native", segment_frames=segment)(mel)
        np.testing.assert_array_equal(hifigan_rt.load(path, engine="native")(mel, segment_frames=segment), expected)


def test_batches_and_lists_in_segments(vocoder):
    mels = [tiny_mel(20), tiny_mel(35)]
    alone = [vocoder(mel, segment_frames=8) for mel in mels]
    for audio, expected in zip(vocoder(mels, segment_frames=8), alone, strict=True):
        np.testing.assert_array_equal(audio, expected)
    np.testing.assert_array_equal(vocoder(np.stack([mels[0]] * 2), segment_frames=8), np.stack([alone[0]] * 2))


def test_latency_is_told_in_its_two_parts(stream):
    look_ahead = -1000 * GRAPH.receptive_field.first_sample / 8000
    assert stream.segment_frames == 16
    assert stream.sample_rate == 8000
    assert stream.look_ahead_ms == pytest.approx(look_ahead)
    assert stream.segment_ms == pytest.approx(1000 * 16 * 8 / 8000)
    assert stream.algorithmic_latency_ms == pytest.approx(look_ahead + 16)


@pytest.mark.pretrained
def test_latency_and_state_of_v1():
    with hifigan_rt.load("ljspeech-v1") as vocoder:
        stream = vocoder.stream()
        assert stream.look_ahead_ms == pytest.approx(147.8, abs=0.05)  # 3258 samples at 22,050 Hz
        assert stream.segment_ms == pytest.approx(185.8, abs=0.05)
        assert 400_000 < stream.state_bytes < 800_000


def test_the_latency_holds(vocoder):
    """Each sample is out with the frame that ends `algorithmic_latency_ms` after it, and the slowest not before."""
    stream = vocoder.stream(8)
    longest, samples = 0.0, 0
    for frame in range(80):
        samples_before, samples = samples, samples + len(stream.push(tiny_mel(80)[:, frame : frame + 1]))
        if samples > samples_before:
            longest = max(longest, (frame + 1) * 8 - samples_before)
    assert 1000 * longest / 8000 == pytest.approx(stream.algorithmic_latency_ms)


def test_pending_samples_are_what_finish_gives(stream):
    assert stream.pending_samples == 0
    for size in (1, 0, 14, 1, 40, 3):
        before = stream.pending_samples
        given = len(stream.push(tiny_mel(60)[:, :size]))
        assert stream.pending_samples == before + 8 * size - given
    pending = stream.pending_samples
    assert len(stream.finish()) == pending
    assert stream.pending_samples == 0


def test_nothing_in_nothing_out(stream):
    assert len(stream.push(np.empty((10, 0), np.float32))) == 0
    assert len(stream.push(np.empty((10, 0)))) == 0
    assert len(stream.finish()) == 0


@pytest.mark.torch
def test_tensors_without_frames_are_nothing_in(stream, torch):
    assert len(stream.push(torch.empty(10, 0))) == 0
    assert [len(audio) for audio in hifigan_rt.advance([stream], [torch.empty(10, 0)])] == [0]
    with pytest.raises(MelError, match="9 bands"):
        stream.push(torch.empty(9, 0))


@pytest.mark.parametrize(
    ("mel", "text"),
    [
        (np.zeros((9, 4), np.float32), "bands"),
        (np.zeros((9, 0), np.float32), "mel"),
        (np.zeros(10, np.float32), "mel"),
        (np.zeros((2, 10, 4), np.float32), r"frames are of shape \[2, 10, 4\]: a push takes \[M, F\] with M=10"),
        (np.zeros((10, 4), np.int32), "float"),
        (np.zeros((10, 4), complex), "float"),
        (np.full((10, 4), np.nan, np.float32), "NaN"),
        (np.full((10, 4), 1e300), "beyond float32"),
        ([["a"]], "mel"),
        (None, "mel"),
        ([[1.0], [2.0, 3.0]], "mel"),
    ],
)
def test_what_is_no_mel_is_refused_and_leaves_the_stream_as_it_was(vocoder, stream, mel, text):
    good = tiny_mel(40)
    parts = [stream.push(good[:, :20])]
    with pytest.raises(MelError, match=text):
        stream.push(mel)
    parts += [stream.push(good[:, 20:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), vocoder(good, segment_frames=16))


def test_any_layout_and_float_of_frames_is_taken(vocoder):
    good = tiny_mel(40)
    expected = vocoder(good, segment_frames=16)
    for mel in (good.astype(np.float64), np.asfortranarray(good), good.astype(">f4"), good[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(pushed(vocoder.stream(), mel), expected)


def test_the_frames_are_not_kept(vocoder, stream):
    good = tiny_mel(40)
    frames = good[:, :5].copy()
    parts = [stream.push(frames)]
    frames[:] = 9
    parts += [stream.push(good[:, 5:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), vocoder(good, segment_frames=16))


def test_another_convention_is_noticed_in_pushes_too(vocoder):
    with pytest.warns(MelConventionWarning):
        vocoder.stream().push(np.full((10, 50), 30, np.float32))
    with warnings.catch_warnings(), pytest.raises(MelConventionWarning):
        warnings.simplefilter("error")
        stream = vocoder.stream()
        stream.push(np.full((10, 50), 30, np.float32))


def test_after_the_end_only_reset(stream):
    stream.push(tiny_mel(9))
    stream.finish()
    for call in (stream.finish, lambda: stream.push(tiny_mel(9))):
        with pytest.raises(StreamFinished, match=r"^the stream is finished: reset it, or open a new one$"):
            call()
    stream.reset()
    assert len(np.concatenate([stream.push(tiny_mel(9)), stream.finish()])) == 72


def test_a_closed_stream_and_a_closed_vocoder_say_so(vocoder):
    stream, other = vocoder.stream(), vocoder.stream()
    stream.close()
    stream.close()
    for call in (stream.finish, stream.reset, lambda: stream.push(tiny_mel(9)), lambda: stream.state_bytes):
        with pytest.raises(StreamClosed, match=r"^the stream is closed: open a new one$"):
            call()
    assert stream.pending_samples == 0
    vocoder.close()
    for call in (other.finish, other.reset, lambda: other.push(tiny_mel(9)), vocoder.stream):
        with pytest.raises(EngineError, match="'native' is closed: load the model again"):
            call()


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("segment", [np.uint8(4), np.int8(4), np.int16(4)])
def test_a_segment_length_of_numpys_does_not_overflow(tmp_path, engine, segment):
    vocoder = hifigan_rt.load(write_tiny(tmp_path), engine=engine)
    mel = np.tile(tiny_mel(300), 14)  # 33,600 samples, more than any of them holds
    audio = pushed(vocoder.stream(segment), mel, 300)
    np.testing.assert_allclose(audio, vocoder(mel), rtol=0, atol=tolerances.STREAM_MAX_ABS)


@pytest.mark.parametrize("segment", [0, -1, 4097])
def test_segments_out_of_range(vocoder, segment):
    for call in (lambda: vocoder.stream(segment), lambda: vocoder(tiny_mel(5), segment_frames=segment)):
        with pytest.raises(EngineError, match=f"segment_frames={segment} must be from 1 to 4096"):
            call()


class Failing(Engine):
    """An engine whose next run fails or waits, as it is told."""

    def __init__(self):
        super().__init__()
        self.info = EngineInfo("failing", "1", "float32", 1, "cpu")
        self.error: BaseException | None = None
        self.running, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def _run(self, mel, conditioning=None):
        if self.error:
            raise self.error
        self.running.set()
        assert self.go_on.wait(20)
        return np.zeros((1, GRAPH.output_length(mel.shape[2])), np.float32)


@pytest.mark.parametrize("error", [EngineError("out of memory"), KeyboardInterrupt()])
def test_a_stream_that_failed_is_not_continued_by_accident(error):
    engine = Failing()
    stream = Stream(engine, GRAPH, MODEL, 4)
    stream.push(tiny_mel(6))
    engine.error = error
    with pytest.raises(type(error)):
        stream.push(tiny_mel(6))
    engine.error = None
    for call in (stream.finish, lambda: stream.push(tiny_mel(6))):
        with pytest.raises(StreamBroken, match=r"^the stream was interrupted: reset it, or open a new one$"):
            call()
    stream.reset()
    assert len(np.concatenate([stream.push(tiny_mel(9)), stream.finish()])) == 72


class CtrlC:
    """An engine's stream during whose pushes Ctrl-C comes: Python raises it when the core has returned."""

    def __init__(self, stream):
        self.stream = stream

    def push(self, mel):
        self.stream.push(mel)
        signal.raise_signal(signal.SIGINT)

    def __getattr__(self, name):
        return getattr(self.stream, name)


@contextmanager
def interrupted(stream):
    core, stream._stream = stream._stream, CtrlC(stream._stream)
    with pytest.raises(KeyboardInterrupt):
        yield
    stream._stream = core


def test_a_stream_whose_audio_ctrl_c_took_is_not_continued_by_accident(vocoder):
    alone, before, during, behind = (vocoder.stream(8) for _ in range(4))
    with interrupted(alone):
        alone.push(tiny_mel(20))
    with interrupted(during):
        hifigan_rt.advance([before, during, behind], [tiny_mel(20)] * 3)
    for broken in (alone, before, during):
        assert broken.pending_samples == 0
        with pytest.raises(StreamBroken, match=r"^the stream was interrupted: reset it, or open a new one$"):
            broken.push(tiny_mel(6))
        with pytest.raises(StreamBroken):
            broken.finish()
        broken.reset()
    for stream in (alone, before, during, behind):
        np.testing.assert_array_equal(pushed(stream, tiny_mel(30)), vocoder(tiny_mel(30), segment_frames=8))


def test_a_stream_is_for_one_thread_at_a_time():
    engine = Failing()
    engine.go_on.clear()
    stream = Stream(engine, GRAPH, MODEL, 16)
    worker = threading.Thread(target=stream.push, args=(tiny_mel(60),))
    worker.start()
    assert engine.running.wait(20)
    for call in (stream.finish, stream.reset, lambda: stream.push(tiny_mel(3))):
        with pytest.raises(StreamBusy, match="in use by another thread: give each signal its own stream"):
            call()
    engine.go_on.set()
    worker.join()
    assert stream.pending_samples + len(stream.push(np.empty((10, 0), np.float32))) > 0


def test_threads_that_push_at_once_are_busy_and_nothing_else(stream):
    """What watches the frames for another convention is changed by one thread at a time as well."""
    errors = []

    def push(_):
        for _ in range(60):
            try:
                stream.push(tiny_mel(7))
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once(push, range(4))
    finally:
        sys.setswitchinterval(interval)
    assert {type(error) for error in errors} <= {StreamBusy}


def test_a_signal_without_end_is_ended(stream, monkeypatch):
    monkeypatch.setattr("hifigan_rt.streaming.MAX_FRAMES", 20)
    stream.push(tiny_mel(20))
    with pytest.raises(MelError, match="more than 20 frames: finish it and reset it"):
        stream.push(tiny_mel(1))
    assert MAX_FRAMES > 10_000_000


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_ten_thousand_tiny_pushes(tmp_path, engine):
    vocoder = hifigan_rt.load(write_tiny(tmp_path), engine=engine)
    mel = np.tile(tiny_mel(100), (1, 100))
    stream = vocoder.stream()
    size = stream.state_bytes
    audio = pushed(stream, mel, size=1)
    assert stream.state_bytes == size
    np.testing.assert_array_equal(audio, vocoder(mel, segment_frames=16))


def onnx_model(tmp_path, mel: MelConfig | None, config=None):
    path = tmp_path / "generator.onnx"
    path.write_bytes(build_onnx(tiny_generator(), TINY.mel).SerializeToString())
    return OnnxFile("generator.onnx", path, "onnx", config, 10)


def test_a_converted_file_streams_where_its_layers_are_known(tmp_path):
    known = onnx_model(tmp_path, TINY.mel, TINY)
    vocoder = hifigan_rt.Vocoder(known, create_engine("onnxruntime", known, EngineOptions()))
    audio = pushed(vocoder.stream(), tiny_mel(50))
    np.testing.assert_allclose(audio, vocoder(tiny_mel(50)), rtol=0, atol=1e-6)
    foreign = onnx_model(tmp_path, None)
    vocoder = hifigan_rt.Vocoder(foreign, create_engine("onnxruntime", foreign, EngineOptions()))
    for call in (vocoder.stream, lambda: vocoder(tiny_mel(5), segment_frames=4)):
        with pytest.raises(ConfigError, match="need the model's layers, which tell how far a frame reaches"):
            call()


def test_a_stream_without_a_known_sample_rate():
    model = Weights("tiny", Path("tiny"), "test", tiny_generator())
    stream = hifigan_rt.Vocoder(model, create_engine("native", model, EngineOptions())).stream()
    assert len(stream.push(tiny_mel(40))) > 0
    with pytest.raises(ConfigError, match="sample rate"):
        _ = stream.algorithmic_latency_ms
