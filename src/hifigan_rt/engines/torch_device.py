"""Which devices PyTorch has here, and which precisions they execute."""

from __future__ import annotations

import importlib.util

import torch

from hifigan_rt.errors import EngineUnavailable, PrecisionUnavailable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
        torch.ones(1, device=device).add(1).cpu()
    # PyTorch asserts that it was compiled with a device.
    except (RuntimeError, AssertionError) as error:
        raise EngineUnavailable(
            f"device={name!r} is not there for PyTorch {torch.__version__} ({first_line(error)}): "
            f"it has {', '.join(devices())}"
        ) from error
    if device.type == "cpu" and device.index:
        raise EngineUnavailable(f"device={name!r} is not there: PyTorch has one 'cpu', threads= divides it")
    return device


def devices() -> list[str]:
    """What can be named here."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what a device would compute in float32 in its place.

    Raises:
        PrecisionUnavailable: it would.
    """
    executed = True
    if precision != "float32" and device.type == "cpu":
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


def first_line(error: BaseException) -> str:
    """The first sentence of what PyTorch says."""
    text = str(error).strip()
    return text.splitlines()[0].partition(". ")[0][:300] if text else type(error).__name__
