"""Computations that a program makes, and whether they are those of a generator.

Each value gets a number by how it is made, so that two values are the same computation if their numbers are equal;
sums are kept as their terms, in no order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

Key: TypeAlias = tuple[object, ...]


class Computations:
    """Numbers for computations, by how they are made."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}
        self._terms: dict[int, Counter[int]] = {}
        self.inputs: set[object] = set()

    def number(self, *key: object) -> int:
        """The number of a computation, a new one if it was never made."""
        return self._numbers.setdefault(key, len(self._numbers))

    def has(self, *key: object) -> bool:
        """Tell whether a computation was made."""
        return key in self._numbers

    def inputs_of(self, layer: str) -> list[object]:
        """What a layer was called with."""
        return [key[2] for key in self._numbers if key[:2] == ("layer", layer)]

    def slopes_before(self, layer: str) -> tuple[set[float], set[float]]:
        """The slopes of all activations but those that a layer is called with, and of those."""
        inputs = self.inputs_of(layer)
        inner, last = set[float](), set[float]()
        for key, number in self._numbers.items():
            if key[0] == "leaky_relu":
                (last if number in inputs else inner).add(float(key[1]))  # type: ignore[arg-type]
        return inner, last

    def terms(self, node: int) -> Counter[int]:
        """The terms of a sum; a value that is none is its only one."""
        return self._terms.get(node, Counter({node: 1}))

    def sum_key(self, terms: Counter[int]) -> Key:
        """The key of the sum of terms."""
        return ("sum", *sorted(terms.items()))

    def sum(self, nodes: Iterable[int]) -> int:
        """The sum of values."""
        terms: Counter[int] = Counter()
        for node in nodes:
            terms.update(self.terms(node))
        if len(terms) == 1 and terms.total() == 1:
            return next(iter(terms))
        found = self.number(*self.sum_key(terms))
        self._terms[found] = terms
        return found


@dataclass(frozen=True)
class ExpectedGenerator:
    """The generator that the code is compared with."""

    layers: frozenset[str]
    """Names of its convolutions."""
    n_stages: int
    n_blocks: int
    leaky_relu_slope: float
    final_slope: float
    output: str
    """tanh, clamp or none: what bounds the samples in the generator's own code."""


def first_missing(steps: Computations, it: ExpectedGenerator, results: Set[int]) -> str | None:
    """The first step of a generator that was not made, for texts."""
    missing: list[str] = []

    def step(text: str, *key: object) -> int:
        if not steps.has(*key):
            missing.append(text)
        return steps.number(*key)

    def total(text: str, nodes: Sequence[int]) -> int:
        terms: Counter[int] = Counter()
        for node in nodes:
            terms.update(steps.terms(node))
        if terms.total() > 1 and not steps.has(*steps.sum_key(terms)):
            missing.append(text)
        return steps.sum(nodes)

    def activated(before: str, slope: float, node: int) -> int:
        return step(f"leaky_relu of slope {slope:g} before {before}", "leaky_relu", slope, node)

    def conditioned(layer: str, name: str, x: int) -> int:
        """The sum of a layer and what is made of the vector, which must be an input as it is."""
        vectors = steps.inputs_of(name)
        if len(vectors) != 1 or vectors[0] not in steps.inputs or vectors[0] in inputs:
            missing.append(f"single call of {name}, of a second input as it is")
            return x
        return total(f"sum of {layer} and {name}", [x, steps.number("layer", name, vectors[0])])

    inputs = steps.inputs_of("conv_pre")
    if len(inputs) != 1 or inputs[0] not in steps.inputs:
        return "single call of conv_pre, of the input as it is"
    x = steps.number("layer", "conv_pre", inputs[0])
    if "cond" in it.layers:
        x = conditioned("conv_pre", "cond", x)
    for i in range(it.n_stages):
        name = f"ups.{i}"
        x = step(f"{name} of that", "layer", name, activated(name, it.leaky_relu_slope, x))
        if (added := f"conds.{i}") in it.layers:
            x = conditioned(name, added, x)
        ends = []
        for block in range(i * it.n_blocks, (i + 1) * it.n_blocks):
            z = x
            unit = 0
            while pair := [
                layer
                for layer in (f"resblocks.{block}.{part}.{unit}" for part in ("convs", "convs1", "convs2"))
                if layer in it.layers
            ]:
                y = z
                for layer in pair:
                    y = step(f"{layer} of that", "layer", layer, activated(layer, it.leaky_relu_slope, y))
                z = total(f"sum of {pair[-1]} and what came into its unit", [y, z])
                unit += 1
            ends.append(z)
        x = total(f"sum of the {it.n_blocks} residual blocks of stage {i}", ends)
        if it.n_blocks > 1:
            x = step(f"division of stage {i} by its {it.n_blocks} residual blocks", "div", float(it.n_blocks), x)
    x = step("conv_post of that", "layer", "conv_post", activated("conv_post", it.final_slope, x))
    if it.output != "none":
        x = step(f"{it.output} of that", it.output, x)
    if not missing and x not in results:
        missing.append("return of that alone")
    return missing[0] if missing else None
