"""Files with a config: what they hold, their encodings, and what is said of those that are none."""

import json

import pytest

from hifigan_rt.config import PRESETS
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_file import MAX_CONFIG_BYTES, read_config_values
from hifigan_rt.formats.config_json import config_to_dict, parse_config


def read_config(path):
    return parse_config(read_config_values(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"<html><body>404</body></html>", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "a config must be a JSON object, this is list"),
        (b"{}", "upsample_initial_channel is missing"),
        (b" " * (MAX_CONFIG_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"n_fft": 1024, "fmin": 0, "n_fft": 2048}',
        '{"audio": [{"n_fft": 1024, "n_fft": 2048}]}',
        '{"n_fft": 1024, // was\n"n_fft": 2048,}',
        "n_fft: 1024\nfmin: 0\nn_fft: 2048\n",
    ],
)
def test_a_name_that_stands_twice_with_different_values_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    told = r"config '.*': 'n_fft' stands twice, as int 1024 and as int 2048: remove the one that is not meant"
    with pytest.raises(ConfigError, match=told):
        read_config_values(tmp_path)
    (tmp_path / "config.json").write_text(text.replace("2048", "1024"))
    read_config_values(tmp_path)


def test_comments_under_one_name_are_no_values(tmp_path):
    (tmp_path / "config.json").write_text('{"_comment": "mels", "//": "a", "n_fft": 1, "_comment": "rest", "//": "b"}')
    assert read_config_values(tmp_path)["n_fft"] == 1


V1_TEXT = json.dumps(config_to_dict(PRESETS["v1"]), indent=1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b" \n", "it is empty"),
        ("a.json", b"<!DOCTYPE html>", "it is a web page"),
        ("a.json", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("a.json", b'{"a": "http://x,]",\n "b": [1, , 2, ]}', r"Expecting value: line 2"),
        ("a.json", b"{'resblock': '1'}", "double quotes in JSON, not in single ones as in line 1"),
        (
            "a.json",
            b"{\"a\": [1,\n2,],  /* 'one'\n*/\"b\": 'x'}",
            "double quotes in JSON, not in single ones as in line 3",
        ),
        # Nothing of what follows would be JSON without its comments.
        ("gen.py", b"import os\n# seeds\nx = ['a', 1]\n", r"Expecting value: line 1 column 1 .*; give the config.json"),
        ("a.json", b'{\n// one\n"a" 1}', r"line 2 column 1"),
        ("a.json", b'{"a": "\xe4"}', "it is no text .* save it as UTF-8"),
        ("a.json", b'{"a": 1', "Expecting ',' delimiter"),
    ],
)
def test_a_file_that_is_not_json_says_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"config .*{name}' is not JSON: .*{message}|is not JSON: {message}"):
        read_config(tmp_path / name)


def test_commas_before_closing_brackets_are_read_as_json5_writes_them(tmp_path):
    text = V1_TEXT.replace("\n ]", ",\n ]").replace("\n}", ',\n "note": ",]",\n}')
    assert text.count(",\n ]") > 3
    (tmp_path / "args.json").write_text(text)
    assert read_config(tmp_path / "args.json") == PRESETS["v1"]
    assert read_config_values(tmp_path / "args.json")["note"] == ",]"


@pytest.mark.parametrize("comment", ['// of the "STFT"', "/* of\nthe STFT, */", "  # 'STFT'"])
def test_comments_are_read_over_as_coqui_writes_them(tmp_path, comment):
    text = V1_TEXT.replace('"n_fft"', f'\n{comment}\n"n_fft"').replace("\n}", f',\n "note": "// #", \n{comment}\n}}')
    (tmp_path / "config.json").write_text(text)
    assert read_config(tmp_path) == PRESETS["v1"]
    assert read_config_values(tmp_path)["note"] == "// #"


@pytest.mark.parametrize("name", ["config.json", "config.yaml"])
def test_a_text_without_an_end_is_looked_at_once(tmp_path, name):
    (tmp_path / name).write_text('"' + '\\"' * 300_000)
    with pytest.raises(ConfigError, match=r"config\.(json|yaml)"):
        read_config_values(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_read(tmp_path, encoding):
    (tmp_path / "config.json").write_bytes(V1_TEXT.encode(encoding))
    assert read_config(tmp_path / "config.json") == read_config(tmp_path) == PRESETS["v1"]


def test_no_such_config(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot be read \(No such file or directory\): give a config.json or one of"
    ):
        read_config(tmp_path / "v9")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\): there is no config.json in it"):
        read_config(tmp_path)
    (tmp_path / "config_v1.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\): it holds config_v1.json: name one"):
        read_config(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config("a\0b")
