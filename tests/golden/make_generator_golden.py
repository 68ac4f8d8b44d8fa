"""Makes generator.npz: outputs of the original network in float64, the judge of the reference engine.

    python tests/golden/make_generator_golden.py /path/to/hifi-gan

The argument is a checkout of jik876/hifi-gan at commit 4769534d45265d52a904b850da5a622601885777; PyTorch 2.13.0 ran
it. Weights are not stored: they come from the seed of each case (seeded.py), set after weight norm was removed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
from seeded import seeded_mel, seeded_weights

COMMIT = "4769534d45265d52a904b850da5a622601885777"

SMALL = {"upsample_initial_channel": 16, "resblock_kernel_sizes": [3, 5], "num_mels": 80}
TYPE_1 = SMALL | {"resblock": "1", "resblock_dilation_sizes": [[1, 3, 5], [1, 2, 3]]}
TYPE_2 = SMALL | {"resblock": "2", "resblock_dilation_sizes": [[1, 3], [2, 7]]}

# name -> (config: a file of the checkout or a dict, batches as (items, frames))
CASES: dict[str, tuple[str | dict[str, object], list[tuple[int, int]]]] = {
    "v1": ("config_v1.json", [(1, 1), (1, 20)]),
    "v2": ("config_v2.json", [(1, 1), (2, 7), (1, 17)]),
    "v3": ("config_v3.json", [(1, 1), (2, 7), (1, 17)]),
    "type1_even": (
        TYPE_1 | {"upsample_rates": [2, 3], "upsample_kernel_sizes": [4, 7]},
        [(1, t) for t in range(1, 41)] + [(3, 9)],
    ),
    "type2_even": (
        TYPE_2 | {"upsample_rates": [3, 2], "upsample_kernel_sizes": [3, 6]},
        [(1, t) for t in range(1, 41)] + [(3, 9)],
    ),
    # Odd kernel - rate: one more sample per such stage.
    "type1_odd": (
        TYPE_1 | {"upsample_rates": [2, 3], "upsample_kernel_sizes": [5, 6]},
        [(1, t) for t in range(1, 41)] + [(2, 5)],
    ),
    "type2_odd": (
        TYPE_2 | {"upsample_rates": [5, 2, 1], "upsample_kernel_sizes": [10, 3, 2]},
        [(1, t) for t in range(1, 41)] + [(2, 5)],
    ),
}


def load_original(checkout: Path) -> types.ModuleType:
    head = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if head != COMMIT:
        sys.exit(f"{checkout} is at {head}, golden outputs are made from {COMMIT}")
    # utils.py of the original imports matplotlib for plots that the generator never draws.
    for name in ("matplotlib", "matplotlib.pylab"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["matplotlib"].use = lambda _backend: None  # type: ignore[attr-defined]
    sys.path.insert(0, str(checkout))
    import models

    return models


def main(checkout: Path) -> None:
    import torch

    models = load_original(checkout)
    arrays: dict[str, np.ndarray] = {}
    configs: dict[str, object] = {}
    for seed, (name, (config, batches)) in enumerate(CASES.items()):
        fields = json.loads((checkout / config).read_text()) if isinstance(config, str) else config
        network = models.Generator(types.SimpleNamespace(**fields))
        network.remove_weight_norm()
        network = network.double().eval()
        shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        network.load_state_dict({k: torch.from_numpy(v) for k, v in seeded_weights(shapes, seed).items()})
        wanted = [key for key in fields if key in {*TYPE_1, "upsample_rates", "upsample_kernel_sizes"}]
        configs[name] = {"seed": seed, "batches": batches, "config": {key: fields[key] for key in wanted}}
        with torch.no_grad():
            for items, frames in batches:
                mel = torch.from_numpy(seeded_mel(items, 80, frames, seed=1000 * seed + frames))
                audio = network(mel)[:, 0].numpy()
                print(f"{name} [{items}, 80, {frames}] -> {audio.shape}, rms {np.sqrt((audio**2).mean()):.3f}")
                arrays[f"{name}/{items}x{frames}"] = audio
    arrays["cases"] = np.array(json.dumps(configs))
    np.savez_compressed(Path(__file__).with_name("generator.npz"), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
