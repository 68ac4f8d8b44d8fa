"""`atc`: checks, texts and exit codes of the vendor's converter; the result is the simulator's own .om."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cann_simulator import CAVEAT
from cann_simulator.atc_options import (
    FLOAT16_CHIPS,
    HALF_PRECISION,
    HALF_PRECISION_V2,
    KEEPING_MODES,
    UnknownOption,
    check,
    parse,
    print_unknown,
)
from cann_simulator.atc_shapes import Shapes, read_shapes
from cann_simulator.error_texts import KNOWN, AtcError, error_block
from cann_simulator.om_file import NotSimulated, read_om, write_om
from cann_simulator.settings import fault, generation, hang, refuse_real_cann

STARTED = "ATC start working now, please wait for a moment."
SUCCEEDED = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
FAILURE_STATUS = 255
VERSIONS = {6: "1.82.22.1.220", 8: "8.1.RC1"}
_NOT_UTF8 = "警告：转换".encode("gbk")


def main(arguments: list[str]) -> int:
    try:
        refuse_real_cann()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    try:
        options = parse(arguments)
    except UnknownOption as error:
        return print_unknown(error)
    if "help" in options:
        print(f"usage: atc <args>  ({CAVEAT}; options: see --framework, --model, --output, --soc_version)")
        return 0
    print(STARTED, flush=True)
    if fault("atc:hang") is not None:
        hang()
    if fault("atc:not-utf8") is not None:
        sys.stdout.buffer.write(_NOT_UTF8 + b"\n")
    modes: dict[str, Callable[[dict[str, str]], None]] = {"0": build, "1": to_json, "6": display}
    try:
        modes.get(options.get("mode", "0"), refuse_mode)(options)
    except AtcError as error:
        print(FAILED)
        print(error_block(error), flush=True)
        return FAILURE_STATUS
    print(SUCCEEDED)
    if fault("atc:warning") is not None:
        print("W11001: Op [stages.0.mean] does not hit the high-priority operator information library, which might "
              "result in compromised performance.")  # fmt: skip
    return 0


def refuse_mode(options: dict[str, str]) -> None:
    raise AtcError("E19999", f"--mode={options['mode']} is unsupported in simulator")


def build(options: dict[str, str]) -> None:
    """ONNX to .om."""
    if fault("atc:no-driver") is not None:
        library = "libascend_hal.so: cannot open shared object file: No such file or directory"
        print(f"atc.bin: error while loading shared libraries: {library}")
        sys.exit(127)
    wanted = fault("atc:error")
    if wanted is not None:
        if wanted not in KNOWN:
            sys.exit(f"SIM_FAULT=atc:error={wanted}: no such code")
        raise AtcError(wanted)
    # Loading onnx takes a while: the checks of the command line come without it.
    check(options)
    from cann_simulator.onnx_model import model_inputs, other_names, read_model

    model, content = read_model(Path(options["model"]))
    shapes = read_shapes(options, model_inputs(model), other_names(model))
    if generation() == 8:
        print("." * 9, flush=True)
    facts = _facts(options, model, content, shapes)
    _check_python()
    _check_products(options["soc_version"], facts["precision_mode"])
    path = _output_path(options["output"], shapes)
    _compile(shapes, path, content)
    if fault("atc:no-output") is not None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_om(path, facts, content)
        if fault("atc:disk-full") is not None:
            _fill_disk(path)
    except OSError as error:
        if generation() == 8:
            raise AtcError("E13004", path, error.strerror) from error
        raise AtcError("E19999", f"[Write][File] {path} failed, errmsg: {error.strerror}") from error


def _facts(options: dict[str, str], model: Any, content: bytes, shapes: Shapes) -> dict[str, Any]:
    from cann_simulator.onnx_model import describe, infer_outputs, model_inputs

    mode = options.get("precision_mode") or options.get("precision_mode_v2") or "force_fp16"
    half = mode in HALF_PRECISION or mode in HALF_PRECISION_V2
    names = list(shapes.inputs)
    ends = [value for value in model.graph.input if value.name in model_inputs(model)]
    producers = {output: node.name for node in model.graph.node for output in node.output}
    outputs = [f"{producers.get(value.name) or value.name}:0:{value.name}" for value in model.graph.output]
    return {
        "soc_version": options["soc_version"],
        "atc_version": VERSIONS[generation()],
        "atc_cmdline": shlex.join(["atc.bin", *sys.argv[1:]]),
        "inputs": describe(ends, [shapes.inputs[name] for name in names], names),
        "outputs": describe(model.graph.output, infer_outputs(model, shapes.inputs), outputs),
        "largest_outputs": infer_outputs(model, shapes.largest),
        "dynamic_dims": shapes.gears,
        "input_dims_of_gears": shapes.dims_of_gears,
        "precision_mode": mode,
        "weights": os.environ.get("SIM_WEIGHTS") or ("float16" if half else "float32"),
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "simulator": True,
        "note": CAVEAT,
        "dynamic_kind": shapes.kind,
    }


def _output_path(output: str, shapes: Shapes) -> Path:
    naming = os.environ.get("SIM_OM_NAMING", "linux" if shapes.kind == "shape" else "plain")
    return Path(output + (f"_linux_{platform.machine()}" if naming == "linux" else "") + ".om")


def _check_python() -> None:
    """The operator compiler imports NumPy in the first python3 on PATH: an environment of pip has NumPy 2 today.

    Which python3: hicann/ge compiler/opcompiler/op_compile_adapter/source/python_adapter/py_decouple.cc.
    """
    found = Path(shutil.which("python3") or "/usr/bin/python3")
    traces = [name for name in ("VIRTUAL_ENV", "PYTHONHOME") if name in os.environ]
    traces += [str(found)] if (found.parent.parent / "pyvenv.cfg").exists() else []
    if traces:
        text = "AttributeError: module 'numpy' has no attribute 'float_' in the NumPy 2.0 release"
        raise AtcError("E40020", f"[te_fusion.fusion_manager] of {', '.join(traces)}", text)


def _check_products(soc_version: str, mode: str) -> None:
    """A chip without float32 products has no float32 kernel of a convolution, and its AI CPU has none either.

    The text: hicann/ge compiler/engines/nn_engine/optimizer/ops_kernel_store/sub_ops_store.cc.
    """
    if mode in KEEPING_MODES and soc_version in FLOAT16_CHIPS:
        kind = "data type DT_FLOAT of input [x] is not supported. All supported data type and format of tensor "
        kind += "input0.x is: Data Type: {DT_FLOAT16}Format:{NC1HWC0}"
        reason = f"[Dynamic shape check]: {kind}[Static shape check]:{kind}"
        raise AtcError("EZ3002", "Conv2D", "AIcoreEngine", reason)


def _compile(shapes: Shapes, path: Path, content: bytes) -> None:
    """Where the operators would be compiled: the faults of that stage."""
    most = fault("atc:gears")
    if most is not None and len(shapes.gears) > int(most):
        raise AtcError("E20001", f"conv_pre_ascend_mbatch_batch_{most}")
    if fault("atc:op-store") is not None:
        raise AtcError("EZ3002", "TransData", "AIcoreEngine", "TransData not found in this op store")
    if fault("atc:dynamic-chip") is not None and shapes.kind == "shape":
        raise AtcError("EZ3002", "Conv2D", "AIcoreEngine", "Dynamic shape is not supported on this chip!")
    if fault("atc:half-way") is not None:
        path.write_bytes(content[: len(content) // 2])
        print("E90003: ", end="", flush=True)
        os._exit(137)  # as when the kernel kills it for want of memory


def _fill_disk(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read(options: dict[str, str]) -> dict[str, Any]:
    try:
        return read_om(Path(options.get("om", "")))[0]
    except (NotSimulated, OSError) as error:
        raise AtcError("E10001", options.get("om", ""), "om", f"Invalid om file: {error}") from error


def to_json(options: dict[str, str]) -> None:
    import json

    Path(options.get("json") or "model.json").write_text(json.dumps(_read(options), indent=1))


def display(options: dict[str, str]) -> None:
    facts = _read(options)
    size = Path(options["om"]).stat().st_size
    print("============ Display Model Info start ============")
    print(f"Original Atc command line: {facts['atc_cmdline']}")
    print(
        f"system   info: atc_version[{facts['atc_version']}], soc_version[{facts['soc_version']}], framework_type[5]."
    )
    print(f"resource info: memory_size[0 B], weight_size[{size} B], stream_num[1], event_num[0].")
    print(f"om       info: modeldef_size[{size} B], {CAVEAT}.")
    print("============ Display Model Info end   ============")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
