"""TorchScript archives written by hand: what is damaged in them is refused, whatever their code says."""

from __future__ import annotations

import random

import numpy as np
import pytest

from checkpoint_files import Encoder, Global, Instance, Tensor, zip_file
from effort import LONG
from golden.tiny import TINY, tiny_generator, tiny_mel, tiny_weights
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, HifiganError
from hifigan_rt.formats.checkpoint import torchscript
from hifigan_rt.model.resolve import resolve_model

RATES, DILATIONS = TINY.generator.upsample_rates, TINY.generator.resblock_dilation_sizes
FRAGMENTS = (*'()[],"\n\0', "torch.add(", "class A(Module):\n", "Final[int] = ", "9" * 30)


def convolution(layer: str) -> str:
    """The call of a layer of the tiny generator, as a trace has it."""
    part, *numbers = layer.split(".")
    stride, dilation = (RATES[int(numbers[0])] if part == "ups" else 1), 1
    kernel = tiny_weights()[f"{layer}.weight"].shape[2]
    if part == "resblocks" and numbers[1] == "convs1":
        dilation = DILATIONS[int(numbers[0]) % 2][int(numbers[2])]
    padding = (kernel - stride) // 2 if part == "ups" else (kernel - 1) * dilation // 2
    numbers_of_it = f"[{stride}], [{padding}], [{dilation}], {part == 'ups'}, [0], 1, False"
    return f"    return torch._convolution(x, self.weight, self.bias, {numbers_of_it})\n"


def called(module: str, name: int, slope: float, rows: str = "x") -> str:
    return f'(getattr(self.{module}, "{name}")).forward(torch.leaky_relu({rows}, {slope}), )'


def block(n_units: int) -> str:
    """The code of a residual block, as a trace has it."""
    return (
        "".join(
            f"    y = {called('convs1', unit, 0.1)}\n    x = torch.add({called('convs2', unit, 0.1, 'y')}, x)\n"
            for unit in range(n_units)
        )
        + "    return x\n"
    )


def whole() -> str:
    """The code of the tiny generator."""
    text = "    x = (self.conv_pre).forward(x, )\n"
    for i in range(len(RATES)):
        blocks = [f'(getattr(self.resblocks, "{2 * i + j}")).forward(x, )' for j in range(2)]
        text += f"    x = {called('ups', i, 0.1)}\n    x = torch.div(torch.add({', '.join(blocks)}), CONSTANTS.c0)\n"
    return f"{text}    return torch.tanh((self.conv_post).forward(torch.leaky_relu(x, 0.01), ))\n"


def modules(weights: dict[str, np.ndarray]) -> tuple[Instance, str]:
    """The tiny generator as modules, each of a class of its own, and the text of the classes."""
    code = []

    def module(prefix: str) -> Instance:
        attributes, inner = (
            {},
            dict.fromkeys(name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)),
        )
        for name in inner:
            full = f"{prefix}{name}"
            attributes[name] = Tensor(weights[full], full) if full in weights else module(f"{full}.")
        layer = prefix.rstrip(".")
        body = "    return x\n" if prefix else whole()
        if "weight" in inner:
            body = convolution(layer)
        elif "convs1" in inner:
            body = block(len(DILATIONS[int(layer.split(".")[1]) % 2]))
        code.append(f"class C{len(code)}(Module):\n  training : bool\n  def forward(self, x):\n{body}")
        return Instance(Global("__torch__.m", f"C{len(code) - 1}"), {"training": False, **attributes})

    return module(""), "".join(code)


@pytest.fixture(scope="module")
def program():
    return modules(tiny_weights())


def write(path, root, code):
    encoder = Encoder(legacy=False)
    extra = {
        "archive/code/__torch__/m.py": code.encode(),
        "archive/constants.pkl": encoder.pickle((Tensor(np.array([2]), "0", shape=()),), 2),
    }
    extra |= {f"archive/constants/{key}": storage.tobytes() for key, storage in encoder.storages.items()}
    path.write_bytes(zip_file(root, extra=extra))
    return path


def test_an_archive_that_pytorch_had_no_part_in(program, tmp_path):
    model = resolve_model(write(tmp_path / "x.pt", *program))
    assert model.graph.config == TINY.generator
    np.testing.assert_array_equal(generate(model.generator, tiny_mel(5)), generate(tiny_generator(), tiny_mel(5)))


def test_damaged_code_is_refused_or_read_and_nothing_else(program, tmp_path):
    root, code = program
    rng = random.Random(0)
    for _ in range(2000 if LONG else 30):
        text = code
        for _ in range(rng.randint(1, 4)):
            at, end = sorted((rng.randrange(len(text)), rng.randrange(len(text))))
            kept = text[at : min(end, at + rng.choice((0, 1, 5, 200)))]
            text = text[:at] + rng.choice((*FRAGMENTS, "", kept * 2)) + text[at + len(kept) :]
        try:
            resolve_model(write(tmp_path / "x.pt", root, text))
        except HifiganError:
            continue


@pytest.mark.parametrize(
    "hostile",
    [
        "torch.add(" * 60_000,
        "(" * 500_000,
        "    a = __torch__.f\n" * 30_000,
        '"' * 500_000,
        "torch.add(x, " + "y, " * 150_000,
    ],
)
def test_code_of_any_shape_is_looked_through(program, tmp_path, hostile):
    root, code = program
    with pytest.raises(HifiganError):
        resolve_model(write(tmp_path / "x.pt", root, code.replace("torch.tanh", hostile + "torch.sin")))


@pytest.mark.parametrize("code", ["", "\n", "class", "x = 1\n", "\0" * 100])
def test_code_without_a_class_is_refused(program, tmp_path, code):
    with pytest.raises(HifiganError):
        resolve_model(write(tmp_path / "x.pt", program[0], code))


@pytest.mark.parametrize(
    ("root", "text"),
    [
        ({"a": 1}, "is damaged: it is a TorchScript archive, and its object is a dict"),
        (Instance(Global("mine", "Model"), {}), "and its object is an object of mine.Model"),
        (Instance(Global("__torch__", "Model"), {"x": 1}), "whose modules hold no tensors"),
    ],
)
def test_what_holds_no_modules(tmp_path, root, text):
    with pytest.raises(CheckpointError, match=text):
        resolve_model(write(tmp_path / "x.pt", root, ""))


def test_modules_within_each_other_have_a_limit(tmp_path, program):
    root = Instance(Global("__torch__", "M"), {"w": Tensor(np.ones(1, np.float32), "0")})
    for _ in range(70):
        root = Instance(Global("__torch__", "M"), {"m": root})
    with pytest.raises(CheckpointError, match=r"more than \d+ (modules within each other|containers)"):
        resolve_model(write(tmp_path / "x.pt", root, ""))


def test_code_has_a_limit(tmp_path, program, monkeypatch):
    monkeypatch.setattr(torchscript, "_MAX_CODE", 1000)
    with pytest.raises(CheckpointError, match="has more than 1000 characters of code"):
        resolve_model(write(tmp_path / "x.pt", *program))
