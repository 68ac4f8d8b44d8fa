"""Which devices PyTorch has here, which precisions they execute, and how much memory is left."""

from __future__ import annotations

import importlib.util
import re

import torch

from hifigan_rt.engines.torch_module import Form
from hifigan_rt.errors import EngineUnavailable, PrecisionUnavailable

OLDEST = (2, 6)
"""PyTorch that has what is used here."""

_DTYPES = {
    "float32": (torch.float32, torch.float32),
    # No float32 convolution of the same call could be spared.
    "tf32": (torch.float32, torch.float64),
    "bfloat16": (torch.bfloat16, torch.float32),
    "float16": (torch.float16, torch.float32),
}
"""Types of all layers, and of the first one, which sees the mel."""


def check_version() -> None:
    """Refuse a PyTorch that is too old.

    Raises:
        EngineUnavailable: it is.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if numbers < OLDEST:
        raise EngineUnavailable(
            f"engine 'torch' needs PyTorch {OLDEST[0]}.{OLDEST[1]} or newer, and {torch.__version__} is installed: "
            "pip install --upgrade torch"
        )


def open_device(name: str) -> torch.device:
    """A device that really computes.

    Args:
        name: as PyTorch has it: "cpu", "cuda:0", "mps", "xpu:0", "npu:0".

    Raises:
        EngineUnavailable: it is not there; the text names what is.
    """
    if name.partition(":")[0] == "npu":
        if importlib.util.find_spec("torch_npu") is None:
            raise EngineUnavailable(
                f"device={name!r} needs the package torch_npu, which adds Ascend devices to PyTorch "
                f"{torch.__version__}: install the release that belongs to it"
            )
        importlib.import_module("torch_npu")
    try:
        device = torch.device(name)
        tried = torch.ones(1, device=device)
        tried.add(1).cpu()
    # PyTorch asserts that it was compiled with a device, and imports the module of one that another package brings.
    except (RuntimeError, AssertionError, ImportError) as error:
        if "forked subprocess" in str(error):
            raise EngineUnavailable(
                f"device={name!r} cannot be used in a process that was forked from one that uses it: start it with "
                "multiprocessing's method 'spawn'"
            ) from error
        raise EngineUnavailable(
            f"device={name!r} is not there for PyTorch {torch.__version__} ({first_line(error)}): "
            f"it has {', '.join(devices())}"
        ) from error
    if device.type == "cpu" and device.index:
        raise EngineUnavailable(f"device={name!r} is not there: PyTorch has one 'cpu', threads= divides it")
    return device if device.type == "cpu" else tried.device  # with its number, as tensors there have it


def devices() -> list[str]:
    """What can be named here."""
    # Not by check_available=True, which PyTorch 2.6 does not know.
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what a device would compute in float32 in its place.

    Raises:
        PrecisionUnavailable: it would.
    """
    executed = True
    if precision == "tf32":
        # AMD's cards are "cuda" for PyTorch, and have none.
        is_nvidia = device.type == "cuda" and torch.version.hip is None
        if not is_nvidia or torch.cuda.get_device_capability(device) < (8, 0):
            raise PrecisionUnavailable(
                f"precision='tf32' is not executed by device {str(device)!r}: it is for NVIDIA's cards of compute "
                "capability 8.0 and later; use float32"
            )
    elif precision != "float32" and device.type == "cpu":
        # What oneDNN says of itself. Where it says no, float16 took five times as long as float32.
        answer = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}[precision]
        executed = bool(getattr(torch.ops.mkldnn, answer)())
    elif precision == "bfloat16" and device.type == "cuda":
        executed = torch.cuda.is_bf16_supported(including_emulation=False)
    if not executed:
        others = "float32 or bfloat16" if precision == "float16" else "float32"
        raise PrecisionUnavailable(
            f"precision={precision!r} is not executed by device {str(device)!r}, which would emulate it: use {others}"
        )


def form_for(precision: str, device: torch.device) -> Form:
    """The types and the memory layout that are fastest there (docs/torch.md)."""
    dtype, first_dtype = _DTYPES[precision]
    if device.type == "cuda" and precision == "float32":
        return Form(dtype, first_dtype, channels_last=False)
    return Form(dtype, first_dtype, folded=device.type == "cuda")


def joined_frames(rows_per_frame: int, form: Form, device: torch.device) -> int:
    """Frames of a row whose working memory takes at most 1 GiB, and a sixteenth of the card's.

    Args:
        rows_per_frame: numbers that the largest value has per frame.
        form: of the module.
        device: a card.
    """
    memory = min(1 << 30, torch.cuda.mem_get_info(device)[1] // 16)
    return int(memory // (_LIVE_VALUES * rows_per_frame * form.dtype.itemsize))


_LIVE_VALUES = 24
"""Memory that a row takes at most, in units of its largest value: 15 to 24 were seen with cuDNN 9.19."""


def out_of_memory(error: BaseException, device: torch.device) -> str | None:
    """What a failure for want of memory comes down to, with the bytes; None if it is another one."""
    text = str(error)
    if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in text:
        return None
    asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w*)", text)
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"{f'{asked[1]} more were needed, and ' if asked else ''}{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free"
    )


def first_line(error: BaseException) -> str:
    """The first sentence of what PyTorch says."""
    text = str(error).strip()
    return text.splitlines()[0].partition(". ")[0][:300] if text else type(error).__name__
