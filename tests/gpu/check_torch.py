"""The PyTorch engine on a real CUDA device: `make gpu-test`. Outside of the suite, which runs where there is none."""

import gc
import itertools
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import hifigan_rt
import tolerances
from card_tensors import behind_work, wrong_mels
from golden.seeded import seeded_mel, seeded_weights
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.engines.streams import OverlapStream
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import Weights
from hifigan_rt.vocoder import Vocoder

CONFIGS = {
    "like v1": GeneratorConfig(64, (8, 2), (16, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3, num_mels=20),
    "type 2": GeneratorConfig(32, (4, 2), (8, 4), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=7),
    "odd kernel - rate": GeneratorConfig(16, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5),
    "kernel = rate": GeneratorConfig(16, (5, 3), (5, 3), "2", (3,), ((1, 2),), num_mels=5),
}
GENERATORS = {
    name: bind(build_graph(config), seeded_weights(build_graph(config).weight_shapes(), seed=5))
    for name, config in CONFIGS.items()
}
LEAST_SNR_DB = {"float32": 110, "tf32": 40, "float16": 40, "bfloat16": 22}
LEAST_SNR_OF_JOINED_DB = {"float32": 95, "tf32": 40, "float16": 50, "bfloat16": 30}


def load(config="like v1", precision="float32", **settings):
    model = Weights(config, Path("none"), "test", GENERATORS[config])
    return Vocoder(model, create_engine("torch", model, EngineOptions(None, precision, "cuda:0", settings)))


def mels_of(vocoder, lengths):
    return [seeded_mel(1, vocoder.num_mels, frames, seed=frames)[0].astype(np.float32) for frames in lengths]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("precision", LEAST_SNR_DB)
def test_every_length_equals_the_reference(config, precision):
    vocoder = load(config, precision)
    assert vocoder.engine_info.precision == precision
    for frames in (*range(1, 20), 40, 75, 76, 200):
        (mel,) = mels_of(vocoder, [frames])
        audio = vocoder(mel)
        assert audio.shape == (vocoder.output_length(frames),)
        assert snr_db(generate(GENERATORS[config], mel), audio) >= LEAST_SNR_DB[precision]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("precision", LEAST_SNR_OF_JOINED_DB)
@pytest.mark.parametrize("graphs", ["on", "off"])
def test_joined_mels_equal_themselves_alone_to_the_end(config, precision, graphs):
    vocoder = load(config, precision, graphs=graphs)
    for lengths in ([30, 1, 2, 44], [13] * 9, [250, 3, 3], [700] * 7):
        mels = mels_of(vocoder, lengths)
        for mel, audio in zip(mels, vocoder(mels), strict=True):
            alone = vocoder(mel)
            last = vocoder.hop_length
            assert snr_db(alone, audio) >= LEAST_SNR_OF_JOINED_DB[precision]
            assert snr_db(alone[-last:], audio[-last:]) >= LEAST_SNR_OF_JOINED_DB[precision] - 10
    batch = np.stack(mels_of(vocoder, [50]) * 5)
    for audio in vocoder(batch):
        assert snr_db(vocoder(batch[0]), audio) >= LEAST_SNR_OF_JOINED_DB[precision]


def test_one_result_is_the_same_bits_each_time():
    vocoder = load(precision="float16")
    (mel,) = mels_of(vocoder, [60])
    first = vocoder(mel)
    for frames in (1, 90, 200, 61):
        vocoder(*mels_of(vocoder, [frames]))
        np.testing.assert_array_equal(vocoder(mel), first)
    np.testing.assert_array_equal(load(precision="float16", graphs="off")(mel), first)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_streams_advanced_together_equal_the_whole(precision):
    vocoder = load(precision=precision)
    mels = mels_of(vocoder, [100, 77, 16, 130, 5])
    streams = [vocoder.stream() for _ in mels]
    parts = [[] for _ in mels]
    sizes = itertools.cycle((16, 3, 40, 0, 1, 16))
    at = [0] * len(mels)
    while any(start < mel.shape[1] for start, mel in zip(at, mels, strict=True)):
        pushes = [
            np.ascontiguousarray(mel[:, start : start + next(sizes)]) for start, mel in zip(at, mels, strict=True)
        ]
        for index, audio in enumerate(hifigan_rt.advance(streams, pushes)):
            parts[index].append(audio)
            at[index] += pushes[index].shape[1]
    for index, (stream, mel) in enumerate(zip(streams, mels, strict=True)):
        audio = np.concatenate([*parts[index], stream.finish()])
        assert snr_db(vocoder(mel), audio) >= LEAST_SNR_OF_JOINED_DB[precision]
    assert all(isinstance(stream._stream, OverlapStream) for stream in streams)


@pytest.mark.parametrize("form", ["torch", "cupy", "half", "not contiguous", "own stream"])
def test_mels_on_the_card_give_audio_on_the_card(form):
    vocoder = load()
    mel = mels_of(vocoder, [61])[0]
    expected = vocoder(mel)
    least = tolerances.FLOAT32_ENGINE_SNR_DB
    if form == "own stream":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            given = behind_work(torch.from_numpy(mel).cuda())
            audio = vocoder(given).clone()
            del given
        stream.synchronize()
    elif form == "cupy":
        cupy = pytest.importorskip("cupy")
        audio = vocoder(cupy.asarray(mel))
    else:
        given = torch.from_numpy(mel).cuda()
        if form == "half":
            given, least = given.half(), 40
        elif form == "not contiguous":
            given = given.T.contiguous().T
        audio = vocoder(given)
    assert isinstance(audio, torch.Tensor)
    assert (audio.device, audio.dtype) == (torch.device("cuda:0"), torch.float32)
    assert snr_db(expected, audio.cpu().numpy()) >= least
    batch = torch.stack([torch.from_numpy(mel).cuda()] * 3)
    assert vocoder(batch).shape == (3, len(expected))
    assert [one.shape for one in vocoder([batch[0], batch[1, :, :20]])] == [
        expected.shape,
        (vocoder.output_length(20),),
    ]


def test_wrong_tensors_are_refused_and_harm_nothing():
    vocoder = load()
    mel = torch.from_numpy(mels_of(vocoder, [30])[0]).cuda()
    expected = vocoder(mel)
    elsewhere = ([mel, mel.cpu()], EngineError, "'cpu', and the model on 'cuda:0'")
    for wrong, error, text in [*wrong_mels(mel), elsewhere]:
        with pytest.raises(error, match=text):
            vocoder(wrong)
    with pytest.raises(EngineError, match="host memory"):
        vocoder(mel, segment_frames=16)
    model = Weights("cpu", Path("none"), "test", GENERATORS["like v1"])
    on_cpu = Vocoder(model, create_engine("torch", model, EngineOptions()))
    with pytest.raises(EngineError, match="on device 'cuda:0', and the model on 'cpu'"):
        on_cpu(mel)
    reference = Vocoder(model, create_engine("reference", model, EngineOptions()))
    with pytest.raises(EngineError, match="engine 'reference' takes host memory"):
        reference(mel)
    assert torch.equal(vocoder(mel), expected)


def test_no_memory_left_is_told_in_bytes_and_the_next_call_works():
    vocoder = load(precision="float16")
    (mel,) = mels_of(vocoder, [500])
    expected = vocoder(mel)
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(free - (600 << 20), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(EngineError, match=r"no memory left for .*: [\d.]+ \w+ more were needed, and [\d.]+ of"):
            vocoder(np.tile(mel, (1, 1500)))
        np.testing.assert_array_equal(vocoder(mel), expected)
        with pytest.raises(EngineError, match="no memory left"):
            vocoder(torch.from_numpy(np.tile(mel, (1, 1500))).cuda())
        gc.collect()
        np.testing.assert_array_equal(vocoder(mel), expected)
    finally:
        del ballast
        torch.cuda.empty_cache()


def test_threads_share_an_engine_while_others_record_compute_and_draw():
    vocoder = load(precision="float16")
    other = load(precision="float16")
    mels = mels_of(vocoder, range(1, 400, 9))
    expected = [vocoder(mel) for mel in mels]
    stop = threading.Event()
    failures, drawn = [], [0]

    def compute():
        with torch.cuda.stream(torch.cuda.Stream()):
            a = torch.ones(500, 500, device="cuda")
            while not stop.is_set():
                try:
                    (a @ a).sum().item()
                    torch.empty(int(1e6), device="cuda").fill_(1)
                    drawn[0] += 1
                except RuntimeError as error:
                    failures.append(str(error))

    worker = threading.Thread(target=compute)
    worker.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            for audio, alone in zip(pool.map(other, mels), expected, strict=True):
                np.testing.assert_array_equal(audio, alone)
    finally:
        stop.set()
        worker.join()
    assert drawn[0] > 0
    assert failures == []


def test_switches_are_put_back():
    before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.conv.fp32_precision)
    torch.backends.cudnn.benchmark = True
    try:
        vocoder = load(precision="tf32")
        vocoder(mels_of(vocoder, [33])[0])
        assert torch.backends.cudnn.benchmark is True
        assert torch.backends.cudnn.conv.fp32_precision == before[1]
    finally:
        torch.backends.cudnn.benchmark = before[0]


def _in_a_fork(queue, vocoder, mel):
    try:
        vocoder(mel)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        queue.put(f"{type(error).__name__}: {error}")
    try:
        load()
    except EngineUnavailable as error:
        queue.put(f"{type(error).__name__}: {error}")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_is_told_to_load_the_model_itself():
    vocoder = load()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_in_a_fork, args=(queue, vocoder, mels_of(vocoder, [9])[0]))
    process.start()
    texts = [queue.get(timeout=60) for _ in range(2)]
    process.join()
    assert texts[0].startswith("EngineError: a model on a GPU cannot be used in a process that was forked")
    assert texts[1].startswith("EngineUnavailable: device='cuda:0' cannot be used in a process that was forked")


def test_closing_gives_the_memory_back():
    vocoder = load()
    vocoder(mels_of(vocoder, [300])[0])
    vocoder.close()
    del vocoder
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for _ in range(3):
        vocoder = load()
        vocoder(mels_of(vocoder, [300])[0])
        vocoder.close()
        del vocoder
        gc.collect()
        torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= before


@pytest.mark.filterwarnings("ignore")
def test_compiled_rows_equal_the_reference():
    vocoder = load(mode="compiled")
    for lengths in ([30], [1, 100, 44], [13] * 9):
        mels = mels_of(vocoder, lengths)
        for mel, audio in zip(mels, vocoder(mels), strict=True):
            assert snr_db(generate(GENERATORS["like v1"], mel), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
