"""The error codes of ATC with their texts, of both generations, and the block they are printed in.

The messages are what the tools print, to the letter, because programs read them; of the solutions, which only people
read, one stands for all.
"""

from __future__ import annotations

import datetime
import os

from cann_simulator.settings import fault, generation

_OLD_DYNAMIC = "[--dynamic_batch_size], [--dynamic_image_size], or [--dynamic_dims]"
_NEW_DYNAMIC = "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims"

NEW = {
    "E10001": "Value {} for parameter {} is invalid. Reason: {}",
    "E10002": "Value {} for parameter --input_shape is invalid. Reason: {}. The value must be formatted as {}.",
    "E10003": "Value {} for parameter --{} is invalid. Reason: {}",
    "E10004": "Value for --{} is empty.",
    "E10006": "Value {} for parameter --{} is invalid. The value must be either 1 or 0.",
    "E10007": "--{} is required. The value must be {}.",
    "E10009": "--dynamic_batch_size, --dynamic_image_size, --input_shape_range, and --dynamic_dims are mutually "
    "exclusive.",
    "E10010": "Value {} for parameter --log is invalid.",
    "E10011": "Value {} for parameter --input_shape is invalid. Shape values must be positive integers. "
    "The error value in the shape is {}.",
    "E10016": "Opname {} specified in --{} is not found in the model. Confirm whether this node name exists, "
    "or the node is not split with the specified delimiter ';'.",
    "E10017": "Input Op {} specified in --{} is invalid. The Op type must be Data.",
    "E10018": "Value {} for shape {} is invalid. When --dynamic_batch_size is included, only batch size N can be -1 "
    "in --input_shape.",
    "E10021": "Path for parameter --{} is too long. Keep the length within {}.",
    "E10022": "Path {} for parameter --{} does not include the file name.",
    "E10035": _NEW_DYNAMIC + " has {} profiles, which is less than the minimum {}.",
    "E10036": _NEW_DYNAMIC + " has {} profiles, which is greater than the maximum {}.",
    "E10038": "Dimension size {} is invalid. The value must be greater than 0.",
    "E10039": f"The {_NEW_DYNAMIC} argument have duplicate profiles.",
    "E10040": f"As the {_NEW_DYNAMIC} argument is included, the corresponding nodes specified in --input_shape must "
    "have -1 axes and cannot have '~'.",
    "E10041": "Failed to load the model from {}.",
    "E10045": "The number of -1 axes in the --input_shape argument exceeds the dimension count per profile in "
    "--dynamic_dims.",
    "E10046": "The total number of -1 axes in the --input_shape argument is greater than the dimension count per "
    "profile in --dynamic_dims.",
    "E10049": "Dimension count {} configured in --input_shape does not match dimension count {} of the node.",
    "E10054": "The required parameter {} for ATC is empty. Another possible reason is that the values of some "
    'parameters are not enclosed by quotation marks ("").',
    "E10056": "Cannot configure both parameters {} and {} simultaneously.",
    "E13000": "Path {} is empty. Reason: {}.",
    "E13001": "Failed to open file {}. Reason: {}.",
    "E13004": "Failed to write file {}. Reason: {}.",
    "E13025": "Input tensor is invalid. Reason: {}.",
    "E13026": "Input path {} is invalid. Reason: {}",
    "E16001": "The model has no {} node.",
    "E16002": "No ONNX parser is registered for optype {}.",
    "E16004": "ONNX model has no graph.",
    "E16005": "The model has {} {} fields, but only one is allowed.",
}

OLD = {
    "E10001": "Value [{}] for [{}] is invalid. Reason: {}.",
    "E10002": "Value [{}] for [--input_shape] is invalid. Reason: {}. Must be formatted as [{}].",
    "E10003": "Value [{}] for the [--{}] argument is invalid. Reason: {}.",
    "E10004": "Value for [--{}] is empty.",
    "E10006": "Value [{}] for [--{}] is invalid. Must be either 1 or 0.",
    "E10007": "[--{}] is required. Must be [{}].",
    "E10009": "[--dynamic_batch_size], [--dynamic_image_size], and [--dynamic_dims] are mutually exclusive.",
    "E10010": "invalid value for --log:{}, only support debug, info, warning, error, null",
    "E10011": "Argument [{}] for [--input_shape] is invalid. Shape values must be positive integers. "
    "The error value is: {}.",
    "E10016": "Input Op [{}] specified in [--{}] is not found in the model.",
    "E10017": "Input Op [{}] specified in [--{}] is invalid.",
    "E10018": "Value [{}] for shape [{}] is invalid. When [--dynamic_batch_size] is included, only batch size N can "
    "be –1 in [--input_shape].",  # the dash is the vendor's
    "E10021": "Directory for [--{}] is too long. Keep the length within {}.",
    "E10022": "Directory [{}] for [--{}] does not include the file name",
    "E10035": f"The {_OLD_DYNAMIC} argument has [{{}}] profiles, which is less than the minimum [{{}}].",
    "E10036": _OLD_DYNAMIC + " has [{}] profiles, which exceeds the maximum [{}].",
    "E10038": "Dimension size [{}] is invalid. Must be greater than 0.",
    "E10039": f"The {_OLD_DYNAMIC} argument have duplicate profiles.",
    "E10040": f"As the {_OLD_DYNAMIC} argument is included, the corresponding nodes specified in [--input_shape] must "
    "have –1 axes.",
    "E10041": "Failed to load the model from [{}]. Check the model file or the [--framework] argument.",
    "E10045": "The number of –1 axes overflow for data [{}] with shape [{}].",
    "E10046": "The number of –1 axes of data [{}] with shape [{}] is greater than the dimension count per profile.",
    "E16001": "The model has no [{}] node.",
    "E16004": "The ONNX model has no graph.",
    "E16005": "The model has [{}] [{}] fields, but only one is allowed.",
    "E19000": "Path [{}] is empty. Reason: {}.",
    "E19001": "Failed to open file [{}]. Reason: {}.",
    "E19010": "No parser is registered for Op [{}], optype [{}].",
    "E50056": "Dilation [{}] of the convolution is not supported on this chip.",
    "E50058": "auto_pad [{}] of the convolution is not supported.",
}

# E4....: hicann/runtime src/dfx/error_manager/error_code.json.
COMPILER = {
    "E20001": "Failed to compile Op [{}].",
    "E40001": "Value {} for environment variable {} is invalid when {}. Reason: {}.",
    "E40002": "Unsupported Python version: {}. Expected: {} or later.",
    "E40020": "Failed to import Python module {}. Reason: {}.",
    "E40021": "Failed to compile Op [{}]. (oppath: [{}], optype: [{}])",
    "E40024": "Failed to call Python Method {}. Reason: {}.",
    "E90000": "Failed to compile Op [{}]. (oppath: [Pre-compile], optype: [{}])",
    "E90001": "Argument [{}] is invalid. Reason: {}",
    "E90002": "Argument [{}] is invalid. Reason: {}",
    "E90003": "Failed to pre-compile Op [{}] with optype [{}].",
    "EZ3002": "Optype [{}] of Ops kernel [{}] is unsupported. Reason: {}.",
    "EZ3003": "No supported Ops kernel and engine are found for [{}], optype [{}].",
    "EL0003": "The argument is invalid. Reason: {}",
}

TITLES = {
    "E10035": "Invalid_Argument_Tensor_Dynamic_Shape", "E13000": "File_Operation_Error_Invalid_Path",
    "E16005": "Invalid_Argument_ONNX_Model_Data", "E20001": "Compilation_Error", "EZ3002": "Unsupported_Operator",
    "EZ3003": "Unsupported_Operator",
}  # fmt: skip
"""Titles of the layout from CANN 8.5 on, where they are known (hicann/ge base/common/error_registry/error_registry.cc,
hicann/runtime src/dfx/error_manager/error_code.json; the layout: error_manager.cc there)."""

KNOWN = {*NEW, *OLD, *COMPILER, "E19999"}


class AtcError(Exception):
    """Ends the conversion with an error block."""

    def __init__(self, code: str, *values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


def message(code: str, values: tuple[object, ...]) -> str:
    texts = COMPILER | (NEW if generation() == 8 else OLD)
    if code == "E10001" and generation() == 6 and values and str(values[1])[0] not in "-I":
        values = (values[0], f"--{values[1]}", *values[2:])
    # A code that is asked for by SIM_FAULT comes without values.
    template = texts[code] if code in texts else (NEW | OLD)[code]
    return template.format(*values, *["?"] * template.count("{}"))


def error_block(error: AtcError) -> str:
    """As ATC prints it, of the generation in SIM_CANN."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H:%M:%S.%f")
    stamp = f"[PID: {os.getpid()}] {stamp[:-3]}.{stamp[-3:]}"
    newest = fault("atc:layout-2026") is not None
    if error.code == "E19999":
        detail = error.values[0] if error.values else "Unknown error occurred. Please check the log."
        if newest:
            return (
                f"E19999: Internal error!\nE19999{stamp} Inner_Error(E19999):  {detail}\n"
                "TraceBack (most recent call last):\n       build graph failed"
            )
        # "Inner" became "Internal".
        title = "Inner Error!" if generation() == 6 else "Internal Error!"
        return (
            f"E19999: {title}\nE19999  {detail}\n        TraceBack (most recent call last):\n        build graph failed"
        )
    text = message(error.code, error.values)
    if newest:
        title = TITLES.get(error.code, "Invalid_Argument")
        return f"{stamp} {title}({error.code}): {text}\nTraceBack (most recent call last):\n        build graph failed"
    lines = [f"{error.code}: {stamp + ' ' if generation() == 8 else ''}{text}"]
    if generation() == 6:
        lines.append("        Possible Cause: The argument is invalid.")
    lines.append("        Solution: Try again with a valid argument.")
    if error.code in COMPILER:
        lines += ["        TraceBack (most recent call last):", "        Compile op failed."]
    return "\n".join(lines)
