"""kNN-VC (bshall/knn-vc): a generator of features of speech, with the original's config and a linear layer in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.families.family import ConfigForm, Shapes
from hifigan_rt.formats.config_json import MEL_FIELDS, stated_fields

_RATE = "sampling_rate"


def _tells(values: Mapping[str, object]) -> bool:
    return "hubert_dim" in values and "hifi_dim" in values


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - it states all
    # Its mel settings are of the loss in training: the network never sees a mel, and its num_mels is not used.
    kept = {name: value for name, value in stated_fields(values).items() if name == _RATE or name not in MEL_FIELDS}
    return kept | {"num_mels": values["hifi_dim"], "pre_linear": values["hubert_dim"], "input_kind": "latent"}


KNN_VC_CONFIG = ConfigForm("kNN-VC", _tells, _read)
