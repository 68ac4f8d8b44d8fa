"""Which metrics an evaluation has, and what it says of the others."""

import pytest

from hifigan_rt.errors import EvaluationError, MetricUnavailable
from hifigan_rt.tools.evaluation import columns
from hifigan_rt.tools.evaluation.columns import choose_columns
from hifigan_rt.tools.evaluation.metrics import METRICS, leading, registry


@pytest.fixture(autouse=True)
def without_pesq(monkeypatch):
    """As where PESQ is not installed, and everything else is."""

    def why(key):
        return "metric 'pesq_wb' needs the package pesq" if key == "pesq_wb" else None

    monkeypatch.setattr(columns, "why_unavailable", why)
    monkeypatch.setattr(registry, "why_unavailable", why)


def choose(named=(), limited=(), *, with_reference=True, with_mel=True):
    return choose_columns(named, limited, with_reference=with_reference, with_mel=with_mel)


def test_a_missing_package_leaves_its_column_out_and_says_so():
    made = choose()
    assert made.left_out == {"pesq_wb": "metric 'pesq_wb' needs the package pesq"}
    assert set(made.keys) == set(METRICS) - {"pesq_wb", "snr", "si_sdr"}
    assert list(made.keys) == [key for key in METRICS if key in made.keys], "in the order of tables"


def test_all_means_the_waveform_too():
    made = choose(["all"])
    assert set(made.keys) == set(METRICS) - {"pesq_wb"}
    assert "pesq_wb" in made.left_out


def test_what_is_named_must_be_possible():
    assert choose(["stoi", "peak"]).keys == ("stoi", "peak")
    assert choose(["stoi"], ["mel_l1"]).keys == ("mel_l1", "stoi")
    for named, limited in ((["pesq_wb"], []), ([], ["pesq_wb"]), (["all", "pesq_wb"], [])):
        with pytest.raises(MetricUnavailable, match="needs the package pesq"):
            choose(named, limited)
    with pytest.raises(EvaluationError, match="did you mean 'stoi'"):
        choose(["stio"])


def test_without_recordings_or_mel_settings():
    assert all(not METRICS[key].needs_reference for key in choose(with_reference=False).keys)
    made = choose(with_mel=False)
    assert not {"mel_l1", "mel_l1_full"} & set(made.keys)
    assert "--config" in made.left_out["mel_l1"]
    assert "stoi" in made.keys
    with pytest.raises(MetricUnavailable, match="metric 'mel_l1': the mel settings are not known"):
        choose([], ["mel_l1"], with_mel=False)
    with pytest.raises(MetricUnavailable, match="metric 'stoi': there are no recordings"):
        choose(["stoi"], with_reference=False)


def test_the_versions_of_packages_are_known():
    versions = choose(["mcd", "stoi", "mel_l1"]).packages
    assert set(versions) == {"pyworld", "pystoi"}


def test_the_metrics_that_lead_are_ranked():
    ranks = [entry.rank for entry in METRICS.values() if entry.rank is not None]
    assert sorted(ranks) == [*range(1, len(ranks) + 1)]
    keys = ["peak", "stoi", "mel_l1", "pesq_wb", "of another version"]
    assert leading(keys) == ["pesq_wb", "stoi", "mel_l1"]
    assert leading(keys, METRICS["stoi"].rank) == ["pesq_wb", "stoi"]
