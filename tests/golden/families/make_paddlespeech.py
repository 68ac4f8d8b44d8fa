"""Makes paddlespeech.npz: HiFiGANGenerators and a VITS of PaddleSpeech, written by paddle.save, with their configs.

The layout is that of recording.py, which needs PyTorch; only a comparison needs it here. PaddleSpeech lies on sys.path,
unpacked; of it only the module of the generator is imported, since the package asks for all that its recipes use.
"""

# needs: paddlepaddle==3.3.1 paddlespeech==1.5.0 networkx opt_einsum protobuf httpx httpcore h11 anyio certifi idna
# needs: packaging typing_extensions pillow

from __future__ import annotations

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml
from small_vits import SMALL_VITS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
(SPEECH,) = [Path(place) for place in sys.path if (Path(place) / "paddlespeech" / "t2s").is_dir()]
for name in ("", ".t2s", ".t2s.models", ".t2s.models.hifigan", ".t2s.models.vits", ".t2s.modules"):
    package = types.ModuleType(f"paddlespeech{name}")
    package.__path__ = [str(SPEECH / "paddlespeech" / name.strip(".").replace(".", "/"))]
    sys.modules[package.__name__] = package
sys.modules["typeguard"] = types.SimpleNamespace(
    typechecked=lambda function: function, check_argument_types=lambda *_, **__: True
)  # type: ignore[assignment]

from paddlespeech.t2s.models.hifigan.hifigan import HiFiGANGenerator  # noqa: E402

sys.modules["paddlespeech.t2s.models.hifigan"].HiFiGANGenerator = HiFiGANGenerator  # type: ignore[attr-defined]
# What only training uses.
sys.modules["paddlespeech.t2s.models.vits.monotonic_align"] = types.SimpleNamespace(  # type: ignore[assignment]
    maximum_path=None
)
paddle.shape = lambda tensor: list(tensor.shape)  # a tensor since PaddlePaddle 3, which its zeros does not take
from paddlespeech.t2s.models.vits.generator import VITSGenerator  # noqa: E402

from golden.seeded import seeded_mel, seeded_vector  # noqa: E402
from hifigan_rt.families import read_checkpoint  # noqa: E402

SMALL: dict[str, Any] = {
    "in_channels": 10, "out_channels": 1, "channels": 4, "kernel_size": 7, "resblock_kernel_sizes": [3],
    "resblock_dilations": [[1, 3]], "use_additional_convs": True, "bias": True, "nonlinear_activation": "leakyrelu",
    "nonlinear_activation_params": {"negative_slope": 0.1}, "use_weight_norm": True,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "even": {"upsample_scales": [4, 2], "upsample_kernel_sizes": [8, 4], "bias": False},
    "odd": {"upsample_scales": [5, 3], "upsample_kernel_sizes": [10, 6], "global_channels": 6},
}
VOICE: dict[str, Any] = SMALL_VITS | {"text_encoder_conformer_kernel_size": -1}
SPEAKER = 2


def fill(module: paddle.nn.Layer, rng: np.random.Generator) -> None:
    for key, tensor in module.state_dict().items():
        values = rng.standard_normal(tensor.shape)
        if key.endswith("weight_g"):
            values = rng.uniform(0.6, 1.2, tensor.shape) * (0.5 if "input_conv" in key else 1)
        elif key.endswith("bias"):
            values *= 0.1
        tensor.set_value(values.astype(np.float32))
    # A row below the bound of Paddle's norm, and one of zeros.
    first = dict(module.state_dict())["input_conv.weight_v"]
    values = first.numpy()
    values[1], values[2] = values[1] * 1e-14, 0
    first.set_value(values)


def record_case(
    arrays: dict[str, np.ndarray], name: str, module: paddle.nn.Layer, files: dict[str, Any], seed: int, vector: Any
) -> dict[str, Any]:
    """Write files, and add them with what the module computes; gives the facts of the case."""
    num_mels, file = module.input_conv.weight_v.shape[1], "snapshot_iter_5.pdz"
    mel = paddle.to_tensor(seeded_mel(1, num_mels, 13, seed).astype(np.float32).astype(np.float64))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        paddle.save({"epoch": 1, "iteration": 5, **files["params"]}, str(folder / file))
        (folder / "default.yaml").write_text(yaml.dump(files["config"]))
        if "statistics" in files:
            np.save(folder / "feats_stats.npy", files["statistics"])
        written = sorted(path.name for path in folder.iterdir())
        arrays |= {f"{name}/files/{key}": np.frombuffer((folder / key).read_bytes(), np.uint8) for key in written}
        folded = read_checkpoint(folder / file).weights
    further = (paddle.to_tensor(vector.reshape(1, -1, 1).astype(np.float64)),) if vector.size else ()
    module.to(dtype="float64")
    module.eval()
    audio = arrays[f"{name}/audio"] = module(mel, *further).numpy().reshape(-1)
    module.remove_weight_norm()
    for key, tensor in module.state_dict().items():
        tensor.set_value(folded[key].astype(np.float64))
    arrays[f"{name}/folded"] = module(mel, *further).numpy().reshape(-1)
    print(f"{name}: {len(audio)} samples, rms {np.sqrt((audio**2).mean()):.3f}, peak {np.abs(audio).max():.3f}")
    return {
        "file": file, "files": written, "weights_at": None, "mel": {"num_mels": num_mels, "frames": 13, "seed": seed},
        "conditioning": vector.size, "features_config": None,
    }  # fmt: skip


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    audio: dict[str, Any] = {"fs": 8000, "n_fft": 64, "win_length": 48, "window": "hann", "batch_size": 16}
    for seed, (name, own) in enumerate(CASES.items()):
        params, rng = SMALL | own, np.random.default_rng(30 + seed)
        module = HiFiGANGenerator(**params)
        fill(module, rng)
        files = {
            "params": {"generator_params": module.state_dict(), "discriminator_params": {}},
            "config": audio | {"n_shift": int(np.prod(params["upsample_scales"])), "n_mels": 10, "fmin": 80,
                               "fmax": 3800, "generator_params": params, "discriminator_params": {"scales": 3}},
            "statistics": np.stack([rng.uniform(-4, -1, 10), rng.uniform(0.5, 1.5, 10)]).astype(np.float32),
        }  # fmt: skip
        vector = seeded_vector(params.get("global_channels", 0))
        facts[name] = record_case(arrays, name, module, files, 100 + seed, vector)

    voice = VITSGenerator(5, 3, **VOICE)
    for tensor in voice.state_dict().values():
        tensor.set_value(np.zeros(tensor.shape, np.float32))
    rng = np.random.default_rng(32)
    fill(voice.decoder, rng)
    table = rng.standard_normal(voice.global_emb.weight.shape).astype(np.float32)
    voice.global_emb.weight.set_value(table)
    files = {
        # The names of its class VITS, whose discriminator, larger by far, is left out.
        "params": {"main_params": {f"generator.{key}": tensor for key, tensor in voice.state_dict().items()}},
        "config": audio | {"n_shift": 10, "model": {"generator_type": "vits_generator", "generator_params": VOICE}},
    }
    facts["vits"] = record_case(arrays, "vits", voice.decoder, files, 102, table[SPEAKER])
    facts["vits"] |= {"conditioning": 0, "speaker": SPEAKER}

    versions = f"paddlespeech 1.5.0, paddlepaddle {paddle.__version__}"
    arrays["facts"] = np.array(json.dumps({"versions": versions, "cases": facts}))
    path = HERE / "paddlespeech.npz"
    if "--check" in sys.argv[1:]:
        from recording import compare

        sys.exit(compare(path, arrays))
    np.savez_compressed(path, **arrays)
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
