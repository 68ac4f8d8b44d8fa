"""OpenVINO IR that is damaged, lies about its weights, or is something else: refused before OpenVINO sees it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effort import examples
from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import ConfigError, EngineError, HifiganError, ModelFileError, ModelNotFound
from hifigan_rt.export.openvino import export_openvino
from hifigan_rt.formats.openvino_reading import inspect_openvino
from hifigan_rt.formats.openvino_scan import MAX_XML_BYTES
from hifigan_rt.model.resolve import resolve_model
from memory_limits import peak_within


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ir")
    export_openvino(tiny_generator(), TINY.mel, folder / "good.xml", verify=False)
    return folder


@pytest.fixture
def ir(good, tmp_path):
    for name in ("good.xml", "good.bin"):
        shutil.copy(good / name, tmp_path / name)
    return tmp_path / "good.xml"


def change(path: Path, pattern: str, replacement: str, count: int = 1) -> None:
    text, times = re.subn(pattern, replacement, path.read_text(), count=count, flags=re.DOTALL)
    assert times >= 1
    path.write_text(text)


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        resolve_model(path)
    start = f"OpenVINO IR {str(path)!r}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def net(inside: str) -> str:
    return f'<?xml version="1.0"?><net name="x" version="11">{inside}</net>'


CONTENTS = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "a web page": (b"<!DOCTYPE html><html><body>log in</body></html>", "is an HTML page"),
    "git-LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a git-LFS pointer"),
    "no XML": (b"\x80\x02}q\x00", "no well-formed XML"),
    "zeros": (bytes(3000), "no well-formed XML"),
    "other XML": (b'<?xml version="1.0"?><svg></svg>', "is no OpenVINO IR: its XML is a 'svg', and an IR is a 'net'"),
    "no layers": (net("").encode(), "is no model: it has no inputs or no outputs"),
    "entities": (
        b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><net name="&b;" version="11"/>',
        "declares a document type",
    ),
    "a file from elsewhere": (
        b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]><net>&x;</net>',
        "declares a document type",
    ),
    "deep": (net("<a>" * 100 + "</a>" * 100).encode(), "nests them deeper than 64"),
    "a dimension of words": (
        net('<layers><layer name="a" type="Const"><output><port><dim>many</dim></port></output></layer></layers>')
        .encode(),
        "a dimension is 'many': no number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_ir(tmp_path, name):
    content, message = CONTENTS[name]
    path = tmp_path / "model.xml"
    path.write_bytes(content)
    assert re.search(message, refused(path))


def test_an_entity_bomb_costs_nothing(tmp_path):
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 50}">' for i in range(1, 12))
    path = tmp_path / "model.xml"
    path.write_text(f'<!DOCTYPE net [<!ENTITY e0 "{"x" * 1000}">{levels}]><net name="&e11;"/>')
    with peak_within(4 << 20):
        refused(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "model.xml"
    with path.open("wb") as file:
        file.truncate(MAX_XML_BYTES + 1)
    assert f"has {MAX_XML_BYTES + 1} bytes: no .xml of a vocoder is larger" in refused(path)


def test_truncated(ir):
    whole = ir.read_bytes()
    for part in (10, len(whole) // 2, len(whole) - 10):
        ir.write_bytes(whole[:part])
        assert "is damaged or truncated: no well-formed XML" in refused(ir)


def test_the_weights_are_absent(ir):
    ir.with_suffix(".bin").unlink()
    assert refused(ir) == (
        "its weights should lie beside it in 'good.bin', which cannot be read (No such file or directory): an IR is "
        "two files, copy both"
    )


def test_the_weights_are_a_folder(ir):
    ir.with_suffix(".bin").unlink()
    ir.with_suffix(".bin").mkdir()
    assert "its weights 'good.bin' are no regular file" in refused(ir)


def test_the_weights_are_truncated(ir):
    weights = ir.with_suffix(".bin")
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-1])
    assert f"its weights end at byte {size} of 'good.bin', which has {size - 1}" in refused(ir)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r' size="\d+"', ' size="4"', r"constant '.*' claims \d+ values \[.*\] of float32, and brings 4 bytes"),
        (r' size="\d+"', ' size="99999999999999"', r"its weights end at byte 99999999999999 of"),
        (r' size="\d+"', ' size="1e9"', "size of constant .* is '1e9': no number"),
        (r' offset="0"', ' offset="-8"', "has an impossible offset -8"),
        (r' offset="0"', f' offset="{"9" * 30}"', "offset of constant .*: no number"),
        (r'dilations="1, 1"', 'dilations="1, 1000000000"', "layer .* has dilations '1, 1000000000': no vocoder"),
        (r'shape="8, ', 'shape="800000000, ', r"claims \d+ values"),
        (r'<config value="[^"]*"', '<config value="{"', "the metadata entry 'config' is damaged"),
        (r'shape="\?,10,1,\?"', 'shape="?,11,1,?"', "metadata say num_mels=10, which its inputs do not take"),
    ],
)
def test_lies(ir, pattern, replacement, message):
    change(ir, pattern, replacement)
    assert re.search(message, refused(ir))


def test_a_foreign_config_that_is_not_ours_is_passed_over(ir):
    change(ir, r"<hifigan_rt>.*?</hifigan_rt>", "")
    change(ir, r'<config value="[^"]*"', '<config value="{"')
    model = resolve_model(ir)
    assert (model.config, model.mel, model.num_mels) == (None, None, 10)


def test_a_config_that_does_not_fit(ir):
    (ir.parent / "config.json").write_text('{"resblock": "3"}')
    with pytest.raises(ConfigError):
        resolve_model(ir)
    with pytest.raises(ConfigError, match=r"num_mels: the config says 80, the input of .* has 10 bands"):
        resolve_model(ir, "v1")


def test_no_such_file(tmp_path):
    with pytest.raises(ModelNotFound):
        resolve_model(tmp_path / "none.xml")


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'type="Convolution"', 'type="Nonsense"'),
        (r'<edge from-layer="0" [^/]*/>', ""),
        (r'from-layer="0"', 'from-layer="77777"'),
        (r'strides="1, 1"', 'strides="0, 0"'),
        (r'pads_begin="0, 3"', 'pads_begin="0, -999"'),
        (r'version="opset1"', 'version="opset99"'),
    ],
)
def test_what_openvino_refuses_is_one_error_without_noise(ir, pattern, replacement, capfd):
    change(ir, pattern, replacement)
    model = resolve_model(ir)
    with pytest.raises(EngineError, match=r"^OpenVINO (cannot load OpenVINO IR|failed on a mel)") as caught:
        create_engine("openvino", model, EngineOptions()).run(np.zeros((1, 10, 5), np.float32))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_an_error_of_ours_or_none(good, tmp_path, data):
    content = bytearray((good / "good.xml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    path = tmp_path / "good.xml"
    path.write_bytes(content)
    shutil.copy(good / "good.bin", tmp_path / "good.bin")
    try:
        inspect_openvino(path)
    except HifiganError as error:
        assert str(error).startswith(f"OpenVINO IR {str(path)!r}: ")  # noqa: PT017 - most damage is an error, not all
