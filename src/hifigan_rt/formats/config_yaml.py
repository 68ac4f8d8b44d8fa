"""Decodes YAML, as far as configs need it: plain values, with limits; what a tag names is never made.

PyYAML gives the events of its parser, and this module puts them together itself. Its own loaders would follow any
depth, and merge aliases of aliases until memory ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_values import put_once
from hifigan_rt.system.versions import how_to_get

MAX_DEPTH = 32
"""Lists and mappings within each other; the configs known have 6."""
MAX_NODES = 100_000
"""Values in all, what aliases and merges repeat counted again; the longest lists known are of tokens, about 10,000."""
_MAX_NUMBER = 64
"""Characters of a number; a longer scalar stays text."""

TAG = "!"
"""Key under which a mapping with a tag of its own, such as `!new:some.Class`, has that tag."""

_STANDARD = "tag:yaml.org,2002:"
# YAML 1.2 and the loaders of OmegaConf and HyperPyYAML read such numbers; YAML 1.1 wants a dot in them.
_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+\Z")


@dataclass
class _Node:
    """A list or mapping that is being read."""

    value: list[Any] | dict[Any, Any]
    anchor: str | None
    size: int = 1
    height: int = 1
    key: list[Any] = field(default_factory=list)
    """The key that waits for its value."""
    merged: dict[Any, Any] = field(default_factory=dict)
    """What `<<` brings, for keys that the mapping does not state itself."""


@dataclass(frozen=True)
class _Whole:
    """A value with the number of values in it and its depth, 0 for a scalar."""

    value: Any
    size: int
    height: int


def decode_yaml(text: str) -> object:
    """Decode one YAML document into dictionaries, lists, texts, numbers, booleans and None.

    Aliases and merges (`<<`) are followed. A tag beyond YAML's own is kept as data: that of a scalar in front of its
    text (`!ref <rate>`), that of a mapping under the key `TAG`; that of a list is left out. Dates stay texts.

    Raises:
        ConfigError: not YAML, several documents, over the limits, a key twice with different values, or PyYAML is not
            installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"YAML needs the package PyYAML: {how_to_get('families')}") from error
    try:
        return _compose(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"it is no YAML that can be read: {' '.join(str(error).split())[:200]}") from error


def _compose(events: Iterator[Any]) -> object:
    convert = _scalar_converter()
    anchors: dict[str | None, _Whole | None] = {}
    stack: list[_Node] = []
    result: list[object] = []
    n_values = 0
    for event in events:
        kind = type(event).__name__
        anchor = getattr(event, "anchor", None)
        if kind == "AliasEvent":
            whole = anchors.get(anchor)
            if whole is None:
                raise ConfigError(f"its alias *{anchor} stands for something that holds it, or for nothing")
        elif kind == "ScalarEvent":
            whole = _Whole(convert(event.value, event.tag, event.implicit), 1, 0)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            mapping = kind == "MappingStartEvent"
            stack.append(_Node({} if mapping else [], anchor))
            if mapping and _is_foreign(event.tag):
                stack[-1].value = {TAG: event.tag}
            if anchor is not None:
                anchors[anchor] = None
            _check_depth(len(stack))
            continue
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            node = stack.pop()
            anchor = node.anchor
            value = node.merged | node.value if isinstance(node.value, dict) else node.value
            whole = _Whole(value, node.size, node.height)
        elif kind == "DocumentStartEvent" and result:
            raise ConfigError("it holds several YAML documents: one is needed")
        else:
            continue
        if anchor is not None:
            anchors[anchor] = whole
        # A scalar or alias is counted when it is met, a list or mapping by what stands in it and by its own end.
        n_values += whole.size if kind == "AliasEvent" else 1
        if n_values > MAX_NODES:
            raise ConfigError(f"its YAML holds more than {MAX_NODES} values, with those that aliases repeat")
        _check_depth(len(stack) + whole.height)
        if stack:
            n_values += _put(stack[-1], whole)
        else:
            result.append(whole.value)
    return result[0] if result else None


def _put(node: _Node, whole: _Whole) -> int:
    """Put a value into the list or mapping around it; gives how many values a merge copied."""
    node.size += whole.size
    node.height = max(node.height, 1 + whole.height)
    if isinstance(node.value, list):
        node.value.append(whole.value)
        return 0
    if not node.key:
        if isinstance(whole.value, (dict, list)):
            raise ConfigError("a list or mapping stands as a key in its YAML: keys must be texts or numbers")
        node.key.append(whole.value)
        return 0
    key = node.key.pop()
    if key != "<<":
        put_once(node.value, key, whole.value)
        return 0
    sources = whole.value if isinstance(whole.value, list) else [whole.value]
    for source in sources:
        if not isinstance(source, dict):
            raise ConfigError("a merge (<<) in its YAML names something else than mappings")
        for name, value in source.items():
            node.merged.setdefault(name, value)
    return sum(map(len, sources))


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ConfigError(f"its YAML holds more than {MAX_DEPTH} lists and mappings within each other")


def _is_foreign(tag: str | None) -> bool:
    return tag is not None and tag != TAG and not tag.startswith(_STANDARD)


def _scalar_converter() -> Callable[[str, str | None, tuple[bool, bool]], Any]:
    """What makes a value of a scalar's text, its tag and whether the tag follows from the text (plain, quoted)."""
    import yaml

    loader = yaml.SafeLoader("")
    kinds = {
        f"{_STANDARD}{name}": getattr(loader, f"construct_yaml_{name}") for name in ("null", "bool", "int", "float")
    }

    def convert(text: str, tag: str | None, implicit: tuple[bool, bool]) -> Any:
        if _is_foreign(tag):
            return f"{tag} {text}".rstrip()
        if tag is None or tag == TAG:
            tag = loader.resolve(yaml.ScalarNode, text, implicit)
            if implicit[0] and _EXPONENT.match(text):
                tag = f"{_STANDARD}float"
        if tag not in kinds or len(text) > _MAX_NUMBER:
            return text
        try:
            return kinds[tag](yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, IndexError) as error:
            raise ConfigError(
                f"{text!r} in its YAML is no {tag.removeprefix(_STANDARD)}, which it is said to be"
            ) from error

    return convert
