"""Finds the Ascend chips of this machine with the vendor's npu-smi, whose layouts differ by family and by release.

Rule: columns of the mapping are read by their headings, never by their number; cells of the table by what they hold. A
name that several kinds of a chip share is completed by the board, or not taken at all.

The layouts are those of public logs: 310P (vllm-project/vllm-ascend issue 811), 910B (3010), A3 (2534, 12980, and
the tests of vllm_ascend.cpu_binding there for its mapping of five columns), 310B with `NA` for a bus (200I DK A2,
Orange Pi AIpro), 950 (npu-smi 25.7.rc1, whose NPU and name are two cells).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hifigan_rt.engines.ascend_runtime.tool_process import run_tool
from hifigan_rt.errors import ToolFailed

DEFAULT_TIMEOUT_SECONDS = 30.0
"""npu-smi answers within a second or two; with a driver that hangs it never does."""

WAY_OUT = "name the chip yourself, for example --soc Ascend310P3 ('npu-smi info' shows it without 'Ascend' before it)"

_INCOMPLETE = re.compile(r"Ascend(910|950|950PR|950DT)")
"""Names that all kinds of A3 (910_93) and of 950 show; the board tells the rest."""

_HEADINGS = re.compile(r"NPU ID|Slot ID|Chip ID|Chip Logic ID|Chip Phy-ID|Chip Name|Device ID|Chip Count")
_NAME = re.compile(r"(?:Ascend\s?)?(\d{3}\w*(?:-\w+)*)", re.ASCII)
_NAME_CELL = re.compile(rf"\s*(\d+)\s+({_NAME.pattern})\s*", re.ASCII)
_HEALTH_CELL = re.compile(r"\s*(?!NA\b)([A-Za-z]+)\s*")
_BOARD_FIELD = re.compile(r"\s*(Chip Name|NPU Name)\s*:\s*(\S.*?)\s*")
_USUAL_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/local/dcmi")
"""Where the driver's installer puts npu-smi; the first two are often missing on the PATH of a service or of sudo."""
_IN_USE = re.compile(r"device is used|ret is -802\d?\b")
_DRIVER_TROUBLE = re.compile(r"dcmi mod(ule|el) initialized? failed|DrvMng\w* failed|ret is -8005|[Pp]ermission denied")


@dataclass(frozen=True)
class Chip:
    """One chip, as the runtime numbers it."""

    npu_id: int
    """Number of the board or module, as npu-smi takes it with -i."""
    chip_id: int
    logic_id: int
    """The device id of the runtime (aclruntime, ais_bench)."""
    name: str
    """Name that npu-smi shows, with "Ascend" before it."""
    soc_version: str
    """Value for atc's --soc_version; empty if npu-smi does not tell it whole."""


def find_chips(timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> tuple[Chip, ...]:
    """Ask npu-smi for the chips: its mapping, its table where that is not understood, and the board for some names.

    Raises:
        ToolFailed: npu-smi is absent, hangs, has no access to the driver, or prints what is not understood. A model can
            still be converted with `--soc`, and often still run.
    """
    program = find_npu_smi()
    if program is None:
        raise ToolFailed(f"npu-smi is not on the PATH, so the chip is not known: {WAY_OUT}")
    output = _ask(program, ["-m"], timeout_seconds)
    chips = parse_mapping(output)
    if not chips:
        table = _ask(program, [], timeout_seconds)
        output, chips = f"{output}\n{table}", parse_table(table)
    if not chips:
        raise ToolFailed(_explain(output), output=output)
    return tuple(_complete(chip, program, timeout_seconds) for chip in chips)


def find_npu_smi() -> str | None:
    """The path of npu-smi, None if it is neither on PATH nor where drivers put it."""
    usual = os.pathsep.join(_USUAL_FOLDERS)
    return shutil.which("npu-smi") or shutil.which("npu-smi", path=usual)


def soc_of_device(device: int) -> str:
    """The chip behind a device id of the runtime; empty if npu-smi does not tell it."""
    try:
        chips = find_chips(timeout_seconds=10.0)
    except ToolFailed:
        return ""
    return next((chip.soc_version for chip in chips if chip.logic_id == device), "")


def choose_soc(chips: Sequence[Chip]) -> str:
    """The one `soc_version` of these chips.

    Raises:
        ToolFailed: they differ, or npu-smi does not tell it.
    """
    versions = sorted({chip.soc_version for chip in chips})
    if len(versions) == 1 and versions[0]:
        return versions[0]
    if "" in versions:
        names = ", ".join(sorted({chip.name for chip in chips}))
        raise ToolFailed(f"npu-smi calls the chip {names}, which several kinds share: {WAY_OUT}")
    raise ToolFailed(f"chips of several kinds are here ({', '.join(versions)}): say with --soc which one is meant")


def parse_mapping(text: str) -> tuple[Chip, ...]:
    """Read `npu-smi info -m` by its headings; controllers (Mcu) have no number for the runtime and are left out.

    Where there is no logic id (950) the chips are numbered in the order of their physical ids, as the runtime does.
    """
    columns: list[str] = []
    rows: list[tuple[int, Chip]] = []
    for line in text.splitlines():
        if "NPU ID" in line and "Chip Name" in line:
            columns = _HEADINGS.findall(line)
            continue
        fields = line.split(maxsplit=len(columns) - 1) if columns else []
        row = dict(zip(columns, fields, strict=False))
        name = _NAME.fullmatch(row.get("Chip Name", "").strip())
        numbers = [row.get(key, "0") for key in ("NPU ID", "Chip ID", "Chip Phy-ID", "Chip Logic ID")]
        if name is not None and all(number.isdecimal() for number in numbers):
            npu, chip, physical, logic = map(int, numbers)
            rows.append((physical, _chip(npu, chip, logic, name[1])))
    if "Chip Logic ID" in columns:
        return tuple(chip for _, chip in rows)
    ordered = sorted(rows, key=lambda row: row[0])
    return tuple(replace(chip, logic_id=index) for index, (_, chip) in enumerate(ordered))


def parse_table(text: str) -> tuple[Chip, ...]:
    """Read the table of `npu-smi info`, which gives each chip two rows: name and health, then bus and load.

    Column widths differ between releases; cells are told by what they hold. The table of processes ends it.
    """
    chips: list[Chip] = []
    pending: tuple[int, str] | None = None
    for line in text.splitlines():
        cells = line.strip().strip("|").split("|")
        if "Process id" in line:
            break
        if not line.lstrip().startswith("|") or len(cells) < 3:
            continue
        if len(cells) > 3:  # the 950's: NPU and name, or two blanks
            cells = [f"{cells[0]} {cells[1]}", *cells[2:]]
        name, health = _NAME_CELL.fullmatch(cells[0]), _HEALTH_CELL.fullmatch(cells[1])
        if name is not None and health is not None:
            pending = (int(name[1]), name[2])
        elif pending is not None and not cells[0].strip(" 0123456789"):
            npu_id, label = pending
            numbers = [int(number) for number in cells[0].split() if number.isdecimal()]
            # The second number is the device id where there is one; 910A and 910B leave the cell blank.
            logic_id = numbers[1] if len(numbers) > 1 else len(chips)
            chips.append(_chip(npu_id, numbers[0] if numbers else 0, logic_id, label))
    return tuple(chips)


def parse_board(text: str) -> str:
    """The `soc_version` from `npu-smi info -t board`: chip name and NPU name joined; empty if one is not there."""
    fields = {match[1]: match[2] for line in text.splitlines() if (match := _BOARD_FIELD.fullmatch(line))}
    chip, npu = (fields.get(name, "").replace(" ", "") for name in ("Chip Name", "NPU Name"))
    if not re.fullmatch(r"\w+", chip, re.ASCII) or not re.fullmatch(r"(?!NA$)\w+", npu, re.ASCII):
        return ""
    return f"{_with_ascend(chip)}_{npu}"


def _ask(program: str, arguments: Sequence[str], timeout_seconds: float) -> str:
    """The output of `npu-smi info`, whatever the exit status: some releases fail and print the answer all the same."""
    try:
        return run_tool([program, "info", *arguments], timeout_seconds=timeout_seconds).output
    except ToolFailed as error:
        raise ToolFailed(f"{error}; the driver may hang: {WAY_OUT}", output=error.output) from error


def _complete(chip: Chip, program: str, timeout_seconds: float) -> Chip:
    if chip.soc_version:
        return chip
    for selection in (["-i", str(chip.npu_id), "-c", str(chip.chip_id)], ["-i", str(chip.npu_id)]):
        soc_version = parse_board(_ask(program, ["-t", "board", *selection], timeout_seconds))
        if soc_version:
            return replace(chip, soc_version=soc_version)
    return chip


def _chip(npu_id: int, chip_id: int, logic_id: int, label: str) -> Chip:
    name = _with_ascend(label)
    return Chip(npu_id, chip_id, logic_id, name, "" if _INCOMPLETE.fullmatch(name) else name)


def _with_ascend(label: str) -> str:
    return "Ascend" + label.replace(" ", "").removeprefix("Ascend")


def _explain(output: str) -> str:
    if _IN_USE.search(output):
        return (
            "npu-smi cannot read the chip, because another process or container uses the device (ret is -8020): end "
            f"that, or start this container with --privileged; {WAY_OUT}"
        )
    first = next((line.strip() for line in output.splitlines() if line.strip()), "nothing")
    if _DRIVER_TROUBLE.search(output):
        return (
            f"npu-smi cannot reach the driver ({first}): the user may lack the right (group HwHiAiUser), or the "
            f"container the devices (/dev/davinci*); {WAY_OUT}"
        )
    return f"npu-smi shows no chip that is understood; its first line is {first[:200]!r}: {WAY_OUT}"
