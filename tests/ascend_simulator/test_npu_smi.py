"""The simulated `npu-smi` against tables known from the field."""

from __future__ import annotations

import re
import subprocess

import pytest

from ascend_simulator.environment import BIN

GUIDE = """\
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 15.8         42                0    / 0              |
| 0       0         | 0000:82:00.0    | 0            1074 / 21534                            |
+===================+=================+======================================================+
"""
"""From the original guide."""


def test_the_guides_table(simulator):
    simulator.set(NPU_LAYOUT="310p-legacy", DEVICES=1)
    assert simulator.npu_smi("info").stdout.endswith(GUIDE)


@pytest.mark.parametrize(
    ("layout", "name", "titles", "banner_width"),
    [
        ("310p", "310P3", "| Chip    Device                | Bus-Id ", 104),
        ("310p-duo", "310P3", "| Chip    Device                | Bus-Id ", 104),
        ("910b", "910B4", "| Chip                      | Bus-Id ", 96),
        ("a3", "Ascend910", "| Chip  Phy-ID              | Bus-Id ", 96),
        ("310b", "310B4", "| Chip    Device                | Bus-Id ", 104),
    ],
)
def test_newer_tables(simulator, layout, name, titles, banner_width):
    simulator.set(NPU_LAYOUT=layout)
    text = simulator.npu_smi("info").stdout
    assert text.startswith("+" + "-" * banner_width + "+\n| npu-smi ")
    assert "Version: " in text.splitlines()[1]
    assert titles in text
    rows = re.findall(rf"^\| (\d+) +{name} +\| OK +\| (\S+)", text, re.MULTILINE)
    paired = layout in ("310p-duo", "a3")
    assert rows == ([("0", "15.8"), ("0", "-")] if paired else [("0", "15.8"), ("1", "15.8")])
    assert "| No running processes found in NPU 0" in text


def test_the_table_of_the_950(simulator):
    """Rows as npu-smi 25.7.rc1.6 prints them."""
    simulator.set(NPU_LAYOUT="950", DEVICES=1)
    text = simulator.npu_smi("info").stdout
    assert "\n| NPU ID | Name             | Health        | Power(W) " in text
    assert "\n| 0      | Ascend950PR      | OK            | 15.8 " in text
    assert "\n|        |                  | 0000:82:00.0  | 0 " in text


@pytest.mark.parametrize(
    ("layout", "first"),
    [("a3", ["0", "0", "0", "0", "Ascend910"]), ("950", ["0", "0", "0", "0", "Ascend950PR"])],
)
def test_mappings_of_five_columns(simulator, layout, first):
    simulator.set(NPU_LAYOUT=layout)
    rows = [re.split(r"\s{2,}", line.strip()) for line in simulator.npu_smi("info", "-m").stdout.splitlines()]
    middle = ["Chip ID", "Chip Logic ID"] if layout == "a3" else ["Slot ID", "Chip ID"]
    assert rows[0] == ["NPU ID", *middle, "Chip Phy-ID", "Chip Name"]
    assert rows[1] == first


def test_mapping(simulator):
    rows = [re.split(r"\s{2,}", line.strip()) for line in simulator.npu_smi("info", "-m").stdout.splitlines()]
    assert rows[0] == ["NPU ID", "Chip ID", "Chip Logic ID", "Chip Name"]
    assert rows[1:] == [
        ["0", "0", "0", "Ascend310P3"], ["0", "1", "-", "Mcu"], ["1", "0", "1", "Ascend310P3"], ["1", "1", "-", "Mcu"],
    ]  # fmt: skip


def test_lists_and_boards(simulator):
    assert re.search(r"^        NPU ID {26}: 1$", simulator.npu_smi("info", "-l").stdout, re.MULTILINE)
    board = simulator.npu_smi("info", "-t", "board", "-i", "0").stdout
    assert re.search(r"Chip Count {22}: 1", board)
    simulator.set(NPU_LAYOUT="a3")
    chip = simulator.npu_smi("info", "-t", "board", "-i", "0", "-c", "0").stdout
    assert re.search(r"Chip Name +: Ascend910$", chip, re.MULTILINE)
    assert re.search(r"NPU Name +: 9362$", chip, re.MULTILINE)


@pytest.mark.parametrize("status", [0, 255])
def test_no_permission(simulator, status):
    simulator.set(FAULT=f"npu-smi:no-permission={status}")
    done = simulator.npu_smi("info")
    assert done.returncode == status
    assert done.stdout == ("DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n")


def test_an_old_driver_has_the_table_only(simulator):
    simulator.set(FAULT="npu-smi:table-only")
    assert simulator.npu_smi("info", "-m").returncode == 1
    assert simulator.npu_smi("info").returncode == 0


def test_hang(simulator):
    simulator.set(FAULT="npu-smi:hang")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([BIN / "npu-smi", "info"], timeout=1, capture_output=True)
