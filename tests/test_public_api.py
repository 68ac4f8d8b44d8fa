import subprocess
import sys
from pathlib import Path

import pytest

import hifigan_rt

OPTIONAL = ("onnx", "onnxruntime", "torch", "soundfile", "soxr", "safetensors", "click", "numpy")


def test_public_names_are_sorted_and_there():
    assert hifigan_rt.__all__ == sorted(hifigan_rt.__all__)
    for name in hifigan_rt.__all__:
        assert getattr(hifigan_rt, name).__name__ == name
    assert set(hifigan_rt.__all__) < set(dir(hifigan_rt))
    assert hifigan_rt.__version__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        hifigan_rt.lod  # noqa: B018


def test_import_brings_no_other_package():
    code = f"import sys, hifigan_rt; print([name for name in {OPTIONAL!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_loading_a_model_brings_only_what_its_engine_needs(tmp_path):
    code = (
        "import sys, hifigan_rt.vocoder; "
        f"print([name for name in {OPTIONAL!r} if name in sys.modules and name != 'numpy'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_stub_of_the_native_module_is_the_generated_one(tmp_path):
    stub = tmp_path / "_native.pyi"
    subprocess.run([sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "hifigan_rt._native", "-o", stub], check=True)
    kept = Path(__file__).parents[1] / "src/hifigan_rt/_native.pyi"
    assert stub.read_text() == kept.read_text(), "run scripts/stub"
