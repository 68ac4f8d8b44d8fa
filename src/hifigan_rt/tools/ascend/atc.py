"""Calls the vendor's converter `atc`: its arguments, its output, and the file that it made.

Options and their rules: ATC's command-line reference (CANN, docs/zh/user_guides/atc_tools/CLI_options).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hifigan_rt.engines.ascend_runtime.precision import option_for
from hifigan_rt.engines.ascend_runtime.tool_process import ToolRun, run_tool
from hifigan_rt.errors import ExportError, ModelFileError, ToolFailed
from hifigan_rt.formats.om_file import OmInfo, read_om
from hifigan_rt.tools.ascend.atc_environment import atc_environment, find_driver_stand_in
from hifigan_rt.tools.ascend.atc_errors import AtcError, advice_for_text, describe_errors, parse_errors, uncoded_cause

HIGHEST_GEARS = 100
"""Number of gears that --dynamic_dims takes."""

DEFAULT_MEL_LENGTHS = tuple(range(250, 2001, 250))
"""Frames: 2.9 to 23.2 s at 22,050 Hz with a hop of 256."""

LOG_LEVELS = ("null", "error", "warning", "info", "debug")

DEFAULT_TIMEOUT_SECONDS = 7200.0

_OWN_OPTIONS: Mapping[str, str] = {
    "model": "MODEL", "framework": "nothing: it is always 5, ONNX", "output": "-o", "soc_version": "--soc",
    "input_shape": "--batch and --mel-len", "dynamic_dims": "--mel-len", "input_format": "nothing: it is always ND",
    "precision_mode": "--precision-mode", "log": "--log", "mode": "nothing: it is always 0",
    "external_weight": "nothing: the weights stay in the .om",
}  # fmt: skip
"""Options that we set, each with what sets it."""

_FILE_OPTIONS = frozenset((
    "weight", "insert_op_conf", "keep_dtype", "customize_dtypes", "modify_mixlist", "op_precision_mode",
    "compression_optimize_conf", "fusion_switch_file", "op_name_map", "op_debug_config", "op_compiler_cache_dir",
    "debug_dir", "op_bank_path", "mdl_bank_path", "singleop", "check_report", "json", "om", "cluster_config",
    "hccl_sub_comm_config", "raw_ge_options",
))  # fmt: skip
"""Options that take a file or a folder (hicann/ge docs/zh/user_guides/atc_tools/CLI_options)."""

_MADE_OPTIONS = frozenset(("op_compiler_cache_dir", "check_report"))
"""Those that atc makes where they are not there; in its own folder they would go with it."""

_OPTION_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SOC_VERSION = re.compile(r"(?!(?i:auto$|atlas))\w+(-\w+)*", re.ASCII)
"""Ascend910B4-1 is one (hicann/runtime src/platform/platform_config/cann/Ascend910B4-1.ini)."""
_OTHER_SPELLING = re.compile(r"(?!Ascend)(?i:ascend)|(Ascend)?\d{3}[a-z]")
"""Beginning of names as builds of operators take them (SOC_VERSION=ascend310p3); their precision would be misjudged."""
_FULL_DISK_BYTES = 64 << 20

_TOOLKITS = (
    "${ASCEND_TOOLKIT_HOME}", "${ASCEND_HOME_PATH}", "/usr/local/Ascend/ascend-toolkit", "/usr/local/Ascend/cann",
    "~/Ascend/ascend-toolkit", "~/Ascend/cann", "/opt/Ascend/ascend-toolkit",
)  # fmt: skip
"""Where installers put set_env.sh, in it or one folder above."""


@dataclass(frozen=True)
class AtcJob:
    """One conversion: an ONNX file to one .om."""

    onnx_name: str
    """File name in the folder where atc runs."""
    stem: str
    """Name of the result without ".om"."""
    input_name: str
    batch: int
    num_mels: int
    rank: int
    mel_lengths: tuple[int, ...]
    """Frames, ascending; one gives a static model, none open lengths."""
    soc_version: str
    precision_mode: str | None = None
    """A mode of either option of atc; None leaves it out."""
    log: str = "error"
    extra: Mapping[str, str] = field(default_factory=dict)
    """More options of atc, by name."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the mel; -1 for frames that a gear decides, or each mel."""
        frames = self.mel_lengths[0] if len(self.mel_lengths) == 1 else -1
        return (self.batch, self.num_mels, *([1] if self.rank == 4 else []), frames)


def check_extra(extra: Mapping[str, str]) -> dict[str, str]:
    """Check options that are passed through to atc; dashes before and within their names are taken as atc takes them.

    atc runs in a folder of ours: files and folders that are here, or are to be made, are named by their whole paths.

    Raises:
        ExportError: a name that is none, one that hifigan sets itself, or a value of several lines.
    """
    checked = {}
    for key, value in extra.items():
        name = key.lstrip("-").replace("-", "_")
        if not _OPTION_NAME.fullmatch(name):
            raise ExportError(f"--atc-arg {key!r}: options of atc are written NAME=VALUE, as in op_debug_level=1")
        if name in _OWN_OPTIONS:
            raise ExportError(f"--atc-arg {key!r}: hifigan sets this option itself, from {_OWN_OPTIONS[name]}")
        if not value.isprintable() or not value:
            raise ExportError(f"--atc-arg {key}={value!r}: the value must be one line of text")
        path = Path(value)
        ours = name in _MADE_OPTIONS or (name in _FILE_OPTIONS and path.exists())
        checked[name] = str(Path.cwd() / path) if ours else value
    return checked


def check_soc(soc_version: str) -> str:
    """Check the form of a chip's name; which chips there are only atc knows.

    Raises:
        ExportError: it has other characters than letters, digits, underscores and hyphens, is auto in large letters, or
            spelt as atc does not: npu-smi's short form, small letters, or a name of sales.
    """
    if not _SOC_VERSION.fullmatch(soc_version):
        raise ExportError(f"soc={soc_version!r} is no chip: a name like Ascend310P3, or auto")
    if _OTHER_SPELLING.match(soc_version):
        raise ExportError(
            f"soc={soc_version!r} is not how atc spells chips: it takes 'Ascend' and the name that npu-smi shows, as "
            "in Ascend310P3"
        )
    if soc_version.removeprefix("Ascend") == "910C":
        raise ExportError(
            f"soc={soc_version!r} is what Atlas A3 is called, and no name for atc: that is Ascend910_93xx, Chip Name "
            "and NPU Name of 'npu-smi info -t board -i 0 -c 0'"
        )
    # npu-smi shows 310P3; no name that atc takes starts with a digit.
    if soc_version[0].isdigit():
        others = "; Atlas A2, which is called 910B too, shows 910B1 to 910B4" if soc_version == "910B" else ""
        raise ExportError(
            f"soc={soc_version!r} is how npu-smi shows the chip; atc knows it as 'Ascend{soc_version}'{others}"
        )
    return soc_version


def build_arguments(job: AtcJob) -> list[str]:
    """The arguments of atc, without the program; no quoting, since no shell sees them."""
    shape = ",".join(str(size) for size in job.input_shape)
    arguments = [
        "--mode=0",
        "--framework=5",
        f"--model={job.onnx_name}",
        f"--output={job.stem}",
        "--input_format=ND",
        f"--input_shape={job.input_name}:{shape}",
    ]
    if len(job.mel_lengths) > 1:
        arguments.append(f"--dynamic_dims={';'.join(str(frames) for frames in job.mel_lengths)}")
    arguments.append(f"--soc_version={job.soc_version}")
    if job.precision_mode is not None:
        arguments.append(f"--{option_for(job.precision_mode)}={job.precision_mode}")
    arguments.append(f"--log={job.log}")
    return arguments + [f"--{name}={value}" for name, value in job.extra.items()]


def precision_of(job: AtcJob) -> str:
    """The precision mode of a job, whichever of atc's two options it is in; empty for atc's own default."""
    return job.precision_mode or job.extra.get("precision_mode_v2", "")


def command_text(arguments: Sequence[str]) -> str:
    """The command as it is typed into a shell: without its quotes the semicolons would end it."""
    return shlex.join(["atc", *arguments])


def find_atc() -> str:
    """The path of atc.

    Raises:
        ToolFailed: it is not on the PATH; the text says what to source or install.
    """
    program = shutil.which("atc")
    if program is not None:
        return program
    script = find_set_env()
    if script is not None:
        raise ToolFailed(
            f"atc is not on the PATH, but the CANN toolkit is here: run 'source {shlex.quote(script)}' first"
        )
    raise ToolFailed(
        "atc is not on the PATH: it is part of the CANN toolkit (Ascend-cann-toolkit, hiascend.com), which no package "
        "index has; --dry-run prints the command for a machine that has it"
    )


def find_set_env() -> str | None:
    """The toolkit's set_env.sh, None if no toolkit is at the usual places."""
    for place in _TOOLKITS:
        # Path.expanduser raises where a container gives the user no home.
        folder = Path(os.path.expanduser(os.path.expandvars(place)))  # noqa: PTH111
        for candidate in (folder / "set_env.sh", folder.parent / "set_env.sh"):
            if folder.is_absolute() and candidate.is_file():
                return str(candidate)
    return None


def run_atc(
    job: AtcJob,
    folder: Path,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    on_line: Callable[[str], None] | None = None,
) -> tuple[Path, OmInfo]:
    """Convert, and find what was made.

    Args:
        job: what to convert; its ONNX file lies in `folder`.
        folder: where atc runs; it leaves other files there as well.
        on_line: is given atc's output line by line.

    Returns:
        The .om file under the name that atc gave it, and what it holds.

    Raises:
        ToolFailed: atc is absent, failed, hung, or wrote nothing that can be read.
    """
    program = find_atc()
    before = {path: path.stat().st_mtime_ns for path in _candidates(folder, job.stem)}
    run = run_tool(
        [program, *build_arguments(job)],
        timeout_seconds=timeout_seconds,
        folder=folder,
        environment=atc_environment(program, folder),
        on_line=on_line,
    )
    errors = parse_errors(run.output)
    if run.status != 0:
        raise _failed(f"atc failed ({_status_text(run.status)})", run, errors, folder)
    made = [path for path in _candidates(folder, job.stem) if before.get(path) != path.stat().st_mtime_ns]
    if not made:
        raise _failed(f"atc ended with status 0 and wrote no {job.stem}.om", run, errors, folder)
    try:
        return made[0], read_om(made[0])
    except ModelFileError as error:
        raise _failed(f"atc ended with status 0 and wrote a wrong file ({error})", run, errors, folder) from error


def _candidates(folder: Path, stem: str) -> list[Path]:
    """The result under its plain name, else under that with the operating system and processor of the host."""
    plain = folder / f"{stem}.om"
    return [path for path in (plain, *sorted(folder.glob(f"{stem}_linux_*.om"))) if path.is_file()]


def _status_text(status: int) -> str:
    if status in (-9, 137):
        return "killed, often because memory ran out: use fewer gears, or set MAX_COMPILE_CORE_NUMBER=1"
    return f"signal {-status}" if status < 0 else f"status {status}"


def _failed(what: str, run: ToolRun, errors: Sequence[AtcError], folder: Path) -> ToolFailed:
    cause = uncoded_cause(run.output)
    if errors:
        reason = describe_errors(errors)
    else:
        reason = f"no error code; it printed: {cause}" if cause else "it printed nothing"
    text = f"{what}: {reason}"
    if errors == () and (advice := advice_for_text(run.output)):
        text += f" (way out: {advice})"
    if "libascend_hal.so" in run.output:
        text += (
            "; libascend_hal.so comes with the driver, and a machine without a chip takes the toolkit's: export "
            f"LD_LIBRARY_PATH={find_driver_stand_in(find_atc())}:$LD_LIBRARY_PATH"
        )
    free = shutil.disk_usage(folder).free
    if free < _FULL_DISK_BYTES or "No space left on device" in run.output:
        text += f"; the disk of {str(folder.parent)!r} has {free >> 20} MiB left: make room, or write elsewhere with -o"
    return ToolFailed(text, codes=[error.code for error in errors], output=run.output)
