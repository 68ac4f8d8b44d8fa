"""The C++ core of hifigan-rt; use it through the package's public names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def cuda_device(driver: str, device: int) -> tuple:
    """
    Name, compute capability (80 for 8.0) and the driver's CUDA version (12090 for 12.9) of a card; EngineUnavailable says why not. The card is not used for it. `driver` names its library, empty for the system's.
    """

def describe_dlpack(array: Annotated[NDArray, dict(device='cuda', writable=False)]) -> tuple:
    """
    Address, number of the card, (code, bits) of the dtype, shape and steps of an array on a card: an object of DLPack, or its capsule.
    """

class CudaPass:
    """A pass that was begun."""

class CudaNetwork:
    """
    A network on a card of NVIDIA's. Safe to use from several threads, in turn.
    """

    def __init__(self, driver: str, device: int, image: bytes, plan: dict, weights: bytes, memory: int) -> None: ...

    def begin(self, items: list, mels: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)]], added: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)], with_steps: bool = False) -> CudaPass:
        """
        Begin to compute items (frames before, frames after, whether the signal ends, state) of float32 [M, F_i].
        """

    def begin_on_card(self, items: list, mels: list, added: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)], audios: Sequence[int]) -> CudaPass:
        """
        The same with mels on the card, (address, band step, frame step, kind of number), and addresses of float32 for the audio.
        """

    def results(self, begun: CudaPass) -> tuple:
        """
        Wait for a pass: float32 [n] each, unless they stay on the card; [items, layers + 1], the largest magnitude that each layer stored, the mel's behind them; the card's microseconds; and on demand those of each kernel, by its name.
        """

    def samples_of(self, item: tuple) -> int:
        """Samples that an item gives."""

    @property
    def stream(self) -> int:
        """The stream on which it computes, by the driver's handle."""

    def number_of_card(self, address: int) -> int:
        """
        The number of the card on which an address lies; -1 if the driver knows none.
        """

    def wait_for(self, stream: int) -> None:
        """
        Let passes from now on wait for what another stream was given so far; 1 is the default one.
        """

    def take_state(self) -> int:
        """Room for a stream's rows."""

    def give_state(self, state: int) -> None: ...

def supported_isas() -> list[str]:
    """
    Instruction sets that this processor can run, slowest first: 'generic', 'avx2', 'avx512', 'amx', 'neon'.
    """

def request_tiles(isa: str) -> str:
    """
    Ask the system for the tile unit; give why an instruction set has none, empty for 'amx' with it and 'amx-software'.
    """

def measure_multiply_adds(isa: str, threads: int, seconds: float, precision: str = 'float32') -> float:
    """
    Multiply-adds in registers per second of processor time, of all threads together.
    """

def measure_memory(threads: int, bytes: int, seconds: float) -> tuple[float, float]:
    """
    Bytes per second read, and copied (read and written counted), from and to buffers of so many bytes.
    """

def call_interruptible(function: Callable, interlude: Callable) -> object:
    """
    Call a function; whenever the core has computed in it for a while, `interlude` is called, which may compute as well.
    """

def tunings() -> list[str]:
    """
    Names of the ways through the caches; the first is used where nothing was measured.
    """

def second_cache_bytes() -> int:
    """Bytes of a core's second cache, as the engine takes it."""

class SegmentStream:
    """
    One signal, a few frames at a time. It is open, finished, broken or closed, and in use by at most one thread; what is not possible raises StreamFinished, StreamBroken, StreamClosed or StreamBusy.
    """

    def push(self, mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)]) -> Annotated[NDArray[numpy.float32], dict(shape=(None,))]:
        """
        Take float32 [M, F], the frames of one band side by side; give the samples that became determined.
        """

    def finish(self) -> Annotated[NDArray[numpy.float32], dict(shape=(None,))]:
        """End the signal; give the rest of the samples."""

    def reset(self) -> None:
        """Forget the signal and wait for another one."""

    def close(self) -> None:
        """Free the memory; closing twice is allowed."""

    @property
    def segment_frames(self) -> int: ...

    @property
    def state_bytes(self) -> int: ...

    @property
    def frames(self) -> int:
        """Frames taken in."""

    @property
    def pending_samples(self) -> int:
        """Samples that `finish` would give now."""

class NetworkLayer:
    """
    One layer of the network, as `hifigan_rt.graph.Layer` has it; `kind` is 'conv' or 'conv_transpose', `activation` 'none' or 'leaky_relu' with a slope from 0 to 1.
    """

    def __init__(self, *, name: str, kind: str, in_channels: int, out_channels: int, kernel_size: int, stride: int, dilation: int, padding_left: int, padding_right: int, padding_mode: str, activation: str, slope: float, bias: bool, inputs: Sequence[str], residual: str | None, conditioning: str | None, gated: bool = False, joins: bool = False) -> None: ...

class LoadedGenerator:
    """Packed weights, a plan and a pool of threads."""

    def __init__(self, layers: Sequence[NetworkLayer], weights: dict, isa: str, segment_frames: int, threads: int, plan: Mapping[str, str], *, output: str = 'tanh', input_normalization: bool = False, conditioning_channels: int = 0, precision: str = 'float32') -> None: ...

    def run(self, mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], conditioning: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]:
        """
        float32 [B, M, T], with float32 [B, G] if the generator is conditioned, to float32 [B, N].
        """

    def run_many(self, mels: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)]], conditioning: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> list:
        """
        A list of float32 [M, T] of any lengths, with float32 [B, G], to a list of float32 [N].
        """

    def measure(self, mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], conditioning: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> list[float]:
        """
        Seconds per layer of the plan for one float32 [M, T], with float32 [1, G].
        """

    def stream(self, segment_frames: int, conditioning: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> SegmentStream:
        """Open a stream, with float32 [1, G]."""

    def plan(self) -> list:
        """The plan of `run`, one dict per layer."""

    def plan_for(self, segment_frames: int) -> list:
        """The plan for another segment length."""

    def tune(self, name: str) -> None:
        """Take another way through the caches from now on; changes no bit."""

    @property
    def tuning(self) -> str: ...

    @property
    def isa(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def segment_frames(self) -> int: ...

    @property
    def weight_bytes(self) -> int: ...

def measure_tunings(isa: str, seconds: float, lender: LoadedGenerator | None = None) -> list[list[float]]:
    """
    Seconds of processor time of one layer, [round][tuning], with direct convolution behind the last tuning. Weights are read from the memory of `lender`, as far as it reaches.
    """
