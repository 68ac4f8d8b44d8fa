"""Every error code and every trouble of the vendor's tools, on the simulator, as a user meets them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from ascend_simulator.environment import CAVEAT
from cli.ascend_chain import OM, export, exported, mels, synth
from cli.running import clip, error_of, hifigan
from effort import LONG
from hifigan_rt.errors import ToolFailed
from hifigan_rt.tools.ascend.atc import AtcJob, run_atc
from hifigan_rt.tools.ascend.atc_errors import parse_errors

# The older tools' texts are read by unit/test_ascend_atc.py and engines/test_ascend_trouble.py too.
pytestmark = pytest.mark.parametrize(
    "simulator", [6, 8] if LONG else [8], ids=lambda cann: f"cann{cann}", indirect=True
)


def known_codes() -> list[str]:
    source = (Path(__file__).parents[1] / "ascend_simulator/python/cann_simulator/error_texts.py").read_text()
    return sorted(set(re.findall(r'"(E[A-Z0-9]\d{4})"', source)) - {"EL0003"})  # that one is the runtime's


@pytest.mark.parametrize("code", known_codes())
def test_each_code_is_understood(simulator, tmp_path, code):
    simulator.set(FAULT=f"atc:error={code},atc:not-utf8")
    job = AtcJob("g.onnx", "g_bs1", "mel_spec", 1, 10, 3, (250, 500), "Ascend310P3")
    with pytest.raises(ToolFailed) as caught:
        run_atc(job, tmp_path)
    assert caught.value.codes == (code,)
    assert code in str(caught.value)
    assert "255" in str(caught.value)
    assert parse_errors(caught.value.output)[0].way_out


@pytest.mark.parametrize("layout", ["", ",atc:layout-2026"])
def test_codes_reach_the_user_with_a_way_out(chain, layout):
    chain.set(FAULT="atc:error=E20001" + layout)
    error = error_of(export(status=1))
    assert "E20001: Failed to compile Op" in error
    assert "fewer gears" in error
    assert not list(Path().glob("*.om"))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("atc:gears=4", "E20001"),
        ("atc:half-way", "atc failed"),
        ("atc:no-output", "wrote no generator_bs1.om"),
        ("atc:disk-full", "No space left on device"),
        ("atc:op-store", "EZ3002"),
        ("atc:no-driver", "libascend_hal.so comes with the driver"),
        ("npu-smi:no-permission", "--soc Ascend310P3"),
        ("npu-smi:no-permission=255", "--soc Ascend310P3"),
    ],
)
def test_troubles_of_the_converter(chain, fault, text):
    before = sorted(os.listdir())
    chain.set(FAULT=fault)
    assert text in error_of(export(status=1))
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("layout", ["310p-legacy", "310p", "310p-duo", "310b", "910b", "a3", "950"])
@pytest.mark.parametrize("table_only", [False, True])
def test_every_layout_of_npu_smi_tells_the_chip(chain, layout, table_only):
    chain.set(NPU_LAYOUT=layout)
    if table_only and layout not in ("a3", "950"):
        chain.set(FAULT="npu-smi:table-only")
    others = {"910b": "Ascend910B4", "a3": "Ascend910_9362", "310b": "Ascend310B4", "950": "Ascend950PR_9579"}
    expected = others.get(layout, "Ascend310P3")
    assert f"--soc_version={expected}" in export("--dry-run").stdout


def test_output_that_is_not_utf8_and_warnings_do_no_harm(chain):
    chain.set(FAULT="atc:not-utf8,atc:warning")
    export("--mel-len", "250,500")
    assert Path(OM).is_file()


def test_the_converter_meets_none_of_our_packages(chain, monkeypatch, tmp_path):
    """The simulated compiler refuses a virtual environment's python3: hifigan takes its own away."""
    bare = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bare}:{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    export("--mel-len", "250,500")
    python = tmp_path / "numpy2" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    (python.parent.parent / "pyvenv.cfg").write_text("")
    python.symlink_to(sys.executable)
    monkeypatch.setenv("HIFIGAN_ATC_PYTHON", str(python))
    error = error_of(export("--mel-len", "250,500", "--overwrite", status=1))
    assert "E40020" in error
    assert "HIFIGAN_ATC_PYTHON" in error


def test_tools_that_are_absent(chain, monkeypatch):
    bare = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    assert "npu-smi is not on the PATH" in error_of(export(status=1))
    assert "atc" in error_of(export("--soc", "Ascend310P3", status=1))
    assert "atc" in export("--soc", "Ascend310P3", "--dry-run").stdout


def test_a_converter_that_hangs(chain):
    chain.set(FAULT="atc:hang")
    error = error_of(export("--timeout", "2", status=1))
    assert "2 s" in error


def test_lengths_as_people_give_them(chain):
    done = export("--mel-len", "500,250,500", "--dry-run")
    assert "'--dynamic_dims=250;500'" in done.stdout
    assert "sorted" in done.stderr
    too_many = ",".join(str(10 * (i + 1)) for i in range(101))
    assert "at most 100 gears" in error_of(export("--mel-len", too_many, status=1))
    assert "dynamic_dims" not in export("--mel-len", "250", "--dry-run").stdout


def test_an_om_for_another_chip(chain):
    mels(250)
    export("--soc", "Ascend910B4", "--mel-len", "250,500")
    error = error_of(synth("mels", "-o", "out", status=1))
    assert "was converted for Ascend910B4" in error
    assert "Ascend310P3" in error


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise", "real"])
def test_damaged_and_foreign_files(chain, damage):
    mels(250)
    exported("--mel-len", "250,500")
    content = Path(OM).read_bytes()
    changed = {"truncated": content[: len(content) // 2], "empty": b"", "noise": bytes(range(256)) * 40}
    # A header that says 4,096 bytes follow, and zeros where the parts should be listed.
    real = b"IMOD" + (256).to_bytes(4, "little") + (0x20000000).to_bytes(4, "little") + bytes(64)
    changed["real"] = (real + (4096).to_bytes(4, "little")).ljust(256, b"\0") + bytes(4096)
    Path(OM).write_bytes(changed[damage])
    for done in (hifigan("info", OM, status=1), synth("mels", "-o", "out", status=1)):
        assert OM in error_of(done)


def test_a_simulated_file_on_a_real_machine(chain, tmp_path, monkeypatch):
    """A runtime that says nothing against itself stands for the vendor's."""
    mels(250)
    exported("--mel-len", "250,500")
    real = tmp_path / "real" / "aclruntime"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("class session_options: pass\nclass InferenceSession: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(real.parent))
    assert f"says {CAVEAT!r} of itself" in error_of(synth("mels", "-o", "out", status=1))


def test_without_the_runtime_the_hint_says_how_to_get_it(chain, monkeypatch):
    mels(250)
    exported("--mel-len", "250,500")
    monkeypatch.delenv("PYTHONPATH")
    error = error_of(synth("mels", "-o", "out", status=1))
    assert "aclruntime" in error
    assert "HIFIGAN_ASCEND_PYTHON" in error


@pytest.mark.parametrize(
    ("fault", "text"),
    [("acl:busy", "device 0 cannot be opened"), ("acl:execute", "507011"), ("acl:wrong-chip", "Ascend310P3")],
)
def test_troubles_of_the_runtime(chain, fault, text):
    mels(250)
    exported("--mel-len", "250,500")
    chain.set(FAULT=fault)
    done = synth("mels", "-o", "out", status=1)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_devices_that_are_not_there(chain):
    mels(250)
    exported("--mel-len", "250,500")
    assert "device 7" in error_of(synth("mels", "-o", "out", "--device", "7", status=1))
    assert "0 or 0,1" in error_of(synth("mels", "-o", "out", "--device", "zero", status=1))


def test_a_misspelt_engine(chain):
    clip("a.wav")
    done = hifigan("synth", "a.wav", "--engine", "acsend", "--model", "model", "-o", "b.wav", status=1)
    assert "did you mean 'ascend'?" in error_of(done)


def test_a_file_for_the_converter_is_found_from_where_the_user_is(chain):
    """atc runs in a folder of its own, and looks for files from there."""
    Path("precisions.ini").write_text("[ByOpType]\n")
    export("--atc-arg", "op_precision_mode=precisions.ini")
    assert Path(OM).exists()
    error = error_of(export("--atc-arg", "op_precision_mode=absent.ini", "--overwrite", status=1))
    assert "absent.ini" in error
