"""Which processor a record is of, and where it goes."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from hifigan_rt.tools.benchmark import machine_record
from hifigan_rt.tools.benchmark.machine_record import processor_name
from measuring.arguments import RESULTS, record_path

AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n"
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Intel(R) Xeon(R)\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (AMD, "amd-26-2"),
        (INTEL, "intel-6-207"),
        (ARM, "arm-0x41-0xd4f"),
        (AMD.replace("AuthenticAMD", "HygonGenuine"), "hygongenuine-26-2"),
        (None, "apple-m4-pro"),
    ],
)
def test_a_processor_is_named_by_maker_family_and_model(tmp_path, monkeypatch, content, name):
    """Where the system does not tell them, by what Python knows."""
    path = tmp_path / "cpuinfo"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(machine_record, "Path", lambda _: path)
    monkeypatch.setattr(platform, "processor", lambda: "Apple M4 (Pro)")
    assert processor_name() == name


def test_a_record_goes_to_the_folder_of_its_processor_unless_it_has_one():
    assert record_path("headline") == record_path("headline.json") == RESULTS / processor_name() / "headline.json"
    assert record_path("./headline.json") == Path("headline.json")
    assert record_path("out/x.json") == Path("out/x.json")
