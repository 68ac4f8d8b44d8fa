"""Ascend model files built by hand, for the tests of their reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ascend_simulator.python.cann_simulator.om_container import (
    INOUT_INFO,
    KERNELS,
    MODEL_DEF,
    TASKS,
    WEIGHTS,
    container,
    inout_info,
    inout_tensor,
    integer,
    list_attribute,
    message,
    model,
    model_def,
    op,
    tensor,
)

__all__ = [
    "ATTRIBUTES", "CASE", "COMMAND", "CONV", "GEAR", "INNER", "INOUT_INFO", "KERNELS", "MEL", "MODEL_DEF", "OUTPUT",
    "TASKS", "WEIGHTS", "container", "converted", "geared", "inout_info", "message", "model_def", "op", "tensor",
    "write",
]  # fmt: skip

COMMAND = (
    "/usr/local/Ascend/atc/bin/atc.bin --framework=5 --model=g.onnx --output=g_bs1 --input_format=ND "
    "--input_shape=mel_spec:1,80,-1 --dynamic_dims=250;500;1000 --soc_version=Ascend310P3 "
    "--precision_mode=must_keep_origin_dtype"
)
ATTRIBUTES = {"soc_version": "Ascend310P3", "atc_version": "1.82.22.1.220", "atc_cmdline": COMMAND}

MEL = op(
    "mel_spec", "Data", {"_mbatch_origin_input_dims": list_attribute([1, 80, -1])},
    outputs=[tensor("", 1, [1, 80, 1000])],
)  # fmt: skip
GEAR = op("ascend_mbatch_shape_data", "Data", outputs=[tensor("", 7, [1])])
CASE = op(
    "case", "Case",
    {"_batch_num": integer(3, 3), **{f"_pred_value_{i}": list_attribute([250 * 2**i]) for i in range(3)}},
)  # fmt: skip
CONV = op("conv_pre", "Conv2D", {"_pred_value_7": list_attribute([9] * 9)})
OUTPUT = op("net_output", "NetOutput", inputs=[tensor("", 1, [1, 256000])])
INNER = op("inner", "Data", outputs=[tensor("", 2, [1, 512, 250])])


def geared(*, wide: bool = True, inout: bool = False, command: bool = True) -> bytes:
    """A model with the gears 250, 500 and 1000, told in the definition, and in the list of inputs if wanted."""
    attributes = ATTRIBUTES if command else {key: value for key, value in ATTRIBUTES.items() if key != "atc_cmdline"}
    partitions = [
        (MODEL_DEF, model_def(attributes, [MEL, GEAR, CONV, CASE, OUTPUT], [INNER, OUTPUT])),
        (WEIGHTS, b"\x11" * 1000),
        (TASKS, b"\x22" * 100),
        (KERNELS, b""),
    ]
    if inout:
        ends = [inout_tensor("mel_spec", 0, [1, 80, -1])], [inout_tensor("squeeze:0:wavs", 1, [1, -1])]
        partitions.insert(0, (INOUT_INFO, inout_info(*ends, [[300], [600]])))
    return container(partitions, wide=wide)


def converted(gears: Sequence[Sequence[int]] = ((250,), (500,)), **attributes: str) -> bytes:
    """As atc would make one of 10 bands with these gears, with changed attributes."""
    ends = [
        [{"name": name, "dtype": "float32", "shape": shape}]
        for name, shape in (("mel_spec", [1, 10, -1]), ("squeeze:0:wavs", [1, -1]))
    ]
    return model(ATTRIBUTES | attributes, *ends, gears, b"\x11" * 1000, inout=True)


def write(folder: Path, content: bytes, name: str = "model.om") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
