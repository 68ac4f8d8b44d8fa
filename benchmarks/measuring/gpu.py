"""What the benchmarks on a GPU share: figures that are saved as they come, speech, and PyTorch at its best."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import read_audio
from hifigan_rt.engines import cuda_kernels
from hifigan_rt.engines.reference import generate
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.tools import records
from measuring.cases import ROOT


def card_name() -> str:
    """What nvidia-smi calls the card cuda:0, which need not be the first of its own.

    Raises:
        OSError: there is no driver, or no card.
    """
    driver = ctypes.CDLL(cuda_kernels.driver() or "libcuda.so.1")
    device, number = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        raise OSError("NVIDIA's driver has no cuda:0")
    if driver.cuDeviceGetUuid(ctypes.byref(number), device):
        raise OSError("NVIDIA's driver does not name cuda:0")
    return f"GPU-{uuid.UUID(bytes=bytes(number))}"


def told_by_smi(fields: str) -> str:
    """What nvidia-smi says of the card cuda:0."""
    try:
        query = ["nvidia-smi", f"--id={card_name()}", f"--query-gpu={fields}", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown: {error}"


def used_mib() -> int | None:
    """MiB that are taken of the card cuda:0, by whom ever; None if nvidia-smi does not tell."""
    told = told_by_smi("memory.used").split()
    return int(told[0]) if told[0].isdigit() else None


def in_a_line(error: BaseException) -> str:
    """An error as a figure."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class Report:
    """The figures, saved after each of them so that none is lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.perf_counter()
        self.figures: dict[str, Any] = {}

    def note(self, key: str, value: Any) -> None:
        self.figures[key] = value
        print(f"[{time.perf_counter() - self._started:6.1f} s] {key}: {value}", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        records.write_json(records.encoded(self.figures, keep_infinite=True), self.path)

    def note_driver(self) -> None:
        """Note the card, its driver and the host's processor."""
        self.note("card and driver", told_by_smi("name,driver_version"))
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        self.note("host", f"{os.cpu_count()} x {names[0] if names else platform.machine()}")


class Failed(Exception):
    """Some of what was to be measured."""


def each(report: Report, works: dict[str, Callable[[], None]]) -> None:
    """Do what notes its own figures, all of it: one that fails keeps no other one from being done.

    Raises:
        Failed: with the names of those that did.
    """
    failed = []
    for name, work in works.items():
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the other figures are wanted whatever it is
            traceback.print_exc()
            report.note(f"{name}: failed", in_a_line(error))
            failed.append(name)
    if failed:
        raise Failed(f"failed: {', '.join(failed)}")


class Speech:
    """Mels of the samples, and the float64 truth of some."""

    def __init__(self, vocoder: Any) -> None:
        recordings = sorted((ROOT / "samples").glob("*.flac"))
        mels = [compute_mel(read_audio(path).samples, vocoder.mel_config) for path in recordings]
        self.long = np.tile(np.concatenate(mels, axis=1), (1, 4))
        self.clips = {path.stem: np.ascontiguousarray(mel[:, :250]) for path, mel in zip(recordings, mels, strict=True)}
        harbour = compute_mel(read_audio(ROOT / "samples/harbour.flac").samples, vocoder.mel_config)
        self.clip = np.ascontiguousarray(harbour[:, 40:290])
        self.truth = generate(vocoder.model.generator, self.clip)
        rng = np.random.default_rng(1)
        self.list = [self.part(rng, int(length)) for length in rng.integers(60, 400, 16)]

    def part(self, rng: np.random.Generator, frames: int) -> np.ndarray:
        start = int(rng.integers(0, self.long.shape[1] - frames))
        return np.ascontiguousarray(self.long[:, start : start + frames])

    def batch(self, items: int, frames: int) -> np.ndarray:
        rng = np.random.default_rng(items + frames)
        return np.stack([self.part(rng, frames) for _ in range(items)])


def best_of_torch(
    generator: Any, precision: str, mel: np.ndarray, *, compiled: bool
) -> tuple[Callable[[], float], Callable[[], np.ndarray]]:
    """PyTorch's fastest form of a network for one shape: in float16 channels last, as a CUDA graph, compiled if wanted.

    Returns:
        What computes the mel once and tells the milliseconds by the card's clock, and what gives its audio.
    """
    import torch
    import torch._dynamo

    from hifigan_rt.engines.torch_module import Form, TorchGenerator

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    # Without it, networks and shapes from the ninth on would run as they are: it counts what one process compiled.
    torch._dynamo.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    dtype = getattr(torch, precision)
    module: Any = TorchGenerator(generator, Form(dtype, dtype, channels_last=dtype == torch.float16)).cuda()
    network = torch.compile(module, dynamic=False) if compiled else module
    given = torch.from_numpy(mel).cuda()
    side = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(4):
            network(given)
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            audio = network(given)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run(kept: object = network) -> float:  # noqa: ARG001 - the graph reads its weights
        began.record()
        graph.replay()
        ended.record()
        ended.synchronize()
        return float(began.elapsed_time(ended))

    return run, lambda: audio.float().cpu().numpy()
