"""npu-smi in every known layout, and in trouble."""

import pytest

import npu_smi_outputs as outputs
from fake_tools import printing, put_on_path
from hifigan_rt.engines.ascend_runtime import chips
from hifigan_rt.engines.ascend_runtime.chips import (
    Chip,
    choose_soc,
    find_chips,
    parse_board,
    parse_mapping,
    parse_table,
)
from hifigan_rt.errors import ToolFailed


def chip(npu_id: int, chip_id: int, logic_id: int, name: str) -> Chip:
    return Chip(npu_id, chip_id, logic_id, name, "" if name in ("Ascend910", "Ascend950PR") else name)


TABLES = {
    "310P, old": (outputs.OLD_310P, [chip(0, 0, 0, "Ascend310P3"), chip(1, 0, 1, "Ascend310P3")]),
    "310P, banner and processes": (
        outputs.BANNER_310P, [chip(4, 0, 0, "Ascend310P3"), chip(4, 1, 1, "Ascend310P3")],
    ),
    "910B": (outputs.TABLE_910B, [chip(0, 0, 0, "Ascend910B4"), chip(3, 0, 1, "Ascend910B4")]),
    "910A": (outputs.TABLE_910A, [chip(0, 0, 0, "Ascend910ProB"), chip(3, 0, 1, "Ascend910ProB")]),
    "910B4-1": (
        outputs.TABLE_910B.replace("910B4  ", "910B4-1"),
        [chip(0, 0, 0, "Ascend910B4-1"), chip(3, 0, 1, "Ascend910B4-1")],
    ),
    "310B": (outputs.TABLE_310B, [chip(0, 0, 0, "Ascend310B4")]),
    "310B without a bus": (outputs.TABLE_310B_SHORT, [chip(0, 0, 0, "Ascend310B4")]),
    "950": (outputs.TABLE_950, [chip(0, 0, 0, "Ascend950PR"), chip(3, 0, 1, "Ascend950PR")]),
    "A3": (outputs.TABLE_A3, [chip(0, 0, 0, "Ascend910"), chip(0, 1, 1, "Ascend910")]),
}  # fmt: skip


@pytest.mark.parametrize("family", TABLES)
def test_tables(family):
    text, expected = TABLES[family]
    assert list(parse_table(text)) == expected


def test_one_chip_per_name_row_with_several_bus_rows():
    """Some drivers name an NPU once for all its chips."""
    text = outputs.OLD_310P.replace(
        "| 1       310P3     | Warning         | 15.4         43                0    / 0              |\n", ""
    )
    assert [(chip.npu_id, chip.logic_id) for chip in parse_table(text)] == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (outputs.MAPPING_310P, [(4, 0, 0, "Ascend310P3"), (4, 1, 1, "Ascend310P3")]),
        (outputs.MAPPING_910B, [(0, 0, 0, "Ascend910B4"), (3, 0, 1, "Ascend910B4")]),
        (outputs.MAPPING_A3, [(0, 0, 0, "Ascend910"), (0, 1, 1, "Ascend910")]),
        (outputs.MAPPING_A3_FIVE, [(0, 0, 0, "Ascend910"), (0, 1, 1, "Ascend910")]),
        (outputs.MAPPING_950, [(3, 0, 0, "Ascend950PR"), (7, 0, 1, "Ascend950PR")]),
        (outputs.MAPPING_310P.replace("310P3", "910B4-1"), [(4, 0, 0, "Ascend910B4-1"), (4, 1, 1, "Ascend910B4-1")]),
        (
            "NPU ID Chip ID Chip Logic ID Chip Phy-ID Chip Name\n8 0 0 3 Ascend910\n8 1 - - Mcu\n",
            [(8, 0, 0, "Ascend910")],
        ),
        # columns that nobody knows yet: a name that would hold two fields is no name
        ("NPU ID  Chip ID  New ID  Chip Logic ID  Chip Name\n0  0  7  0  Ascend310P3\n", []),
        (outputs.NO_PERMISSION, []),
        (outputs.OLD_310P, []),
    ],
)
def test_mapping(text, names):
    assert [(chip.npu_id, chip.chip_id, chip.logic_id, chip.name) for chip in parse_mapping(text)] == names


def test_board():
    assert parse_board(outputs.BOARD_A3) == "Ascend910_9362"
    assert parse_board(outputs.BOARD_950) == "Ascend950PR_9579"
    assert parse_board(outputs.BOARD_310P) == ""
    assert parse_board(outputs.BOARD_A3.replace("9362", "NA")) == ""


def npu_smi(folder, monkeypatch, *, mapping="", table="", board="", status=0):
    """A program that answers `info -m`, `info -t board ...` and `info`."""
    lines = ['case "$2" in']
    for pattern, name, text in (("-m", "mapping", mapping), ("-t", "board", board), ("*", "table", table)):
        lines.append(f"{pattern}) {printing(folder / 'texts', name, text)} ;;")
    put_on_path(folder / "bin", {"npu-smi": "\n".join([*lines, "esac", f"exit {status}"])}, monkeypatch)


def test_the_mapping_is_enough(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.MAPPING_310P)
    found = find_chips()
    assert found == (chip(4, 0, 0, "Ascend310P3"), chip(4, 1, 1, "Ascend310P3"))
    assert choose_soc(found) == "Ascend310P3"


def test_the_table_where_the_mapping_fails(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping="Error parameter of -m\n", table=outputs.OLD_310P, status=1)
    assert [chip.soc_version for chip in find_chips()] == ["Ascend310P3", "Ascend310P3"]


def test_the_board_completes_a3(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.MAPPING_A3, table=outputs.TABLE_A3, board=outputs.BOARD_A3)
    assert [chip.soc_version for chip in find_chips()] == ["Ascend910_9362", "Ascend910_9362"]


def test_the_board_completes_a_950_and_takes_no_chip_id(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.MAPPING_950, table=outputs.TABLE_950)
    script = tmp_path / "bin/npu-smi"
    board = printing(tmp_path / "texts", "board950", outputs.BOARD_950)
    script.write_text(script.read_text().replace('case "$2" in', f'case "$2$6" in\n-t) {board} ;;\n-t0) echo no -c ;;'))
    assert [(chip.npu_id, chip.soc_version) for chip in find_chips()] == [
        (3, "Ascend950PR_9579"),
        (7, "Ascend950PR_9579"),
    ]


def test_a3_without_the_board_asks_for_soc(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.MAPPING_A3, table=outputs.TABLE_A3, board=outputs.BOARD_310P)
    with pytest.raises(ToolFailed, match=r"calls the chip Ascend910, which several kinds share: .*--soc"):
        choose_soc(find_chips())


def test_chips_of_two_kinds_ask_for_soc():
    two = [chip(0, 0, 0, "Ascend310P3"), chip(1, 0, 1, "Ascend310P1")]
    with pytest.raises(ToolFailed, match=r"Ascend310P1, Ascend310P3\): say with --soc"):
        choose_soc(two)


@pytest.mark.parametrize("status", [0, 1])
def test_without_permission(tmp_path, monkeypatch, status):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.NO_PERMISSION, table=outputs.NO_PERMISSION, status=status)
    with pytest.raises(ToolFailed, match=r"cannot reach the driver \(DrvMng.*HwHiAiUser.*--soc Ascend310P3"):
        find_chips()


@pytest.mark.parametrize("start", ["(ret=4)", "(g_conLogLevel=3)"])
@pytest.mark.parametrize("code", ["-8020", "-802"])
def test_a_device_that_another_container_uses(tmp_path, monkeypatch, start, code):
    text = f"DrvMngGetConsoleLogLevel failed. {start}\n"
    text += f"dcmi model initialized failed, because the device is used. ret is {code}\n"
    npu_smi(tmp_path, monkeypatch, mapping=text, table=text, status=255)
    with pytest.raises(ToolFailed, match=r"another process or container uses the device .* --privileged; .*--soc"):
        find_chips()


def test_where_drivers_put_it_though_not_on_the_path(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=outputs.MAPPING_910B, table=outputs.TABLE_910B)
    monkeypatch.setattr(chips, "_USUAL_FOLDERS", (str(tmp_path / "none"), str(tmp_path / "bin")))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert [chip.soc_version for chip in find_chips()] == ["Ascend910B4", "Ascend910B4"]


def test_absent(tmp_path, monkeypatch):
    put_on_path(tmp_path / "bin", {}, monkeypatch)
    with pytest.raises(ToolFailed, match=r"npu-smi is not on the PATH.*--soc Ascend310P3"):
        find_chips()


def test_hanging(tmp_path, monkeypatch):
    put_on_path(tmp_path / "bin", {"npu-smi": "sleep 100"}, monkeypatch)
    with pytest.raises(ToolFailed, match=r"did not end within 0.3 s .*driver may hang.*--soc"):
        find_chips(timeout_seconds=0.3)


def test_words_that_nobody_knows(tmp_path, monkeypatch):
    npu_smi(tmp_path, monkeypatch, mapping=b"\xff\xfe hello\n", table="")
    with pytest.raises(ToolFailed, match="shows no chip that is understood"):
        find_chips()
