"""Mels joined in rows for a GPU: lengths, places, the silence between them, and the graphs that are kept.

All on a CPU: `CardOfPaper` plays the card.
"""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tolerances
from golden.features import FEATURES, feature_generator
from golden.seeded import seeded_mel, seeded_weights
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import torch_graphs
from hifigan_rt.engines.reference import generate
from hifigan_rt.engines.streams import OverlapStream, push_together
from hifigan_rt.engines.torch_compiled import CompiledRows
from hifigan_rt.engines.torch_graphs import Rows
from hifigan_rt.engines.torch_module import Form, TorchGenerator
from hifigan_rt.engines.torch_rows import Layout, can_be_joined, folding
from hifigan_rt.graph import bind, build_graph

pytestmark = pytest.mark.torch

V1 = GeneratorConfig(512, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3)
CONFIGS = {
    "like v1": GeneratorConfig(16, (8, 2), (16, 4), "1", (3, 11), ((1, 3, 5),) * 2, num_mels=10),
    "type 2": GeneratorConfig(16, (4, 2), (8, 4), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=7),
    "odd kernel - rate": GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5),
    "kernel = rate": GeneratorConfig(8, (5, 3), (5, 3), "2", (3,), ((1, 2),), num_mels=5),
    "one sample per frame": GeneratorConfig(8, (1,), (3,), "1", (3,), ((1, 1),), num_mels=5),
    "dilations that no row length suits": GeneratorConfig(8, (2,), (4,), "1", (3,), ((7, 11, 1),), num_mels=5),
}
GENERATORS = {
    name: bind(build_graph(config), seeded_weights(build_graph(config).weight_shapes(), seed=5))
    for name, config in CONFIGS.items()
}
FORMS = {
    "as on a CPU": Form(torch.float64, torch.float64),
    "channels last, folded": Form(torch.float64, torch.float64, folded=True),
    "channels first, folded": Form(torch.float64, torch.float64, channels_last=False, folded=True),
}
LENGTHS = ([1], [30, 1, 2, 44], [13] * 9, [250, 3, 3])


class CardOfPaper:
    """Computes on the CPU what a graph would compute again over the same memory."""

    def __init__(self):
        self.device = torch.device("cpu")
        self.captured = 0
        self.forgotten = 0
        self.bytes = 0
        self.bytes_of_a_graph = 0
        self.busy = threading.Lock()

    @contextmanager
    def turn(self):
        assert self.busy.acquire(blocking=False), "two threads at once"
        try:
            yield
        finally:
            self.busy.release()

    turn_of_host = turn

    def streams(self, count):
        return ()

    def host_memory(self, shape, dtype):
        # What stands there from before must not matter.
        memory = torch.empty(tuple(shape), dtype=dtype, device="cpu")
        return memory.fill_(float("nan")) if dtype.is_floating_point else memory

    def mark(self):
        return lambda: None

    def wait(self):
        pass

    def reserved_bytes(self):
        return self.bytes

    def total_bytes(self):
        return 80 << 30

    def forget_graphs(self):
        self.forgotten += 1
        self.bytes = 0

    def capture(self, compute):
        self.captured += 1
        self.bytes += self.bytes_of_a_graph
        result = compute()

        class Graph:
            def replay(self):
                result.copy_(compute())

        return Graph(), result


def mels_of(generator, lengths):
    bands = generator.graph.num_mels
    return [seeded_mel(1, bands, frames, seed=frames + i)[0].astype(np.float32) for i, frames in enumerate(lengths)]


def make_rows(generator, form=FORMS["channels last, folded"], *, max_frames=200, graphs=True, compiled=False):
    module = TorchGenerator(generator, form)
    card = CardOfPaper()
    layout = Layout(generator.graph, max_frames)
    return Rows(CompiledRows(module) if compiled else module, layout, card, nullcontext, graphs=graphs), card


def assert_rounded(audio, truth):
    np.testing.assert_allclose(audio, truth, rtol=0, atol=tolerances.FLOAT32_ROUNDING_OF_AUDIO)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("form", FORMS)
def test_each_joined_mel_comes_out_as_it_does_alone_to_its_last_sample(config, form):
    generator = GENERATORS[config]
    rows, _ = make_rows(generator, FORMS[form])
    for lengths in LENGTHS:
        mels = mels_of(generator, lengths)
        audios = rows.run(mels)
        for mel, audio in zip(mels, audios, strict=True):
            assert (audio.dtype, audio.shape) == (np.float32, (generator.graph.output_length(mel.shape[1]),))
            np.testing.assert_allclose(
                audio, generate(generator, mel), rtol=0, atol=tolerances.FLOAT32_ROUNDING_OF_AUDIO
            )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FEATURES)
def test_networks_beyond_the_originals_are_joined_where_nothing_differs_from_signal_to_signal(name, form):
    generator = feature_generator(FEATURES[name])
    assert can_be_joined(generator.graph) == (name in ("rows kept", "normalized"))
    if can_be_joined(generator.graph):
        rows, _ = make_rows(generator, FORMS[form])
        mels = mels_of(generator, [30, 1, 2, 44])
        for mel, audio in zip(mels, rows.run(mels), strict=True):
            assert_rounded(audio, generate(generator, mel))


@pytest.mark.parametrize("config", CONFIGS)
def test_masking_by_a_factor_gives_the_same_as_masking_by_index(config):
    generator = GENERATORS[config]
    layout = Layout(generator.graph, 200)
    module = TorchGenerator(generator, FORMS["channels last, folded"])
    for lengths in LENGTHS:
        mels = mels_of(generator, lengths)
        for row in layout.rows(lengths):
            frames = layout.length_of(row)
            joined = torch.full((1, generator.graph.num_mels, frames), 1e30)
            for place in row:
                joined[0, :, place.start : place.end] = torch.from_numpy(mels[place.signal])
            by_factor = module(joined, module.kept_rows(torch.from_numpy(layout.kept_frames(row))))[0]
            by_index = module(joined, torch.from_numpy(layout.silent_rows(row)).split(layout.silent_counts(frames)))[0]
            for place in row:
                np.testing.assert_array_equal(by_factor[layout.samples(place)], by_index[layout.samples(place)])


def test_what_is_no_number_in_one_mel_leaves_its_neighbours_alone():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator, Form(torch.float32, torch.float32, folded=True))
    mels = mels_of(generator, [20, 20, 20])
    alone = rows.run(mels)
    mels[1] = np.full_like(mels[1], np.nan)  # in float16, what overflows becomes that
    joined = rows.run(mels)
    assert np.isnan(joined[1]).all()
    for index in (0, 2):
        np.testing.assert_array_equal(joined[index], alone[index])


def test_a_list_in_float32_equals_its_items_alone():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator, Form(torch.float32, torch.float32, folded=True))
    mels = mels_of(generator, [60, 33, 61, 90, 5])
    for mel, audio in zip(mels, rows.run(mels), strict=True):
        assert snr_db(rows.run([mel])[0], audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
        assert snr_db(generate(generator, mel), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.sampled_from(sorted(CONFIGS)))
def test_signals_lie_apart_and_in_order_in_rows_of_few_lengths(lengths, config):
    graph = GENERATORS[config].graph
    layout = Layout(graph, 200)
    rows = layout.rows(lengths)
    assert [place.signal for row in rows for place in row] == list(range(len(lengths)))
    for row in rows:
        frames = layout.length_of(row)
        assert frames % folding(graph)[1] == 0
        assert row[0].start == 0
        assert frames > row[-1].end  # one frame is silent in any case
        assert len(row) == 1 or frames <= layout.row_frames(200)
        for place, following in itertools.pairwise(row):
            assert following.start - place.end == layout.gap
        assert [place.end - place.start for place in row] == [lengths[place.signal] for place in row]
        silent = layout.silent_rows(row)
        assert len(silent) == sum(layout.silent_counts(frames))
        kept = layout.kept_frames(row)
        for level, indices in zip(
            layout.levels, np.split(silent, np.cumsum(layout.silent_counts(frames))[:-1]), strict=True
        ):
            assert indices.min() >= 0
            assert indices.max() < frames * level.rate + level.extra
            inside = indices // level.rate
            # Rows of `extra` lie in the frame behind a signal, all others outside of every signal.
            assert not kept[np.minimum(inside, frames - 1)].any()


def test_row_lengths_are_few_and_hardly_longer_than_needed():
    layout = Layout(build_graph(V1))
    lengths = {layout.row_frames(frames) for frames in range(1, 2048)}
    assert len(lengths) <= 72
    for frames in range(1, 2048):
        assert frames < layout.row_frames(frames) <= max(frames + 15, frames * 17 / 16 + 15)
    assert layout.row_frames(250) == 255
    assert layout.gap == 4


def test_a_list_is_shared_out_to_rows_of_about_equal_length():
    layout = Layout(build_graph(V1))
    assert [layout.length_of(row) for row in layout.rows([250] * 16)] == [1020] * 4
    assert [layout.length_of(row) for row in layout.rows([42] * 64)] == [1020, 1020, 930]
    # Many short ones have room, at the price of longer rows.
    assert len(layout.rows([16] * 64)) == 2


def test_new_lengths_need_no_new_graph():
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator)
    rows.run(mels_of(generator, [61]))
    assert (card.captured, rows.lengths) == (1, [75])
    for frames in (60, 70, 62, 74):
        rows.run(mels_of(generator, [frames]))
    assert card.captured == 1
    rows.run(mels_of(generator, [75]))
    assert (card.captured, rows.lengths) == (2, [75, 90])


def test_graphs_are_capped_and_those_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(torch_graphs, "MAX_GRAPHS", 3)
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator)
    for frames in (1, 16, 31, 1, 46):
        rows.run(mels_of(generator, [frames]))
    assert rows.lengths == [45, 15, 60]
    assert card.captured == 4
    expected = generate(generator, mels_of(generator, [16])[0])
    assert_rounded(rows.run(mels_of(generator, [16]))[0], expected)
    assert rows.lengths == [15, 60, 30]


def test_graphs_that_take_too_much_memory_are_dropped_but_for_the_newest():
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator)
    card.bytes_of_a_graph = torch_graphs.MAX_GRAPH_BYTES // 2
    for frames, lengths in ((1, [15]), (16, [15, 30]), (31, [45]), (46, [45, 60])):
        mels = mels_of(generator, [frames])
        assert_rounded(rows.run(mels)[0], generate(generator, mels[0]))
        assert rows.lengths == lengths
    assert card.forgotten == 1


def test_long_rows_are_not_recorded():
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator, max_frames=100)
    mels = mels_of(generator, [400])
    assert_rounded(rows.run(mels)[0], generate(generator, mels[0]))
    assert (card.captured, rows.lengths) == (0, [])


def test_graphs_can_be_done_without():
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator, graphs=False)
    recorded, _ = make_rows(generator)
    mels = mels_of(generator, [20, 30])
    for audio, other in zip(rows.run(mels), recorded.run(mels), strict=True):
        np.testing.assert_array_equal(audio, other)
    assert (card.captured, rows.lengths) == (0, [])


def test_forgotten_graphs_are_made_again():
    generator = GENERATORS["like v1"]
    rows, card = make_rows(generator)
    mels = mels_of(generator, [20])
    first = rows.run(mels)[0].copy()
    rows.forget()
    assert (rows.lengths, card.forgotten) == ([], 1)
    np.testing.assert_array_equal(rows.run(mels)[0], first)
    assert card.captured == 2


def test_results_are_not_overwritten_by_later_calls():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator)
    mels = mels_of(generator, [20, 21])
    first = rows.run(mels[:1])[0]
    kept = first.copy()
    rows.run(mels[1:])
    np.testing.assert_array_equal(first, kept)


def test_what_is_submitted_comes_when_it_is_asked_for():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator)
    mels = mels_of(generator, [20, 33, 180, 41])
    expected = rows.run(mels)
    wide = [np.concatenate([mel, mel], axis=1)[:, : mel.shape[1]] for mel in mels]
    first, second = rows.submit(wide[:3], [False] * 3), rows.submit(wide[3:], [False])
    for audio, alone in zip([*first(), *second()], expected, strict=True):
        assert_rounded(audio, alone)


def test_streams_side_by_side_give_the_whole_though_their_windows_touch():
    generator = GENERATORS["like v1"]
    graph = generator.graph
    rows, _ = make_rows(generator, max_frames=400)
    mels = mels_of(generator, [90, 70, 90, 33, 90])
    streams = [OverlapStream(lambda mel: rows.run(list(mel))[0][None], graph, 8) for _ in mels]
    touching = []

    def submit(windows):
        borders = [not window.is_start for window in windows]
        touching.append(sum(borders))
        return rows.submit([window.mel for window in windows], borders)

    parts = [[] for _ in mels]
    for start in range(0, 90, 8):
        pushed = [np.ascontiguousarray(mel[:, start : start + 8]) for mel in mels]
        for part, audio in zip(parts, push_together(streams, pushed, submit, 3), strict=True):
            part.append(audio)
    for stream, part, mel in zip(streams, parts, mels, strict=True):
        assert_rounded(np.concatenate([*part, stream.finish()]), generate(generator, mel))
    assert max(touching) == 3


def test_threads_take_turns():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator)
    mels = mels_of(generator, list(range(1, 21)))
    expected = [rows.run([mel])[0] for mel in mels]
    with ThreadPoolExecutor(4) as pool:
        for audio, alone in zip(pool.map(lambda mel: rows.run([mel])[0], mels), expected, strict=True):
            np.testing.assert_array_equal(audio, alone)


def test_tensors_come_back_as_tensors_beside_arrays():
    generator = GENERATORS["like v1"]
    rows, _ = make_rows(generator)
    mels = mels_of(generator, [20, 30, 9])
    expected = rows.run(mels)
    mixed = rows.run([mels[0], torch.from_numpy(mels[1]), mels[2]])
    assert [type(audio) for audio in mixed] == [np.ndarray, torch.Tensor, np.ndarray]
    for audio, other in zip(mixed, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(audio), other)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_programs_compute_rows_of_every_length():
    generator = GENERATORS["type 2"]
    rows, _ = make_rows(generator, Form(torch.float32, torch.float32, folded=True), compiled=True)
    eager, _ = make_rows(generator, Form(torch.float32, torch.float32, folded=True))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for lengths in ([60], [5, 30, 17], [100, 90], [33]):
        mels = mels_of(generator, lengths)
        for audio, other in zip(rows.run(mels), eager.run(mels), strict=True):
            assert snr_db(other, audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
    chains = len(rows._generator.chains)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == chains > 8
