# SPDX-License-Identifier: Apache-2.0
"""YAML as people mean it: what is read is plain data by the rules of YAML 1.2, and what is written reads back the same.

PyYAML takes the text apart; what a word means is decided here, because YAML 1.1 takes `no` for false, `3e-5` for a text
and `1:30` for ninety. Tags, anchors and aliases are refused: no recipe needs them, and they can do harm.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from typing import Any

from distilbert.errors import BackendError, FileError

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_DEEPEST = 20  # lists and mappings in one another
_WHOLE = re.compile(r"[-+]?[0-9]{1,100}")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML document; `origin` names it in errors.

    Raises:
        FileError: it is not YAML, or holds a key twice, or tags, anchors or aliases; with the line.
        BackendError: PyYAML is not installed.
    """
    yaml = _module()
    try:
        _refuse_what_harms(yaml, text, origin)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        return None if node is None else _value(yaml, node, origin)
    except yaml.YAMLError as error:
        raise FileError(f"{origin}: not valid YAML ({_reason(error)})") from None


def to_yaml(value: Any) -> str:
    """Plain data as YAML, in its own order; texts that any reader could take for something else are quoted.

    Raises:
        BackendError: PyYAML is not installed.
    """
    text: str = _module().dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)
    return text


def _refuse_what_harms(yaml: Any, text: str, origin: str) -> None:
    """References could stand for endless data, tags for any object, and PyYAML is slow where brackets are deep."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise FileError(f"{origin}: line {line}: nested too deeply")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise FileError(f"{origin}: line {line}: anchors and aliases are not accepted; write the value out")
        if getattr(event, "tag", None):
            raise FileError(f"{origin}: line {line}: tags are not accepted, found {event.tag!r}; write plain values")


def _value(yaml: Any, node: Any, origin: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(yaml, item, origin) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(yaml, node, origin)
    return node.value if node.style else _plain(node.value)


def _mapping(yaml: Any, node: Any, origin: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise FileError(f"{origin}: line {line}: expected a name before the colon")
        if key_node.value in found:
            raise FileError(f"{origin}: line {line}: the same key twice: {key_node.value!r}")
        found[key_node.value] = _value(yaml, value_node, origin)
    return found


def _plain(text: str) -> Any:
    """What a text without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _reason(error: Any) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


@functools.cache
def _dumper() -> Any:
    """PyYAML's own, which quotes what is no text in YAML 1.1, and besides what is a number in YAML 1.2."""
    yaml = _module()
    made: Any = type("Dumper", (yaml.SafeDumper,), {})
    made.add_representer(str, _written_text)
    made.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"(?:{_NUMBER.pattern})\Z"), [*"-+.0123456789"])
    return made


def _written_text(dumper: Any, text: str) -> Any:
    """In double quotes, with escapes, where there are characters that do not print: PyYAML gets some of them wrong."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


def _module() -> Any:
    try:
        return importlib.import_module("yaml")
    except ImportError:
        raise BackendError('YAML files need PyYAML\n  install:  pip install "distilbert[train]"') from None
