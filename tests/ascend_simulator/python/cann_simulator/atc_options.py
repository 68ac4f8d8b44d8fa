"""ATC's command line: its options, how each generation reads them, and the checks that need no model, in order."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cann_simulator.error_texts import AtcError
from cann_simulator.settings import generation

KNOWN_OPTIONS = (
    "mode", "model", "weight", "framework", "output", "soc_version", "input_format", "input_shape",
    "dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range", "insert_op_conf",
    "precision_mode", "keep_dtype", "customize_dtypes", "modify_mixlist", "op_select_implmode", "op_precision_mode",
    "optypelist_for_implmode", "enable_small_channel", "output_type", "out_nodes", "op_compiler_cache_mode",
    "op_compiler_cache_dir", "auto_tune_mode", "log", "om", "json", "host_env_os", "host_env_cpu", "buffer_optimize",
    "disable_reuse_memory", "fusion_switch_file", "core_type", "aicore_num", "input_fp16_nodes", "is_output_fp16",
    "is_input_adjust_hw_layout", "save_original_model", "out_of_order", "debug_dir", "op_debug_level", "op_name_map",
    "check_report", "dump_mode", "compression_optimize_conf", "sparsity", "display_model_info", "help",
)  # fmt: skip
NEW_OPTIONS = ("precision_mode_v2", "deterministic", "external_weight", "reuse_memory", "tiling_schedule_optimize")

IMPLEMENTATION_MODES = ("high_precision", "high_performance", "high_precision_for_all", "high_performance_for_all")
HALF_PRECISION = (
    "force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "allow_mix_precision_fp16", "force_fp32",
    "cube_fp16in_fp32out",
)  # fmt: skip
"""Modes whose products are of float16: force_fp32 is another name of cube_fp16in_fp32out (hicann/ge,
compiler/engines/nn_engine/utils/common/fe_context_utils.cc)."""
PRECISION_MODES = (*HALF_PRECISION, "must_keep_origin_dtype", "allow_mix_precision_bf16", "allow_fp32_to_bf16")
HALF_PRECISION_V2 = ("fp16", "mixed_float16")
PRECISION_MODES_V2 = (*HALF_PRECISION_V2, "origin", "cube_fp16in_fp32out", "mixed_bfloat16", "cube_hif8", "mixed_hif8")
KEEPING_MODES = ("must_keep_origin_dtype", "origin")
FLOAT16_CHIPS = (
    "Ascend310", "Ascend310P1", "Ascend310P3", "Ascend310P5", "Ascend310P7", "Ascend910A", "Ascend910B",
    "Ascend910ProA", "Ascend910ProB", "Ascend910PremiumA",
)  # fmt: skip
"""Chips whose `Intrinsic_mmad` has no `f322f32` (hicann/runtime, src/platform/platform_config/cann/Ascend*.ini)."""
LOG_LEVELS = ("debug", "info", "warning", "error", "null")
DYNAMIC_OPTIONS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range")
KNOWN_SOCS = ("Ascend310", "Ascend310P", "Ascend310B", "Ascend910", "Ascend950")
"""Beginnings; what follows them is a letter and digits."""
LONGEST_PATH = 4096


@dataclass(frozen=True)
class UnknownOption(Exception):
    """Ends the program before its first line."""

    text: str
    status: int


def parse(arguments: list[str]) -> dict[str, str]:
    """`--name=value`, `--name value`, `-name value`; the new front end also takes `--na-me`."""
    known = KNOWN_OPTIONS + (NEW_OPTIONS if generation() == 8 else ())
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if generation() == 8:
            name = name.replace("-", "_")
        if word in ("-h", "--help"):
            options["help"] = "true"
            continue
        if not word.startswith("-") or name not in known:
            if generation() == 6:
                raise UnknownOption(f"ERROR: unknown command line flag '{name}'", 1)
            raise UnknownOption(f"atc.bin: unrecognized option '{word}'", 255)
        options[name] = value if equals else rest.pop(0) if rest else ""
    return options


def check(options: dict[str, str]) -> None:
    """Everything that can be said before the model is read, in the order of the generation."""
    new = (
        check_framework,
        check_soc,
        check_output,
        check_model,
        check_files,
        check_switches,
        check_precision,
        check_dynamic,
    )
    old = (
        check_input_format, check_model, check_files, check_framework, check_output, check_switches, check_precision,
        check_dynamic, check_soc,
    )  # fmt: skip
    for step in new if generation() == 8 else old:
        step(options)
    if options.get("log", "null") not in LOG_LEVELS:
        raise AtcError("E10010", options["log"])


def check_framework(options: dict[str, str]) -> None:
    if options.get("framework") != "5":
        if options.get("framework") in ("0", "1", "3"):
            raise AtcError("E19999", "only ONNX models (--framework=5) are read by the simulator")
        raise AtcError("E10007", "framework", "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)")


def check_soc(options: dict[str, str]) -> None:
    soc = options.get("soc_version", "")
    if not soc:
        if generation() == 8:
            raise AtcError("E10054", "--soc_version")
        raise AtcError("E10001", "", "soc_version", "the soc version is not set")
    if not soc.startswith(KNOWN_SOCS):
        raise AtcError("E10001", soc, "soc_version", "it is not supported")


def check_output(options: dict[str, str]) -> None:
    output = options.get("output", "")
    if not output:
        raise AtcError("E10054", "--output") if generation() == 8 else AtcError("E10004", "output")
    if len(output) > LONGEST_PATH:
        raise AtcError("E10021", "output", LONGEST_PATH)
    if output.endswith("/") or Path(output).is_dir():
        raise AtcError("E10022", output, "output")


def check_model(options: dict[str, str]) -> None:
    model = options.get("model", "")
    if not model:
        raise AtcError("E10054", "--model") if generation() == 8 else AtcError("E10004", "model")
    path = Path(model)
    if not path.exists():
        raise AtcError("E13000" if generation() == 8 else "E19000", model, "No such file or directory")
    if path.is_dir():
        if generation() == 8:
            raise AtcError("E13026", model, "it is a directory")
        raise AtcError("E19001", model, "Is a directory")
    if not os.access(path, os.R_OK):
        raise AtcError("E13001" if generation() == 8 else "E19001", model, "Permission denied")


def check_files(options: dict[str, str]) -> None:
    """Look for files from where atc runs (hicann/ge, api/atc/main_impl.cc, and CheckInputPathValid of util.cc)."""
    for name in ("weight", "op_precision_mode", "op_name_map"):
        if options.get(name) and not os.access(options[name], os.R_OK):
            raise AtcError("E10001", options[name], f"--{name}", "realpath error, errmsg:No such file or directory")


def check_switches(options: dict[str, str]) -> None:
    if options.get("enable_small_channel", "0") not in ("0", "1"):
        raise AtcError("E10006", options["enable_small_channel"], "enable_small_channel")
    if "auto_tune_mode" in options:
        raise AtcError("E10001", options["auto_tune_mode"], "auto_tune_mode", "the option is no longer supported")
    mode = options.get("op_select_implmode")
    if mode is not None and mode not in IMPLEMENTATION_MODES:
        raise AtcError("E10001", mode, "op_select_implmode", "only support " + ", ".join(IMPLEMENTATION_MODES))
    if "optypelist_for_implmode" in options and mode is None:
        value = options["optypelist_for_implmode"]
        raise AtcError("E10001", value, "op_select_implmode", "op_select_implmode must be set with it")


def check_precision(options: dict[str, str]) -> None:
    mode, mode_v2 = options.get("precision_mode"), options.get("precision_mode_v2")
    if mode is not None and mode_v2 is not None:
        raise AtcError("E10056", "--precision_mode", "--precision_mode_v2")
    if mode is not None and mode not in PRECISION_MODES:
        raise AtcError("E10001", mode, "precision_mode", "it must be one of " + ", ".join(PRECISION_MODES))
    if mode_v2 is not None and mode_v2 not in PRECISION_MODES_V2:
        raise AtcError("E10001", mode_v2, "precision_mode_v2", "it must be one of " + ", ".join(PRECISION_MODES_V2))


def check_input_format(options: dict[str, str]) -> None:
    chosen = options.get("input_format", "NCHW")
    if chosen not in ("NCHW", "ND", "NCDHW"):
        raise AtcError("E10001", chosen, "--input_format", "only support NCHW, ND, NCDHW in ONNX model")
    if generation() == 6 and "dynamic_dims" in options and chosen != "ND":
        raise AtcError("E10001", chosen, "--input_format", "input_format must be ND when set dynamic_dims")


def check_dynamic(options: dict[str, str]) -> None:
    check_input_format(options)
    chosen = [name for name in DYNAMIC_OPTIONS if options.get(name)]
    if len(chosen) > 1:
        raise AtcError("E10009")
    for name in DYNAMIC_OPTIONS:
        if name in options and not options[name]:
            raise AtcError("E10054", f"--{name}") if generation() == 8 else AtcError("E10004", name)
    if chosen and not options.get("input_shape") and chosen != ["input_shape_range"]:
        raise AtcError("E10004", "input_shape")
    if "insert_op_conf" in options and "dynamic_dims" in chosen:
        value = options["insert_op_conf"]
        raise AtcError("E10001", value, "insert_op_conf", "The dynamic dims function does not support AIPP")


def print_unknown(error: UnknownOption) -> int:
    print(error.text, file=sys.stderr)
    return error.status
