"""Makes paddlespeech.npz: HiFiGANGenerator of PaddleSpeech, written by paddle.save with config and statistics.

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

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
(SPEECH,) = [Path(place) for place in sys.path if (Path(place) / "paddlespeech" / "t2s").is_dir()]
for name in ("", ".t2s", ".t2s.models", ".t2s.models.hifigan", ".t2s.modules"):
    package = types.ModuleType(f"paddlespeech{name}")
    package.__path__ = [str(SPEECH / "paddlespeech" / name.strip(".").replace(".", "/"))]
    sys.modules[package.__name__] = package
sys.modules["typeguard"] = types.SimpleNamespace(
    typechecked=lambda function: function, check_argument_types=lambda *_, **__: True
)  # type: ignore[assignment]

from paddlespeech.t2s.models.hifigan.hifigan import HiFiGANGenerator  # noqa: E402

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


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for seed, (name, own) in enumerate(CASES.items()):
        params, rng = SMALL | own, np.random.default_rng(30 + seed)
        module = HiFiGANGenerator(**params)
        fill(module, rng)
        mel = seeded_mel(1, 10, 13, 100 + seed).astype(np.float32).astype(np.float64)
        n_conditioning = params.get("global_channels", 0)
        vector = seeded_vector(n_conditioning).reshape(1, -1, 1)
        config = {
            "fs": 8000, "n_fft": 64, "n_shift": int(np.prod(params["upsample_scales"])), "win_length": 48,
            "window": "hann", "n_mels": 10, "fmin": 80, "fmax": 3800, "generator_params": params,
            "discriminator_params": {"scales": 3}, "batch_size": 16,
        }  # fmt: skip
        file = "snapshot_iter_5.pdz"
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            content = {"epoch": 1, "iteration": 5, "generator_params": module.state_dict(), "discriminator_params": {}}
            paddle.save(content, str(folder / file))
            (folder / "default.yaml").write_text(yaml.dump(config))
            statistics = np.stack([rng.uniform(-4, -1, 10), rng.uniform(0.5, 1.5, 10)]).astype(np.float32)
            np.save(folder / "feats_stats.npy", statistics)
            files = sorted(path.name for path in folder.iterdir())
            arrays |= {f"{name}/files/{key}": np.frombuffer((folder / key).read_bytes(), np.uint8) for key in files}
            folded = read_checkpoint(folder / file).weights
        further = (paddle.to_tensor(vector),) if vector.size else ()
        module.to(dtype="float64")
        module.eval()
        arrays[f"{name}/audio"] = module(paddle.to_tensor(mel), *further).numpy().reshape(-1)
        module.remove_weight_norm()
        for key, tensor in module.state_dict().items():
            tensor.set_value(folded[key].astype(np.float64))
        arrays[f"{name}/folded"] = module(paddle.to_tensor(mel), *further).numpy().reshape(-1)
        facts[name] = {
            "file": file, "files": files, "weights_at": None, "mel": {"num_mels": 10, "frames": 13, "seed": 100 + seed},
            "conditioning": n_conditioning, "features_config": None,
        }  # fmt: skip
        audio = arrays[f"{name}/audio"]
        print(f"{name}: {len(audio)} samples, rms {np.sqrt((audio**2).mean()):.3f}, peak {np.abs(audio).max():.3f}")
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
