"""`${NAME}` and `${NAME:-default}` inside configuration text. Pure: the environment is given."""

import re
from collections.abc import Mapping
from typing import Any

from tallygate import config_shape
from tallygate.config_errors import Place, Problem

_TOKEN = re.compile(r"\$\$|\$\{([^{}]*)(\}?)")
_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Unset(Exception):
    """A variable without a default is not set, or is empty."""


class BadReference(Exception):
    """Something that begins like a reference and is none."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references filled in; `$$` is a dollar. Values are not read again.

    An empty variable counts as unset, as `:-` has it in the shell (POSIX.1-2017 XCU 2.6.2).
    Raises Unset with the name of the variable, or BadReference.
    """

    def value_of(token: re.Match[str]) -> str:
        if token[0] == "$$":
            return "$"
        reference = _REFERENCE.fullmatch(token[1]) if token[2] else None
        if reference is None:
            raise BadReference
        value = environ.get(reference[1]) or reference[2]
        if value is None:
            raise Unset(reference[1])
        return value

    return _TOKEN.sub(value_of, text)


class Resolver:
    """Walks what YAML gave, fills in references and collects what cannot be filled in.

    A section or field that is written but left null counts as not written, unless null is one of
    its values. A secret that may be absent is absent when its variable is.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []

    def resolve(self, value: Any, place: Place = ()) -> Any:
        """`value` with every string filled in. Problems are added to `problems`."""
        if isinstance(value, dict):
            return self._mapping(value, place)
        if isinstance(value, list):
            return [self.resolve(item, (*place, index)) for index, item in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, place)
        return value

    def _mapping(self, mapping: dict[Any, Any], place: Place) -> dict[str, Any]:
        resolved: dict[str, Any] = {}
        for key, value in mapping.items():
            if not isinstance(key, str):
                text = f"the key {key!r} is not text; put it in quotes"
                self.problems.append(Problem((*place, str(key)), text))
            elif value is not None or config_shape.may_be_null((*place, key)):
                resolved[key] = self.resolve(value, (*place, key))
        return resolved

    def _text(self, text: str, place: Place) -> str | None:
        secret = config_shape.may_be_absent_secret(place)
        try:
            expanded = expand(text, self._environ)
        except Unset as unset:
            if secret:
                return None
            problem = f"the environment variable {unset} is not set; set it or write ${{{unset}:-default}}"
        except BadReference:
            problem = "not a reference: write ${NAME} or ${NAME:-default}, or $${ for a literal ${"
        else:
            return None if secret and not expanded else expanded
        self.problems.append(Problem(place, problem))
        return text
