"""Models whose lengths are open: no gears, no padding, and room for the output told by us."""

from __future__ import annotations

import click
import numpy as np
import pytest

import tolerances
from engines.ascend_models import HOP, mels_of, truth
from golden.tiny import write_tiny
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import ascend
from hifigan_rt.engines.ascend import read_shapes
from hifigan_rt.engines.ascend_runtime import gears
from hifigan_rt.errors import EngineError, OutputMismatch
from hifigan_rt.formats.om_file import OmInfo, read_om
from hifigan_rt.tools.benchmark.benchmark_model import read_benchmark_model
from hifigan_rt.tools.cli.bench import _cells

OPEN = pytest.mark.parametrize("simulator", [8], indirect=True, ids=["cann8"])


@OPEN
@pytest.mark.parametrize("backend", ["aclruntime", "ais_bench"])
@pytest.mark.parametrize(("rank", "batch"), [(3, 1), (4, 2)])
def test_every_length_is_computed_as_it_is(place, backend, rank, batch):
    om = place.open_om(batch, rank)
    assert (read_om(om).dynamic_shape, read_om(om).dynamic_dims) == (True, ())
    engine = place.engine(om, backend=backend)
    for clips, frames in ((1, 1), (3, 249), (1, gears.LONGEST_OPEN), (1, gears.LONGEST_OPEN + 1)):
        mel = mels_of(clips, frames)
        audio = engine.run(mel)
        assert audio.shape == (clips, frames * HOP)
        assert snr_db(truth(mel), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
        assert engine.inexact_tail_frames(frames) == 0


@OPEN
def test_too_little_room_for_the_output_is_never_asked_for(place, monkeypatch):
    """The simulator spoils what lies beyond the room, as a device may."""
    engine = place.engine(place.open_om())
    mel = mels_of(1, 100)
    monkeypatch.setattr(ascend, "_room_bytes", lambda samples: 4 * samples - 4)
    with pytest.raises(OutputMismatch, match="not finite"):
        engine.run(mel)
    monkeypatch.undo()
    assert np.isfinite(engine.run(mel)).all()


@pytest.mark.parametrize(("samples", "room"), [(1, 64), (8, 64), (9, 96), (256_000, 1_024_032)])
def test_room_is_whole_units_and_one_more(samples, room):
    assert ascend._room_bytes(samples) == room


@pytest.mark.parametrize(
    ("shape", "batches"),
    [([1, 10, -1], (1,)), ([8, 10, -1], (8,)), ([-1, 10, -1], (1, 2, 4, 8)), ([2, 10, 1, -1], (2,)),
     ([-1, -1, 10], (1, 2, 4, 8))],
)  # fmt: skip
def test_open_shapes_of_files_made_by_hand(shape, batches):
    shapes = read_shapes("x.om", [{"name": "mel", "shape": shape}], (), 10, open_ranges=())
    assert shapes.gears == tuple(range(1, gears.LONGEST_OPEN + 1))
    assert set(shapes.batches.values()) == {batches}


def test_an_open_batch_alone_keeps_the_length():
    shapes = read_shapes("x.om", [{"name": "mel", "shape": [-1, 10, 500]}], (), 10, open_ranges=())
    assert dict(shapes.batches) == {500: (1, 2, 4, 8)}


@pytest.mark.parametrize(
    ("option", "ranges", "lengths", "batches"),
    [
        ("--input_shape=mel:1,10,-1", ((1, 1), (10, 10), (1, None)), (1, 2000), (1,)),
        ("--input_shape=mel:1,10,100~1500", ((1, 1), (10, 10), (100, 1500)), (100, 1500), (1,)),
        ("--input_shape 'mel:1~6,10,0~-1'", ((1, 6), (10, 10), (1, None)), (1, 2000), (1, 2, 4, 6)),
        ("--input_shape_range=mel:[2,10,3000~9000]", ((2, 2), (10, 10), (3000, 9000)), (3000, 3000), (2,)),
        ("--input_shape=mel:1,10", ((1, 1), (10, 10)), (1, 2000), (1, 2, 4, 8)),
        ("--input_shape=mel:1,10,x", (), (1, 2000), (1, 2, 4, 8)),
        ("--input_shape=mel:1,10,9~3", (), (1, 2000), (1, 2, 4, 8)),
        ("--log=error", (), (1, 2000), (1, 2, 4, 8)),
    ],
)
def test_ranges_are_those_of_the_command(tmp_path, option, ranges, lengths, batches):
    info = OmInfo(tmp_path / "x.om", 0, atc_cmdline=f"atc --framework=5 {option}", dynamic_shape=True)
    assert info.open_ranges == ranges
    shape = [-1 if low != high else low for low, high in ranges] if len(ranges) == 3 else [-1, 10, -1]
    shapes = read_shapes("x.om", [{"name": "mel", "shape": shape}], (), 10, open_ranges=ranges)
    assert (shapes.gears[0], shapes.gears[-1]) == lengths
    assert set(shapes.batches.values()) == {batches}


def test_an_open_length_without_the_mark_of_one_is_refused():
    with pytest.raises(EngineError, match="does not tell its gears"):
        read_shapes("x.om", [{"name": "mel", "shape": [1, 10, -1]}], (), 10)


@OPEN
def test_it_is_measured_at_any_length_and_at_its_batch(place, tmp_path):
    write_tiny(tmp_path)
    model = read_benchmark_model(str(place.open_om(2)), str(tmp_path / "config.json"), with_snr=False)
    asked = {"batches": (), "mel_lens": (30, 3000)}
    assert [(cell.batch, cell.frames) for cell in _cells(asked, model, (1,))] == [(2, 30), (2, 3000)]
    assert _cells(asked | {"batches": (2,)}, model, (1,)) == _cells(asked, model, (1,))
    with pytest.raises(click.UsageError, match="was compiled for batch 2: 1 would be measured with padding"):
        _cells(asked | {"batches": (2, 1)}, model, (1,))
