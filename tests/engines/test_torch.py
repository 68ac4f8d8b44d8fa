"""The PyTorch engine: devices, precisions, threads, compiling, and what it leaves of the process's settings."""

import gc
import os
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import numpy as np
import pytest

import tolerances
from golden.features import FEATURES, feature_generator
from golden.tiny import tiny_generator, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import AUTO_ORDER, create_engine, why_unavailable
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.model.kinds import OnnxFile, Weights
from hifigan_rt.vocoder import Vocoder
from native_generators import V1_LIKE, make_case

ROOT = Path(__file__).parents[2]
MODEL = Weights("tiny", Path("tiny.safetensors"), "test", tiny_generator())
COMPILED = {"mode": "compiled"}


def load(model=MODEL, **options):
    return create_engine("torch", model, EngineOptions(**options))


def test_it_is_never_chosen_unless_named():
    assert "torch" not in AUTO_ORDER


def test_its_absence_names_the_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert why_unavailable("torch") == "engine 'torch' needs the package torch: pip install torch"


def test_it_is_not_imported_until_it_is_named():
    code = "import sys, hifigan_rt.engines as e; e.why_unavailable('torch'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.torch
@pytest.mark.parametrize(
    "device", ["cuda:0", "cuda:7", "mps", "npu:0", "xpu", "meta", "cpu:3", "gpu", "", "cuda:x", "hpu"]
)
def test_a_device_that_is_not_there(device):
    torch = pytest.importorskip("torch")
    if torch.accelerator.is_available():
        pytest.fail("these tests are written for a machine with a CPU alone")
    with pytest.raises(EngineUnavailable) as caught:
        load(device=device)
    text = str(caught.value)
    assert text.startswith(f"device={device!r} ")
    assert "torch_npu" in text if device == "npu:0" else text.endswith("it has cpu") or device == "cpu:3"
    assert "\n" not in text


@pytest.mark.torch
def test_what_runs_is_told():
    info = load(threads=1).info
    assert (info.name, info.precision, info.threads, info.device, info.variant) == (
        "torch",
        "float32",
        1,
        "cpu",
        "eager",
    )


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_run_only_where_the_processor_has_them(monkeypatch, precision):
    torch = pytest.importorskip("torch")
    for supported in (True, False):
        for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
            monkeypatch.setattr(torch.ops.mkldnn, name, lambda supported=supported: supported)
        if not supported:
            with pytest.raises(PrecisionUnavailable, match="is not executed by device 'cpu', which would emulate it"):
                load(precision=precision)
            continue
        engine = load(precision=precision)
        assert engine.info.precision == precision
        audio = engine.run(tiny_mel(40)[None])
        assert audio.dtype == np.float32
        low, high = tolerances.LOW_PRECISION_SNR_DB[precision]
        assert low <= snr_db(generate(tiny_generator(), tiny_mel(40)), audio[0]) <= high


@pytest.mark.torch
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", FEATURES)
def test_lower_precisions_of_all_kinds_of_layers(name, folded):
    torch = pytest.importorskip("torch")
    from hifigan_rt.engines.torch_module import Form, TorchGenerator

    generator = feature_generator(FEATURES[name])
    rng = np.random.default_rng(1)
    mel = torch.from_numpy(rng.standard_normal((1, generator.graph.num_mels, 24))).float()
    vector = torch.from_numpy(rng.standard_normal((1, generator.graph.config.conditioning_channels or 1))).float()
    conditioning = vector if generator.graph.config.conditioning_channels else None

    def run(dtype, first_dtype):
        module = TorchGenerator(generator, Form(dtype, first_dtype, folded=folded))
        return module(mel, conditioning=conditioning).double().numpy()

    exact = run(torch.float64, torch.float64)
    for dtype in (torch.bfloat16, torch.float16):
        low, high = tolerances.LOW_PRECISION_SNR_DB[str(dtype).removeprefix("torch.")]
        assert low <= snr_db(exact, run(dtype, torch.float32)) <= high


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_in_16_bits_the_first_upsampling_rounds_its_result_alone(compiled):
    torch = pytest.importorskip("torch")
    from hifigan_rt.engines.torch_module import Form, TorchGenerator

    mel = torch.from_numpy(tiny_mel(48)[None])

    def run(*dtypes):
        chain = TorchGenerator(tiny_generator(), Form(*dtypes, folded=True)).chains[0]
        return (torch.compile(chain, dynamic=False) if compiled else chain)([mel], None)

    exact = run(torch.float64, torch.float64)
    for dtype in (torch.bfloat16, torch.float16):
        rounded, result = (value.double().numpy() for value in (exact.to(dtype), run(dtype, torch.float32)))
        assert snr_db(exact.numpy(), result) > snr_db(exact.numpy(), rounded) - tolerances.SPLIT_BELOW_ROUNDING_DB


@pytest.mark.torch
def test_settings_and_precisions_are_checked_by_name():
    with pytest.raises(EngineError, match="setting mode='fast' of engine 'torch': choose eager, compiled"):
        load(settings={"mode": "fast"})
    with pytest.raises(PrecisionUnavailable, match="float32, tf32, bfloat16, float16"):
        load(precision="int8")
    with pytest.raises(EngineError, match="threads=1025 must be from 1 to 1024"):
        load(threads=1025)
    converted = OnnxFile("a.onnx", Path("a.onnx"), "onnx")
    with pytest.raises(EngineError, match=r"runs checkpoints, and a\.onnx is an ONNX file"):
        load(converted)


@pytest.mark.torch
def test_tensorfloat32_is_for_cards_that_have_it():
    with pytest.raises(
        PrecisionUnavailable, match="precision='tf32' is not executed by device 'cpu': it is for NVIDIA's"
    ):
        load(precision="tf32")


@pytest.mark.torch
@pytest.mark.parametrize(("version", "works"), [("2.5.1+cu124", False), ("2.6.0", True), ("3.0.0a0+git12", True)])
def test_an_old_pytorch_is_refused(monkeypatch, version, works):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "__version__", version)
    if works:
        assert load().info.version == version
        return
    with pytest.raises(
        EngineUnavailable, match=r"needs PyTorch 2\.6 or newer, and 2\.5\.1\+cu124 is installed: pip install"
    ):
        load()


@pytest.mark.torch
def test_no_memory_left_is_told_in_bytes_and_graphs_are_dropped(monkeypatch):
    torch = pytest.importorskip("torch")
    from engines.test_torch_rows import make_rows
    from hifigan_rt.engines.torch_module import Form

    engine = load()
    rows, card = make_rows(tiny_generator(), Form(torch.float32, torch.float32, folded=True))
    engine._computer, engine._device = rows, torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 29, 80 << 30))
    mel = tiny_mel(20)
    expected = engine.run(mel[None])
    text = "CUDA out of memory. Tried to allocate 20.25 GiB. GPU 0 has a total capacity of 80 GiB."
    refuse = pytest.MonkeyPatch()
    refuse.setattr(card, "host_memory", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError(text)))
    message = (
        "device 'cuda:0' has no memory left for 1 mels of 20 frames: 20.25 GiB more were needed, and 1.5 of 80.0 GiB "
        "are free; give shorter mels, or fewer"
    )
    with pytest.raises(EngineError, match=f"^{message}$"):
        engine.run(mel[None])
    assert (rows.lengths, card.forgotten) == ([], 1)
    refuse.undo()
    np.testing.assert_array_equal(engine.run(mel[None]), expected)


@pytest.mark.torch
def test_tensors_in_host_memory_are_taken_like_arrays():
    torch = pytest.importorskip("torch")
    vocoder = Vocoder(MODEL, load())
    mel = tiny_mel(9)
    expected = vocoder(mel)
    np.testing.assert_array_equal(vocoder(torch.from_numpy(mel)), expected)
    np.testing.assert_array_equal(vocoder(torch.from_numpy(mel).requires_grad_()), expected)


class OnAnotherDevice:
    """An array as DLPack describes one in a card's memory."""

    def __init__(self, *shape):
        self.shape = shape

    def __dlpack_device__(self):
        return 2, 0


def test_arrays_on_a_device_are_for_the_engine_that_computes_there():
    vocoder = Vocoder(MODEL, create_engine("reference", MODEL, EngineOptions()))
    mel = OnAnotherDevice(10, 5)
    with pytest.raises(EngineError, match=r"engine 'reference' takes host memory: pass mel\.cpu\(\)\.numpy\(\)"):
        vocoder(mel)
    with pytest.raises(EngineError, match="takes host memory"):
        vocoder([tiny_mel(5), mel])
    with pytest.raises(EngineError, match="segment_frames=16 needs a mel in host memory"):
        vocoder(mel, segment_frames=16)
    with pytest.raises(EngineError, match="takes host memory"):
        vocoder([OnAnotherDevice(1, 10, 5)])


@pytest.mark.torch
def test_what_pytorch_refuses_is_worded():
    engine = load()
    with pytest.raises(EngineError, match=r"PyTorch failed on a mel \[B, M, T\] = \[1, 3, 5\]"):
        engine.run(np.zeros((1, 3, 5), np.float32))


@pytest.mark.torch
def test_closing_frees_the_weights():
    engine = load()
    weights = weakref.ref(next(engine._computer.parameters()))
    engine.close()
    gc.collect()
    assert weights() is None


@pytest.mark.torch
@pytest.mark.long
# PyTorch's compiler uses what PyTorch calls deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_compiled_shapes_equal_the_reference_and_are_few(monkeypatch):
    import hifigan_rt.engines.torch_compiled as module

    monkeypatch.setattr(module, "MAX_PROGRAMS", 3)
    case = make_case(V1_LIKE, 60)
    engine = load(Weights("small", Path("none"), "none", case.generator), settings=COMPILED, threads=2)
    assert engine.info.variant == "compiled"
    for batch, frames, programs in [(1, 60, 1), (1, 1, 2), (1, 60, 2), (2, 33, 3), (1, 34, 3), (3, 60, 3), (2, 33, 3)]:
        mel = np.ascontiguousarray(case.mel[:, :frames])
        audio = engine.run(np.repeat(mel[None], batch, axis=0))
        assert engine._computer.programs == programs
        assert snr_db(generate(case.generator, mel), audio[-1]) >= tolerances.FLOAT32_ENGINE_SNR_DB
    engine.close()


@pytest.mark.torch
def test_compiling_without_a_compiler_says_what_is_needed(tmp_path):
    code = """
        from hifigan_rt.errors import EngineUnavailable
        from engines.test_torch import COMPILED, load
        try:
            load(settings=COMPILED)
        except EngineUnavailable as error:
            print(error)
    """
    environment = os.environ | {
        "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "tests"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("mode='compiled' does not work here (")
    assert "a C++ compiler (g++ or clang++ on the PATH, or named by CXX)" in done.stdout
    assert "mode=eager needs neither" in done.stdout
