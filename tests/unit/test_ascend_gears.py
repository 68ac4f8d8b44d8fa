"""Windows over a mel: they cover it, they are exact, and no cheaper choice exists."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tolerances
from golden.seeded import seeded_mel, seeded_weights
from golden.tiny import TINY
from hifigan_rt.config import PRESETS, GeneratorConfig
from hifigan_rt.engines.ascend_runtime.gears import Window, WindowPlan, needed_overlap, plan_windows
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError
from hifigan_rt.graph import bind, build_graph

TINY_GRAPH = build_graph(TINY.generator)
V1 = build_graph(PRESETS["v1"].generator)
ODD = GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5)
NO_CONTEXT = GeneratorConfig(8, (4, 2), (4, 2), "2", (1,), ((1,),), num_mels=3)
"""Only its first and last layer look around."""
DEFAULT_GEARS = tuple(range(250, 2001, 250))


def covers(plan: WindowPlan, frames: int, graph) -> None:
    """The rules, said independently of how the plan is made: in frames and by the reach of one frame."""
    windows, hop, reach = plan.windows, graph.hop_length, graph.receptive_field
    assert windows[0].first_sample == 0
    assert windows[-1].end_sample == graph.output_length(frames)
    assert windows[0].start_frame == 0
    assert windows[-1].start_frame + windows[-1].gear == frames
    for before, after in itertools.pairwise(windows):
        assert before.end_sample == after.first_sample
    for window in windows:
        assert window.first_sample < window.end_sample
        end = window.start_frame + window.gear
        assert 0 <= window.start_frame < end <= frames
        if window.start_frame:
            assert (window.start_frame - 1) * hop + reach.last_sample < window.first_sample
        if end < frames:
            assert end * hop + reach.first_sample >= window.end_sample


def least_work(frames: int, gears: tuple[int, ...], overlap: int) -> float:
    """By trying: the least sum of gears that reaches each number of frames."""
    if frames in gears:
        return frames
    usable = [gear for gear in gears if overlap < gear < frames]
    if not usable:
        return float("inf")
    needed = frames - overlap
    best = [0.0] + [float("inf")] * needed
    for covered in range(1, needed + 1):
        for gear in usable:
            best[covered] = min(best[covered], best[max(0, covered - (gear - overlap))] + gear)
    return best[needed]


@pytest.mark.parametrize("gears", [(40,), (40, 80), (41, 60, 97), (5, 30, 33, 90), tuple(range(27, 60, 4)), (45, 46)])
def test_every_length_is_covered_at_the_least_work(gears):
    overlap = needed_overlap(TINY_GRAPH)
    for frames in range(gears[0], 400):
        try:
            plan = plan_windows(frames, gears, TINY_GRAPH)
        except EngineError:
            assert least_work(frames, gears, overlap) == float("inf")
            continue
        covers(plan, frames, TINY_GRAPH)
        assert plan.inexact_tail_frames == 0
        assert sum(window.gear for window in plan.windows) == least_work(frames, gears, overlap)


@pytest.mark.parametrize("frames", [250, 251, 474, 475, 499, 500, 501, 1999, 2000, 2001, 4001, 6000, 8777])
def test_the_default_gears_with_v1(frames):
    plan = plan_windows(frames, DEFAULT_GEARS, V1)
    covers(plan, frames, V1)
    assert sum(window.gear for window in plan.windows) == least_work(frames, DEFAULT_GEARS, 26)


def test_a_mel_as_long_as_a_gear_takes_that_gear():
    for gear in DEFAULT_GEARS:
        assert plan_windows(gear, DEFAULT_GEARS, V1).windows == (Window(0, gear, 0, gear * 256),)


def test_hours_are_planned_at_once():
    plan = plan_windows(1_000_003, DEFAULT_GEARS, V1)
    covers(plan, 1_000_003, V1)
    dense = tuple(range(1901, 2001))
    covers(plan_windows(1_000_003, dense, V1), 1_000_003, V1)


def test_v1_needs_its_26_frames_of_context():
    assert needed_overlap(V1) == 26
    assert needed_overlap(V1) == V1.receptive_field.left_frames + V1.receptive_field.right_frames


@pytest.mark.parametrize(("frames", "tail"), [(1, 1), (13, 13), (14, 13), (249, 13)])
def test_below_the_shortest_gear_the_tail_is_named(frames, tail):
    plan = plan_windows(frames, DEFAULT_GEARS, V1)
    assert plan == WindowPlan((Window(0, 250, 0, frames * 256),), tail)


@pytest.mark.parametrize("config", [TINY.generator, ODD, NO_CONTEXT], ids=["tiny", "odd kernel - rate", "no context"])
def test_windows_give_the_samples_of_the_whole(config):
    graph = build_graph(config)
    generator = bind(graph, seeded_weights(graph.weight_shapes(), seed=3))
    overlap = needed_overlap(graph)
    gears = (overlap + 3, overlap + 11)
    for frames in range(gears[0], gears[0] + 40):
        mel = seeded_mel(1, graph.num_mels, frames, seed=frames)[0]
        whole = generate(generator, mel)
        plan = plan_windows(frames, gears, graph)
        for window in plan.windows:
            alone = generate(generator, mel[:, window.start_frame : window.start_frame + window.gear])
            offset = window.start_frame * graph.hop_length
            kept = alone[window.first_sample - offset : window.end_sample - offset]
            np.testing.assert_allclose(
                kept, whole[window.first_sample : window.end_sample], rtol=0, atol=tolerances.REFERENCE_MAX_ABS
            )


def test_padding_changes_no_more_than_the_tail_that_is_named():
    graph = TINY_GRAPH
    generator = bind(graph, seeded_weights(graph.weight_shapes(), seed=3))
    for frames in range(1, 60):
        plan = plan_windows(frames, (60,), graph)
        mel = seeded_mel(1, graph.num_mels, frames, seed=frames)[0]
        padded = generate(generator, np.pad(mel, ((0, 0), (0, 60 - frames)), constant_values=-11.5))
        whole = generate(generator, mel)
        same = np.abs(padded[: len(whole)] - whole) <= tolerances.REFERENCE_MAX_ABS
        exact_samples = (frames - plan.inexact_tail_frames) * graph.hop_length
        assert same[:exact_samples].all()
        assert not same[exact_samples : exact_samples + graph.hop_length].all()


def test_gears_that_hold_no_context_are_refused_with_the_way_out():
    with pytest.raises(EngineError) as caught:
        plan_windows(30, (20, 26, 500), V1)
    assert str(caught.value) == (
        "a mel of 30 frames cannot be computed by gears of 20, 26 frames: a sample needs 26 frames around it, so a "
        "gear must be longer than that; convert the model with a gear of 27 to 30 frames"
    )
    assert plan_windows(20, (20, 26, 500), V1).windows == (Window(0, 20, 0, 20 * 256),)
