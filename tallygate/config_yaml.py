"""YAML text to plain Python values, as `yaml.safe_load` would, but stricter. Pure.

A key that appears twice is an error, and so is an alias: nothing that is small in the file can
become large in memory. `${NAME}` may stand without quotes everywhere, though braces are YAML's own.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent
from yaml.reader import ReaderError

from tallygate.config_errors import ConfigInvalid

# References wear these private-use characters while YAML is read. The lengths are the same, so
# that lines and columns in messages stay true.
_REFERENCE = re.compile(r"\$\{([^{}\n]*)\}")
_OPEN, _CLOSE = "\ue000\ue001", "\ue002"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases and duplicate keys and reports odd scalars with their line."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(AliasEvent):
            problem = "aliases (*name) are not accepted; write the value out"
            event = self.peek_event()  # type: ignore[no-untyped-call]  # left out in types-PyYAML
            raise ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                problem = (
                    f"the key {_unmask(key.value)!r} appears twice, first on line "
                    f"{seen[key.value]}; keep one of them"
                )
                raise ConstructorError(None, None, problem, key.start_mark)
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):
            # What PyYAML's own constructors let through: `2026-99-99`, `!!bool maybe`, `!!int x`.
            problem = "this value cannot be read; put it in quotes if it is text"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        return _unmask(super().construct_scalar(node))


def read_yaml(text: str) -> Any:
    """The one document in `text`. Raises ConfigInvalid with line and column."""
    try:
        return _document(_REFERENCE.sub(_mask, text))
    except ReaderError as error:
        problem = f"{_line_column(text, error.position)}: this character is not accepted in YAML"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = f"{where}not valid YAML: {error.problem}"
    except RecursionError:
        problem = "the file is nested too deeply"
    raise ConfigInvalid([_unmask(problem)])


def _document(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _mask(reference: re.Match[str]) -> str:
    return f"{_OPEN}{reference[1]}{_CLOSE}"


def _unmask(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_OPEN, "${").replace(_CLOSE, "}")
    return value


def _line_column(text: str, position: int) -> str:
    before = text[:position]
    return f"line {before.count(chr(10)) + 1}, column {position - (before.rfind(chr(10)) + 1) + 1}"
