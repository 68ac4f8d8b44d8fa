"""`npu-smi info` in the layouts that are known from the field."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from cann_simulator.settings import device_count, fault, hang, soc

NO_PERMISSION = ("DrvMngGetConsoleLogLevel failed. (ret=4)", "dcmi module initialize failed. ret is -8005")
"""Driver down, a container without devices, or no permission."""


@dataclass(frozen=True)
class Layout:
    """Widths between the `+` of the table, and what differs between families and drivers."""

    widths: tuple[int, ...]
    version: str
    """Of the banner; empty: the old table has none."""
    memory_title: str
    first_title: str = "NPU     Name"
    second_title: str = "Chip    Device"
    chips_per_npu: int = 1
    processes: bool = True
    buses: bool = True
    """False prints NA for each."""
    columns: tuple[str, ...] = ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Name")
    """Headings of `info -m`."""


LAYOUTS = {
    "310p-legacy": Layout((19, 17, 54), "", "AICore(%)    Memory-Usage(MB)", processes=False),
    "310p": Layout((31, 17, 54), "24.1.rc2", "AICore(%)    Memory-Usage(MB)"),
    "310p-duo": Layout((31, 17, 54), "23.0.rc3", "AICore(%)    Memory-Usage(MB)", chips_per_npu=2),
    "910b": Layout(
        (27, 15, 52), "24.1.rc3", "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)", "NPU   Name", "Chip"
    ),
    "a3": Layout(
        (27, 15, 52), "25.2.0", "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)", "NPU   Name", "Chip  Phy-ID",
        chips_per_npu=2, columns=("NPU ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID", "Chip Name"),
    ),
    "310b": Layout((31, 17, 54), "23.0.0", "AICore(%)    Memory-Usage(MB)", buses=False),
    "950": Layout(
        (8, 18, 15, 53), "25.7.rc1.6", "NPU Util(%) Memory-Usage(MB)  HBM-Usage(MB)", "NPU ID| Name", "",
        columns=("NPU ID", "Slot ID", "Chip ID", "Chip Phy-ID", "Chip Name"),
    ),
}  # fmt: skip
"""From public logs: tests/npu_smi_outputs.py names them, with the originals."""


def main(arguments: list[str]) -> int:
    if fault("npu-smi:hang") is not None:
        hang()
    if fault("npu-smi:no-permission") is not None:
        print("\n".join(NO_PERMISSION))
        return int(fault("npu-smi:no-permission") or "0")
    name = os.environ.get("SIM_NPU_LAYOUT", "310p")
    if name not in LAYOUTS:
        sys.exit(f"SIM_NPU_LAYOUT={name!r}: the simulator knows {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    if arguments[:1] != ["info"]:
        print("Usage: npu-smi info|set|upgrade|clear [Options...]")
        return 1
    rest = arguments[1:]
    if fault("npu-smi:table-only") is not None and rest:
        print(f"Error parameter of {rest[0]}")
        return 1
    views: dict[str, Callable[[str, Layout, dict[str, str]], None]] = {
        "": lambda name, layout, _: table(name, layout), "-l": listing, "-m": mapping, "board": board,
    }  # fmt: skip
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    view = options.get("-t") or (rest[0] if rest else "")
    if view not in views:
        print(f"Error parameter of {view}")
        return 1
    views[view](name, layout, options)
    return 0


def chip_name(layout: str) -> str:
    """As the table shows it: without Ascend, and on A3 and 950 without the kind."""
    return soc().partition("_")[0] if layout in ("a3", "950") else soc().removeprefix("Ascend")


def table(name: str, layout: Layout) -> None:
    total = sum(layout.widths) + 2
    rule = "+" + "+".join("-" * width for width in layout.widths) + "+"
    double = rule.replace("-", "=")
    if layout.version:
        banner = f" npu-smi {layout.version}".ljust(total - 30) + f"Version: {layout.version}"
        print("+" + "-" * total + "+")
        print("|" + banner.ljust(total) + "|")
    print(rule)
    row(layout, layout.first_title, "Health", "Power(W)     Temp(C)           Hugepages-Usage(page)")
    row(layout, layout.second_title, "Bus-Id", layout.memory_title)
    print(double)
    width = layout.first_title.index("Name")
    for npu in range(device_count() // layout.chips_per_npu or 1):
        for chip in range(layout.chips_per_npu):
            if chip:
                print(rule)
            power = "15.8" if chip == 0 else "-"
            between = "| " if name == "950" else ""
            row(
                layout,
                f"{npu:<{width - len(between)}}{between}{chip_name(name)}",
                "OK",
                f"{power:<13}42                0    / 0",
            )
            logical = npu * layout.chips_per_npu + chip
            second = f"{chip:<{width}}" + ("" if name == "910b" else str(logical))
            bus = f"0000:{0x82 + logical:02X}:00.0" if layout.buses else "NA"
            row(layout, "" if name == "950" else second, bus, "0            1074 / 21534")
        print(double)
    if layout.processes:
        print("| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |")
        print("+===========================+===============+====================================================+")
        for npu in range(device_count() // layout.chips_per_npu or 1):
            print(f"| No running processes found in NPU {npu}".ljust(97) + "|")
            print("+===========================+===============+====================================================+")


def row(layout: Layout, first: str, *others: str) -> None:
    """One line; a bar in the first text parts it into two cells."""
    cells = (
        [*(part.strip() for part in first.partition("|")[::2]), *others] if len(layout.widths) > 3 else [first, *others]
    )
    print("|" + "|".join(f" {cell}".ljust(width) for cell, width in zip(cells, layout.widths, strict=True)) + "|")


def listing(_name: str, layout: Layout, _options: dict[str, str]) -> None:
    npus = device_count() // layout.chips_per_npu or 1
    field("Total Count", npus)
    for npu in range(npus):
        print()
        field("NPU ID", npu)
        field("Chip Count", layout.chips_per_npu)


def mapping(name: str, layout: Layout, _options: dict[str, str]) -> None:
    """NPU and chip to the logical id that the runtime takes; the management chip has none."""
    print("\t" + "".join(f"{title:<31}" for title in layout.columns).rstrip())
    shown = soc().partition("_")[0] if name in ("a3", "950") else soc()
    for npu in range(device_count() // layout.chips_per_npu or 1):
        for chip in range(layout.chips_per_npu):
            logical = npu * layout.chips_per_npu + chip
            numbers = {"NPU ID": npu, "Slot ID": npu, "Chip ID": chip, "Chip Logic ID": logical, "Chip Phy-ID": logical}
            print("\t" + "".join(f"{numbers[title]:<31}" for title in layout.columns[:-1]) + shown)
        if name != "950":
            values = (npu, layout.chips_per_npu, *["-"] * (len(layout.columns) - 3))
            print("\t" + "".join(f"{value!s:<31}" for value in values) + "Mcu")


def board(name: str, layout: Layout, options: dict[str, str]) -> None:
    if "-i" not in options:
        print("Error parameter of -i")
        return
    if name == "950" and "-c" in options:
        print("Error parameter of -c")
        return
    field("NPU ID", options["-i"])
    if name == "950":
        chip, _, npu_name = soc().partition("_")
        field("Product Name", "A310-50-C00MM304A1")
        field("NPU Name", npu_name)
        field("Chip Name", chip)
        field("Chip Version", "V100")
        return
    if "-c" in options:
        chip, _, npu_name = soc().partition("_")
        field("Chip ID", options["-c"])
        field("Chip Type", "Ascend")
        field("Chip Name", chip if name == "a3" else soc().removeprefix("Ascend"))
        if name == "a3":
            field("NPU Name", npu_name)
        field("Chip Version", "V1")
        return
    facts = {
        "Product Name": "Atlas 300I Duo",
        "Model": "NA",
        "Manufacturer": "Huawei",
        "Software Version": layout.version or "22.0.0",
        "Firmware Version": "6.3.0.1.241",
        "Board ID": "0x64",
        "Chip Count": layout.chips_per_npu,
        "Faulty Chip Count": 0,
    }
    for key, value in facts.items():
        field(key, value)


def field(key: str, value: object) -> None:
    print(f"        {key:<31} : {value}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
