"""Files of other projects that are meant to hurt: pickles of PaddlePaddle, configs in YAML, statistics in HDF5."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from checkpoint_mutations import PaddleTensor
from golden.family_files import read_files, records, unpack
from hifigan_rt.errors import CheckpointError, HifiganError, UnsafeCheckpoint
from hifigan_rt.families import read_checkpoint
from hifigan_rt.families.matching import StatedConfig, match_config
from hifigan_rt.formats.checkpoint import LazyTensor, OpaqueObject, read_tensors
from hifigan_rt.formats.checkpoint.limits import MAX_TENSORS
from hifigan_rt.formats.config_file import read_config_values
from hifigan_rt.formats.config_yaml import TAG
from hifigan_rt.model.own_configs import find_configs
from hifigan_rt.model.resolve import read_tensors as read_tensors_of_family
from hifigan_rt.model.resolve import resolve_model


class Reduce:
    def __init__(self, function, *arguments):
        self._what = function, arguments

    def __reduce__(self):
        return self._what


@pytest.fixture
def generator(tmp_path):
    """Writes the recorded file of PaddleSpeech with one tensor replaced."""
    name, files = read_files("paddlespeech", "even")
    weights = pickle.loads(files[name])["generator_params"]
    (tmp_path / "default.yaml").write_bytes(files["default.yaml"])

    def write(value: object) -> Path:
        content = {"generator_params": {**weights, "output_conv.1.bias": value}}
        (tmp_path / name).write_bytes(pickle.dumps(content, 4))
        return tmp_path / name

    return write


def test_a_tensor_of_paddle_is_its_array(generator):
    path = generator(PaddleTensor("conv1d_9.b_0", np.array([0.5], np.float32)))
    assert read_checkpoint(path).weights["output_conv.1.bias"].tolist() == [0.5]


@pytest.mark.parametrize("function", [eval, exec, print, getattr])
def test_what_paddle_pickles_by_code_is_refused(generator, tmp_path, function):
    """Older versions pickled a LoDTensor as a call of eval."""
    path = generator(Reduce(function, f"open({str(tmp_path / 'made')!r}, 'w')"))
    with pytest.raises(UnsafeCheckpoint, match=f"builtins.{function.__name__}"):
        read_checkpoint(path)
    assert not (tmp_path / "made").exists()


ARRAY = np.ones(1, np.float32)


@pytest.mark.parametrize(
    "arguments",
    [(), ((),), (("name",),), (("name", ARRAY, ARRAY),), ((ARRAY, "name"),), ((("a",), ARRAY),), (["name", ARRAY],),
     (("name", "text"),), (("name", np.array([None])),), (("name", (("name", ARRAY),)),)],
)  # fmt: skip
def test_other_tuples_are_left_out(generator, arguments):
    path = generator(Reduce(tuple, *arguments))
    kept = read_tensors(path)["generator_params"]["output_conv.1.bias"]
    assert isinstance(kept, OpaqueObject)
    assert not isinstance(kept, LazyTensor)
    with pytest.raises(CheckpointError, match=r"missing +conv_post\.bias"):
        resolve_model(path)


def test_many_tensors_of_paddle_are_refused_early(tmp_path):
    tensors = [PaddleTensor("x", ARRAY) for _ in range(MAX_TENSORS + 1)]
    (tmp_path / "x.pdz").write_bytes(pickle.dumps({"generator_params": tensors}, 4))
    with pytest.raises(CheckpointError, match="more than"):
        read_checkpoint(tmp_path / "x.pdz")


BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 12)}]\n" for i in range(12))


@pytest.mark.parametrize(
    "text",
    [BOMB, "[" * 100_000, "a: &a [*a]", "generator_params: !!python/object/apply:os.system ['exit 1']",
     "generator_type: []",
     "generator_params: {upsample_scales: [4, 2], channels: 99999999999999999999}",
     "generator_params: {upsample_scales: {a: 1}, upsample_kernel_sizes: [8, 4]}",
     "generator_params: {upsample_scales: ['x', 2], upsample_kernel_sizes: [8, 4]}",
     "generator_params: {upsample_scales: [.nan, .inf], upsample_kernel_sizes: [8, 4]}",
     "generator_params: {nonlinear_activation_params: {negative_slope: x}}", "? {a: 1}\n: 2", "\0", "- a", "null"],
    ids=range(14),
)  # fmt: skip
def test_bad_configs_beside_a_checkpoint_give_errors_of_ours(tmp_path, text):
    name, files = read_files("parallel_wavegan", "even")
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(HifiganError):
        resolve_model(tmp_path / name)


VALUES = [
    None, "x", "9" * 5000, "1e-5", "${a}", "${.a}", "${..a.b}", "!ref", "!ref <a>", True, -1, 0, 1.5, 2**70, 10**400,
    1e308, 5e-324, float("nan"), float("inf"), [], {}, [[]], [None], [{}], [[1, 2], 3], [10**400], [[10**9]], {"a": []},
    {1: 2, None: 3}, {TAG: []},
]  # fmt: skip
RECORDS = [(record, case) for record, cases in records() if "onnx" not in record for case in cases]


def places(value: object) -> Iterator[tuple[dict, object]]:
    """Every field, in the mapping that holds it."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield value, name
        yield from places(inner)


@pytest.mark.parametrize("times", [40, pytest.param(4000, marks=pytest.mark.long)])
def test_fields_of_any_type_give_errors_of_ours(tmp_path, times):
    """One or two fields of each family's recorded config are replaced by values of another type or size."""
    rng = random.Random(0)
    read = 0
    for record, case in RECORDS:
        path = unpack(tmp_path / f"{record} {case}", record, case)
        checkpoint, weights, family = read_tensors_of_family(path, None)
        shapes = {name: array.shape for name, array in weights.items()}
        files = [
            read_config_values(file) for file in path.parent.iterdir() if file.suffix in (".json", ".yml", ".yaml")
        ]
        for values in (*files, *(stated.values for stated in find_configs(checkpoint))):
            for _ in range(times):
                changed = copy.deepcopy(values)
                for _ in range(rng.choice([1, 2])):
                    mapping, name = rng.choice(list(places(changed)))
                    mapping[name] = copy.deepcopy(rng.choice(VALUES))
                with suppress(HifiganError):
                    match_config(family, shapes, StatedConfig("config", changed))
                    read += 1
    assert read > times


TIMES = [8, pytest.param(3000, marks=pytest.mark.long)]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(
    ("record", "case"), [("parallel_wavegan", "even"), ("espnet", "joint"), ("paddlespeech", "odd")]
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_give_errors_of_ours(tmp_path, record, case, times):
    """Each file of a recorded case in turn: cut, or with bytes changed, doubled or taken out."""
    name, files = read_files(record, case)
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    rng = random.Random(f"{record} {case}")
    for _ in range(times):
        file = rng.choice(sorted(files))
        data = bytearray(files[file])
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    del data[at:]
                case 1:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 2:
                    data[at:at] = data[at : at + rng.randrange(40)]
                case 3:
                    del data[at : at + rng.randrange(40)]
        (tmp_path / file).write_bytes(bytes(data))
        with suppress(HifiganError):
            resolve_model(tmp_path / name)
        (tmp_path / file).write_bytes(files[file])
