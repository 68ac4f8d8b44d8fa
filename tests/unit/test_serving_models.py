from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from golden.tiny import tiny_mel, write_tiny
from hifigan_rt.config import PartialMelConfig
from hifigan_rt.errors import ConfigError, EngineError, ModelNotFound
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.serving.errors import MelInvalid, ModelUnavailable, ShuttingDown, UnknownModel
from hifigan_rt.tools.serving.loading import load_to_serve, load_voice_to_serve
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.vocoder import Vocoder, load
from serving_models import TINY_MODEL, Clock, PretendedEngine, pretended_vocoder
from voice_files import tiny_voice

pytestmark = pytest.mark.anyio


class Loader:
    """Loads pretended models, counts them, fails and waits when told to."""

    def __init__(self) -> None:
        self.loaded: list[Vocoder] = []
        self.failure: Exception | None = None
        self.may_load = threading.Event()
        self.may_load.set()

    def __call__(self) -> Vocoder:
        assert self.may_load.wait(30)
        if self.failure is not None:
            raise self.failure
        self.loaded.append(pretended_vocoder(Clock(), 1e6))
        return self.loaded[-1]

    @property
    def closed(self) -> list[bool]:
        return [vocoder.engine.closed for vocoder in self.loaded]


def pool_of(**sources: Callable[[], Vocoder]) -> ModelPool:
    return ModelPool(sources, Telemetry())


async def test_models_are_loaded_once_when_first_asked_for() -> None:
    a, b = Loader(), Loader()
    pool = pool_of(a=a, b=b)
    assert [status.state for status in pool.statuses()] == ["unloaded", "unloaded"]
    leases = await asyncio.gather(*[pool.lease() for _ in range(5)], pool.lease("a"))
    assert (len(a.loaded), len(b.loaded)) == (1, 0)
    status = pool.status("a")
    assert (status.state, status.engine, status.sample_rate, status.hop_length, status.num_mels) == (
        ("ready", "pretended", 22050, 256, 80)
    )
    await pool.load()
    assert (len(a.loaded), len(b.loaded)) == (1, 1)
    await pool.close()
    assert (a.closed, b.closed) == ([False], [True])
    for lease in leases:
        lease.release()
        lease.release()
    assert a.closed == [True]
    with pytest.raises(ShuttingDown):
        await pool.lease()
    await pool.close()


@pytest.mark.parametrize("name", ["", "../a", "/etc/passwd", "A", "a\0", "a" * 10_000, "ljspeech-v1"])
async def test_a_name_is_looked_up_and_never_followed(name: str) -> None:
    pool = pool_of(a=Loader())
    for attempt in (pool.lease(name), pool.reload(name)):
        with pytest.raises(UnknownModel, match="choose a") as refused:
            await attempt
        assert len(str(refused.value)) < 400
    with pytest.raises(UnknownModel):
        pool.status(name)


async def test_a_reloaded_model_stays_until_its_last_lease() -> None:
    loader = Loader()
    pool = pool_of(a=loader)
    with await pool.lease() as old:
        copy = old.duplicate()
        await pool.reload()
        with await pool.lease() as new:
            assert (old.vocoder, new.vocoder) == tuple(loader.loaded)
        assert loader.closed == [False, False]
    assert loader.closed == [False, False]
    copy.release()
    assert loader.closed == [True, False]
    await pool.close()


async def test_what_a_closed_model_held_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader()
    given_back: queue.Queue[list[bool]] = queue.Queue()
    monkeypatch.setattr("hifigan_rt.tools.serving.leases.give_back_memory", lambda: given_back.put(list(loader.closed)))
    pool = pool_of(a=loader)
    (await pool.lease()).release()
    assert given_back.empty()
    await pool.reload()
    assert await asyncio.to_thread(given_back.get, timeout=10) == [True, False]
    await pool.close()


async def test_a_reload_waits_for_a_load_that_may_have_read_the_file_from_before() -> None:
    loader = Loader()
    loader.may_load.clear()
    pool = pool_of(a=loader)
    first = asyncio.create_task(pool.lease())
    await asyncio.sleep(0.01)
    assert pool.status().state == "loading"
    again = asyncio.create_task(pool.reload())
    await asyncio.sleep(0.01)
    loader.may_load.set()
    (await first).release()
    await again
    assert pool.status().loads == 2
    assert loader.closed == [True, False]
    await pool.close()


async def test_a_client_that_goes_while_a_model_loads_does_not_end_the_load() -> None:
    loader = Loader()
    loader.may_load.clear()
    pool = pool_of(a=loader)
    gone, stays = asyncio.create_task(pool.lease()), asyncio.create_task(pool.lease())
    await asyncio.sleep(0.01)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    loader.may_load.set()
    (await stays).release()
    assert len(loader.loaded) == 1
    await pool.close()
    assert loader.closed == [True]


async def test_a_model_that_cannot_be_loaded_says_so_without_its_path_and_is_not_tried_for_everyone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader()
    loader.failure = ModelNotFound("/secret/generator_v1 is not there")
    pool = pool_of(a=loader)
    for _ in range(3):
        with pytest.raises(ModelUnavailable) as refused:
            await pool.lease()
        assert "secret" not in str(refused.value)
        assert 0 < (refused.value.retry_after_seconds or 0) <= 5
    assert caplog.text.count("/secret/generator_v1") == 1
    assert pool.status().state == "failed"
    assert "secret" in (pool.status().error or "")
    loader.failure = None
    await pool.reload()
    assert (pool.status().state, pool.status().error) == ("ready", None)
    loader.failure = RuntimeError("odd")
    with pytest.raises(ModelUnavailable):
        await pool.reload()
    assert (pool.status().state, pool.status().error) == ("ready", "odd")
    (await pool.lease()).release()
    await pool.close()


def test_what_cannot_be_served_is_refused_when_it_is_loaded() -> None:
    async def scenario() -> None:
        unknown = Weights("m", TINY_MODEL.path, "none", TINY_MODEL.generator)
        vocoder = Vocoder(unknown, PretendedEngine(Clock(), 1.0))
        pool = pool_of(a=lambda: vocoder)
        with pytest.raises(ModelUnavailable):
            await pool.lease()
        assert "config.json" in (pool.status().error or "")
        assert vocoder.engine.closed

    asyncio.run(scenario())
    with pytest.raises(ConfigError, match="at least one"):
        pool_of()


async def test_a_lease_checks_mels_and_names_other_conventions() -> None:
    with await pool_of(a=Loader()).lease() as lease:
        for wrong in (np.zeros((79, 5), np.float32), np.zeros((2, 80, 5), np.float32), np.zeros((80, 0)), "mel"):
            with pytest.raises(MelInvalid):
                lease.check_mel(wrong)
        checked = lease.check_mel(np.linspace(-9, -3, 400).reshape(80, 5))
        assert checked.dtype == np.float32
        assert lease.diagnose(checked) is None
        assert "decibels" in (lease.diagnose(np.linspace(-80, -9, 400, dtype=np.float32).reshape(80, 5)) or "")
        assert "padding" in (lease.diagnose(np.full((80, 5), -3, np.float32)) or "")
        assert lease.audio_seconds(22050) == 256


def test_loads_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    loader = Loader()

    async def scenario() -> None:
        pool = ModelPool({"a": loader}, telemetry)
        await pool.load(["a"])
        loader.failure = ModelNotFound("gone")
        with caplog.at_level(logging.CRITICAL), pytest.raises(ModelUnavailable):
            await pool.reload()
        await pool.close()

    asyncio.run(scenario())
    assert b'hifigan_model_loads_total{model="a",result="ok"} 1.0' in telemetry.exposition()
    assert b'hifigan_model_loads_total{model="a",result="failed"} 1.0' in telemetry.exposition()


def test_a_model_without_mel_settings_serves_mels(caplog: pytest.LogCaptureFixture) -> None:
    known = PartialMelConfig({"sampling_rate": 22050})
    partial = replace(TINY_MODEL, mel_settings=known, notes=("n_fft is missing",))
    pool = pool_of(tiny=lambda: Vocoder(partial, PretendedEngine(Clock(), 1e6)))

    async def scenario() -> None:
        with await pool.lease() as lease:
            assert (lease.sample_rate, lease.hop_length) == (22050, 256)
            assert lease.diagnose(np.zeros((80, 300), np.float32)) is None
        await pool.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert "model 'tiny': n_fft is missing" in caplog.text


async def test_a_model_without_a_sample_rate_is_not_served() -> None:
    pool = pool_of(tiny=lambda: Vocoder(replace(TINY_MODEL, mel_settings=None), PretendedEngine(Clock(), 1e6)))
    with pytest.raises(ModelUnavailable):
        await pool.load()
    assert "must know the sample rate" in (pool.status().error or "")
    await pool.close()


def test_whole_mels_are_computed_in_segments_that_live_streams_can_wait_for(tmp_path) -> None:
    file = write_tiny(tmp_path)
    mel = tiny_mel(200)
    with load_to_serve(file) as served, load(file, segment_frames=64) as same:
        assert served.engine.offline_segment_frames == 64
        np.testing.assert_array_equal(served(mel), same(mel))
    for options, frames in (
        ({"segment_frames": 32}, 32), ({"settings": {"segment_frames": "48"}}, 48), ({"engine": "reference"}, None),
    ):  # fmt: skip
        with load_to_serve(file, **options) as named:
            assert named.engine.offline_segment_frames == frames


def test_a_voice_takes_segments_as_a_model_does_or_refuses_them(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    voice = tiny_voice(tmp_path)
    with load_voice_to_serve(voice, segment_frames=32) as native, load_voice_to_serve(voice) as usual:
        assert native.vocoder.engine_info.variant == "segments of 32 frames"
        assert usual.vocoder.engine_info.variant == "segments of 64 frames"
    with pytest.raises(EngineError, match="engine 'reference' has no setting 'segment_frames'"):
        load_voice_to_serve(voice, engine="reference", segment_frames=32)
