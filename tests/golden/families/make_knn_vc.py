"""Makes knn_vc.npz: kNN-VC's HiFi-GAN, which takes WavLM's features, as its training saves it, with its own config.

    KNN_VC_SOURCE=knn-vc python tests/golden/families/make_knn_vc.py [--check]

KNN_VC_SOURCE is a copy of a repository that has no package.
"""

# source: KNN_VC_SOURCE https://github.com/bshall/knn-vc 848302a262f7299c738af49d74209790ed442a9f

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imports import stub
from recording import Case, fill, record

stub("matplotlib", use=lambda _: None)
stub("matplotlib.pylab")
SOURCE = Path(os.environ["KNN_VC_SOURCE"])
sys.path.insert(0, str(SOURCE))
from hifigan.models import Generator  # noqa: E402
from hifigan.utils import AttrDict, save_checkpoint  # noqa: E402

SMALL: dict[str, Any] = {
    "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4], "upsample_initial_channel": 4, "hop_size": 8,
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]], "hubert_dim": 12, "hifi_dim": 6,
}  # fmt: skip


def make() -> Iterator[Case]:
    config = json.loads((SOURCE / "hifigan" / "config_v1_wavlm.json").read_text()) | SMALL
    generator = Generator(AttrDict(config))
    fill(generator, 1)

    def write(folder: Path) -> None:
        save_checkpoint(str(folder / "prematch_g_02500000.pt"), {"generator": generator.state_dict()})
        (folder / "config.json").write_text(json.dumps(config))

    yield Case(
        "wavlm", "prematch_g_02500000.pt", write, generator, lambda module, features: module(features.transpose(1, 2)),
        num_mels=12,
    )  # fmt: skip


if __name__ == "__main__":
    record("knn_vc", "kNN-VC 848302a", make())
