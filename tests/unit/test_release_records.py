"""What a release's records of speed, bits and trials must say, and the README that goes into the archives."""

from __future__ import annotations

import json
import tomllib

import pytest

import release_check
from make_sdist import for_pypi

pytestmark = pytest.mark.release


def recorded(folder, **changes):
    """Records without a fault, but for changes: `first_audio`, `python`, `equal`, `high`, `digest`."""
    facts = {"first_audio": 9.5, "python": "3.14.0", "equal": True, "high": 1.01, "digest": "a"} | changes
    bits, seconds = {"clip": facts["equal"]}, {"first_audio": facts["first_audio"]}
    pythons = ("3.11.2", "3.13.5", facts["python"])
    trials = [{"suite": "sid", "python": python, "seconds": seconds, "equal_bits": bits} for python in pythons]
    speed = {"median": 0.99, "low": 0.98, "high": facts["high"]}
    records = {
        "builds": {
            "speed": [{"model": "v1", "isa": "avx2", "builds": {"source": {}, "wheel": {"times_as_fast": speed}}}],
            "bits": [{"model": "v1", "isa": "avx2", "builds": {"source": "a", "wheel": facts["digest"]}}],
        },
        "wheels": {"trials": trials},
        "wheels-arm64": {
            "trials": [{"suite": "sid", "python": "3.11", "seconds": {}, "equal_bits": {"v1": facts["equal"]}}]
        },
    }
    folder.mkdir()
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    return list(release_check.check_records(folder.parent))


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"first_audio": 15.1}, ["first audio after 15.1 s"] * 3),
        ({"python": "3.12.1"}, ["not tried with Python 3.14"]),
        ({"equal": False}, ["other bits of clip"] * 3 + ["other bits of v1"]),
        ({"high": 0.995}, ["0.990 times a source build's speed"]),
        ({"digest": "b"}, ["differ in the bits of v1 on avx2"]),
    ],
)
def test_a_recorded_budget_is_not_kept(tmp_path, changes, faults):
    found = recorded(tmp_path / "amd", **changes)
    assert [fault in text for fault, text in zip(faults, found, strict=True)] == [True] * len(faults)


def test_nothing_is_recorded(tmp_path):
    found = " ".join(release_check.check_records(tmp_path))
    assert all(f"no record {name}.json" in found for name in ("builds", "wheels", "wheels-arm64"))


def test_readme_for_pypi():
    code = "```python\nx[0](1)\n```\n`h[0](1)`"
    text = f"![a](a.svg)\n\n[`b`](b.md#c) [d](#e) [f](https://g)\n\n{code} [i][j]\n\n[j]: k.md\n"
    assert for_pypi(text, None) == f"\n\n`b` [d](#e) [f](https://g)\n\n{code} [i][j]\n\n"
    assert for_pypi(text, "https://x/blob/v1") == (
        "![a](https://x/blob/v1/a.svg?raw=true)\n\n[`b`](https://x/blob/v1/b.md#c) [d](#e) "
        f"[f](https://g)\n\n{code} [i][j]\n\n[j]: https://x/blob/v1/k.md\n"
    )


def test_the_source_distribution_has_what_its_tests_import():
    settings = tomllib.loads((release_check.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    excluded = settings["scikit-build"]["sdist"]["exclude"]
    assert not {*settings["pytest"]["ini_options"]["pythonpath"], "docs", "samples", "src"} & set(excluded)
