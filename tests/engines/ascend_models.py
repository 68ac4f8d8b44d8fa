"""Small .om files of the simulator, each made once, and engines on them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

import tolerances
from ascend_simulator.models import convert
from golden.seeded import seeded_mel
from golden.tiny import TINY, tiny_generator
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.ascend import AscendEngine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.model.kinds import OmFile

GENERATOR = tiny_generator()
HOP = GENERATOR.graph.hop_length
DEFAULT_GEARS = tuple(range(250, 2001, 250))
SILENCE = np.float32(np.log(1e-5))


def mels_of(batch: int, frames: int) -> np.ndarray:
    return seeded_mel(batch, 10, frames, seed=frames).astype(np.float32)


class Place:
    """Makes .om files, and engines that are closed at the test's end."""

    def __init__(self, simulator, folder: Path) -> None:
        self.simulator = simulator
        self._folder = folder
        self.engines: list[AscendEngine] = []

    def open_om(self, batch=1, rank=3) -> Path:
        """A model of open lengths, under the name that `hifigan export om` gives it."""
        self.simulator.set(OM_NAMING="plain")
        return self.om((), batch, rank)

    def om(self, gears=DEFAULT_GEARS, batch=1, rank=3, soc="Ascend310P3", precision="cube_fp16in_fp32out") -> Path:
        name = f"g{'_'.join(map(str, gears))}_bs{batch}_r{rank}_{soc}_{precision}_{self.simulator.generation}"
        path = self._folder / f"{name}.om"
        if not path.exists():
            frames = gears[0] if len(gears) == 1 else -1
            dims = [batch, 10, frames] if rank == 3 else [batch, 10, 1, frames]
            convert(
                self.simulator,
                self._folder,
                name,
                rank=rank,
                soc_version=soc,
                precision_mode=precision,
                input_shape=f"mel_spec:{','.join(map(str, dims))}",
                dynamic_dims=";".join(map(str, gears)) if len(gears) > 1 else None,
            )
        return path

    def engine(self, om: Path, device: str | None = None, **settings: str) -> AscendEngine:
        model = OmFile(om.name, om, "om", TINY, 10)
        engine = create_engine("ascend", model, EngineOptions(device=device, settings=settings))
        assert isinstance(engine, AscendEngine)
        self.engines.append(engine)
        return engine


def truth(mels: np.ndarray) -> np.ndarray:
    return np.stack([generate(GENERATOR, mel) for mel in mels])


def pids(engine: AscendEngine) -> list[int]:
    return [worker.pid for worker in engine._pool._workers.values()]


def stop(pid: int) -> None:
    """Make a worker hang, as a device that does not answer makes it."""
    os.kill(pid, signal.SIGSTOP)


def works(engine, mel: np.ndarray) -> None:
    assert snr_db(truth(mel), engine.run(mel)) >= tolerances.FLOAT32_ENGINE_SNR_DB


STAND_IN = """
import ctypes
class session_options: pass
class Tensor:
    def __init__(self, array): pass
    def to_device(self, device): pass
class Description:
    name, shape, datatype = "mel_spec", [1, 10, 100], 0
class InferenceSession:
    def __init__(self, model, device, options): pass
    def get_inputs(self): return [Description()]
    get_outputs = get_inputs
    def set_staticbatch(self): pass
    def run(self, names, feeds):
        print("busy", flush=True)
        ctypes.PyDLL(None).sleep(600)  # holds Python's lock
"""
"""An aclruntime that is not the simulator's, and runs for ever."""
