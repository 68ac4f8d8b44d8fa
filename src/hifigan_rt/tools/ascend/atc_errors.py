"""What atc's error codes mean for a vocoder, and the way out of each.

Texts changed between releases and codes did not, so the code decides and the text is shown as it was printed. (CANN:
base/common/error_registry/error_registry.cc; metadef: error_manager/error_code.json.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hifigan_rt.engines.ascend_runtime.error_codes import begins_traceback, is_heading, read_code
from hifigan_rt.engines.ascend_runtime.precision import FLOAT16_PRODUCTS

_BANNER = re.compile(r"ATC (start working|run failed)|[.\s]*$")
_MARKED = re.compile(r"\[ERROR\]|\b\w*(Error|Exception)\b:|\b[Ff]ailed\b|No module named")
_SOLUTION = re.compile(r"\s+Solution:\s*(\S.*)")
_MAX_MESSAGE_CHARACTERS = 600
_MAX_BLOCK_CHARACTERS = 20_000
_MAX_TOLD_LINES = 3

_MODEL_UNREADABLE = "atc could not read the ONNX file: check the rights of the folder, and that its disk is not full"
_NO_KERNEL = (
    "the operator package of this chip is not installed, or --soc names another chip: install the CANN kernels package "
    "(Ascend-cann-kernels) for it, and compare --soc with 'npu-smi info'"
)
_COMPILE = (
    "an operator did not compile for one of the gears: convert with fewer gears (--mel-len 500,1000), another --rank, "
    "or a newer CANN"
)
_GEARS = "give --mel-len one length, or 2 to 100 different ones above 0"

_PYTHON = (
    "atc compiles operators in the first python3 on PATH, ours left out: it must be one that this CANN supports (to "
    "8.1: Python 3.7 to 3.11, NumPy below 2) and have decorator, attrs, psutil, scipy and sympy; source set_env.sh, "
    "and name it in HIFIGAN_ATC_PYTHON"
)

ADVICE: Mapping[str, str] = {
    "E10001": "an option has a value that this atc does not take: the reason is in its text; see --precision-mode, "
    "--soc and --atc-arg",
    "E10002": "the input shape was not understood: this atc is of a release that hifigan does not know; try --dry-run "
    "and change the command by hand",
    "E10003": "each gear must have one value for each open dimension: leave dynamic_dims and input_shape to hifigan",
    "E10004": "an option arrived empty: check the values of --atc-arg",
    "E10006": "the option takes 0 or 1: check the values of --atc-arg",
    "E10007": "a needed option is missing: this atc is of a release that hifigan does not know; try --dry-run",
    "E10009": "only one way of dynamic shapes is possible: leave it to --mel-len, and take it out of --atc-arg",
    "E10010": "--log takes debug, info, warning, error or null",
    "E10011": "the input shape holds no positive whole number: check --batch; for --mel-len dynamic this atc is too "
    "old, so give gears",
    "E10016": "the named input or operator is not in the model: check the names in --atc-arg",
    "E10017": "the named operator is no input: check the names in --atc-arg",
    "E10018": "only the batch may be open with dynamic_batch_size: use --mel-len",
    "E10021": "the path is too long: write to a shorter one with -o",
    "E10022": "the output has no file name: name a folder that exists with -o",
    "E10035": _GEARS,
    "E10036": _GEARS,
    "E10038": _GEARS,
    "E10039": _GEARS,
    "E10040": "gears need an open dimension: leave input_shape to hifigan",
    "E10041": _MODEL_UNREADABLE,
    "E10045": "each gear must have one value for each open dimension: leave dynamic_dims and input_shape to hifigan",
    "E10046": "each gear must have one value for each open dimension: leave dynamic_dims and input_shape to hifigan",
    "E10049": "the ONNX file and the input shape differ in rank: make the file with the same --rank as the command",
    "E10054": "a needed option is empty, often because quotes were lost between shells: keep the quotes of --dry-run",
    "E13000": _MODEL_UNREADABLE,
    "E13001": _MODEL_UNREADABLE,
    "E13026": _MODEL_UNREADABLE,
    "E10056": "only one of precision_mode and precision_mode_v2: leave one out",
    "E13004": "the result could not be written: make room on the disk, or write elsewhere with -o",
    "E13025": "the runtime was given another size than the model has: convert again for the lengths that you use",
    "E16001": "the ONNX file lacks a node that atc needs: convert the checkpoint again",
    "E16002": "this atc has no parser for an operator of the file: use a newer CANN",
    "E16004": "the ONNX file has no graph: convert the checkpoint again",
    "E16005": "atc takes one opset import, and the ONNX file has several: convert the checkpoint, whose file has one, "
    "or remove the imports that no node uses",
    "E19000": _MODEL_UNREADABLE,
    "E19001": _MODEL_UNREADABLE,
    "E19010": "this atc has no parser for an operator of the file: use a newer CANN",
    "E19999": "an internal error of atc: ASCEND_SLOG_PRINT_TO_STDOUT=1 with --log error shows more, and so do files "
    "in ~/ascend/log/debug/plog; often memory or disk ran out, or the driver, CANN and its kernels differ in release",
    "E20001": _COMPILE,
    "E40000": _PYTHON,
    "E40001": _PYTHON,
    "E40002": _PYTHON,
    "E40020": _PYTHON,
    "E40021": _COMPILE,
    "E40024": _PYTHON,
    "E50056": "the chip does not take this dilation of a convolution: try the other --rank, or a newer CANN",
    "E50058": "the chip does not take this padding of a convolution: try the other --rank, or a newer CANN",
    "E90000": _COMPILE,
    "E90001": _COMPILE,
    "E90002": _COMPILE,
    "E90003": _COMPILE,
    "EC0010": _PYTHON,
    "EZ3002": "the chip does not run an operator in this form; for open shapes use --mel-len; or " + _NO_KERNEL,
    "EZ3003": _NO_KERNEL,
}  # fmt: skip

_NO_FLOAT32 = (
    "this chip has no float32 kernel of the operator: leave --precision-mode out, or give --precision-mode "
    f"{FLOAT16_PRODUCTS} (float16 products, float32 sums)"
)
_FLOAT32_REFUSED = re.compile(r"data type (DT_FLOAT|float32) of (input|output) ", re.IGNORECASE)
"""hicann/ge compiler/engines/nn_engine/optimizer/ops_kernel_store/sub_ops_store.cc."""

_PYTHON_TROUBLE = re.compile(
    r"No module named '?(te|tbe|decorator|attr|attrs|psutil|scipy|sympy|numpy|absl|cloudpickle|ml_dtypes)\b"
    r"|module 'numpy' has no attribute|NumPy 2|libpython3[\d.]+m?\.so"
)
"""Texts of the operator compiler in an interpreter that does not suit it."""

_REASONS = (
    ("AIPP", "take insert_op_conf out of --atc-arg: gears do not work with image preprocessing"),
    ("input_format must be ND", "take input_format out of --atc-arg"),
    ("soc_version", "compare --soc with 'npu-smi info'; the toolkit may lack this chip's package"),
    ("precision_mode", "choose another --precision-mode: not every chip has every one"),
    ("auto_tune_mode", "take auto_tune_mode out of --atc-arg: newer releases removed it"),
    ("positive integer", _GEARS),
)
"""What a text of E10001 names, and its way out: the code stands for every bad value."""


@dataclass(frozen=True)
class AtcError:
    """One error that atc printed."""

    code: str
    message: str
    """Text without time and process; empty if nothing follows the code."""
    solution: str
    """What atc itself advises; often empty."""
    block: str = ""
    """All that was printed from the code to the next one."""

    @property
    def way_out(self) -> str:
        """Ours, else atc's own, else empty."""
        if self.code == "E10001":
            for part, advice in _REASONS:
                if part in self.message:
                    return advice
        if self.code in ("EZ3002", "EZ3003") and _FLOAT32_REFUSED.search(self.block):
            return _NO_FLOAT32
        if _PYTHON_TROUBLE.search(self.block):
            return _PYTHON
        if self.code in ADVICE:
            return ADVICE[self.code]
        if self.code.startswith("E5005"):
            return "the chip does not take a convolution in this form: try the other --rank, or a newer CANN"
        return self.solution


def parse_errors(output: str) -> tuple[AtcError, ...]:
    """The errors in atc's output in the order printed, each code once with its first text."""
    found: dict[str, AtcError] = {}
    current: AtcError | None = None
    for line in output.splitlines():
        code, message = read_code(line)
        if code.startswith("W"):
            current = None
            continue
        if code:
            current = found.get(code) or AtcError(code, "", "")
        if current is None:
            continue
        if is_heading(current.message) and (text := message if code else _below(line)):
            current = replace(current, message=text[:_MAX_MESSAGE_CHARACTERS])
        if not current.solution and (advice := _SOLUTION.match(line)):
            current = replace(current, solution=advice[1].strip()[:_MAX_MESSAGE_CHARACTERS])
        current = replace(current, block=f"{current.block}{line}\n"[:_MAX_BLOCK_CHARACTERS])
        found[current.code] = current
    return tuple(found.values())


def advice_for_text(output: str) -> str:
    """The way out of output without an error code; empty if there is none."""
    return _PYTHON if _PYTHON_TROUBLE.search(output) else ""


def uncoded_cause(output: str) -> str:
    """What output without an error code says first that is no banner and no traceback; empty if there is nothing.

    Args:
        output: all that was printed. Lines marked as errors come before all others; three are given at most.
    """
    told = []
    inside = False
    for line in output.splitlines():
        if begins_traceback(line):
            inside = True
        elif line.strip() and not (inside and line[0].isspace()):
            inside = False
            if not _BANNER.match(line):
                told.append(line.strip()[:300])
    marked = [line for line in told if _MARKED.search(line)]
    return " | ".join((marked or told)[:_MAX_TOLD_LINES])


def _below(line: str) -> str:
    """The text of a line below a heading; empty for a traceback's."""
    return "" if begins_traceback(line) or _SOLUTION.match(line) else line.strip()


def describe_errors(errors: Sequence[AtcError]) -> str:
    """One text for all: code and message, and the way out of each that has one."""
    parts = []
    for error in errors:
        text = f"{error.code}: {error.message}" if error.message else error.code
        parts.append(f"{text} (way out: {error.way_out})" if error.way_out else text)
    return "; ".join(parts)
