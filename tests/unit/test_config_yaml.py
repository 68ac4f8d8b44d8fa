"""The YAML reader: plain values, compared with PyYAML's safe loader; limits; tags that stay data."""

from __future__ import annotations

import sys

import pytest
import yaml

from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_file import read_config_values
from hifigan_rt.formats.config_yaml import TAG, decode_yaml

PLAIN = """
# a comment
sampling_rate: 24000
eps: 1.0e-10
log_base: ~
trim: no
names: ["a", 'b', c]
block: &rates
  - 5
  - 3
again: *rates
base: &base {a: 1, b: 2}
merged: {<<: *base, b: 3}
twice:
  <<: [*base, {c: 4}]
1: one
text: |
  two
  lines
hex: 0x1f
"quoted": "12"
"""


def test_plain_yaml_is_read_as_pyyaml_reads_it():
    assert decode_yaml(PLAIN) == yaml.safe_load(PLAIN)
    assert decode_yaml("") is None
    assert decode_yaml("5") == 5


def test_numbers_with_exponents_need_no_dot_and_dates_stay_texts():
    assert decode_yaml("[1e-5, 2E3, '1e-5', 2020-01-01]") == [1e-5, 2000.0, "1e-5", "2020-01-01"]


def test_foreign_tags_are_data_and_make_nothing():
    assert decode_yaml(
        "a: !new:some.Class\n  in_channels: !ref <num_mels>\nb: !!python/object/apply:os.system ['exit 1']\n"
        "c: !!python/tuple [1, 2]\nd: !name:torch.nn.ReLU\ne: !!python/name:os.system x\n"
    ) == {
        "a": {TAG: "!new:some.Class", "in_channels": "!ref <num_mels>"},
        "b": ["exit 1"],
        "c": [1, 2],
        "d": "!name:torch.nn.ReLU",
        "e": "x",
    }


def _laughs(depth: int) -> str:
    return "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(depth))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_laughs(9), "more than 100000 values"),
        ("a: &a {x: 1}\n" + "b: {<<: [" + "*a, " * 60_000 + "]}", "more than 100000 values"),
        ("- " * 60_000, "within each other"),
        ("[" * 900 + "]" * 900, "within each other"),
        ("{" * 60_000, "no YAML that can be read|within each other"),
        ("? " * 60_000, "within each other"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else ''}]\n" for i in range(40)), "within each other"),
        ("a: &a [*a]", "something that holds it"),
        ("a: *nothing", "alias"),
        ("a: [1", "no YAML that can be read: while parsing a flow sequence"),
        ("a: \0", "no YAML that can be read"),
        ("--- 1\n--- 2", "several YAML documents"),
        ("a: !!int x", "'x' in its YAML is no int"),
        ("a: !!float ''", "'' in its YAML is no float"),
        ("a: !!bool maybe", "no bool"),
        ("? [1]\n: 2", "a list or mapping stands as a key"),
        ("a: {b: 1, c: 2, b: 3}", "'b' stands twice, as int 1 and as int 3: remove the one"),
        ("a: {<<: 5}", r"a merge \(<<\)"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        decode_yaml(text)


def test_a_long_number_stays_text():
    assert decode_yaml("a: " + "9" * 5000) == {"a": "9" * 5000}


@pytest.mark.parametrize("name", ["config.yml", "config.yaml", "config.json", "config"])
def test_a_file_is_read_by_its_suffix_or_its_first_line(tmp_path, name):
    (tmp_path / name).write_text("# HiFi-GAN\n---\nresblock: '1'\n")
    assert read_config_values(tmp_path / name) == {"resblock": "1"}
    (tmp_path / name).write_text('{"resblock": "1"}')
    assert read_config_values(tmp_path / name) == {"resblock": "1"}


def test_an_error_names_the_file(tmp_path):
    (tmp_path / "config.yml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"config '.*config.yml': it is no YAML"):
        read_config_values(tmp_path / "config.yml")


def test_without_pyyaml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[families\]'"):
        decode_yaml("a: 1")
