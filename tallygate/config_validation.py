"""Validates against the models and says what pydantic found in the user's words, without values. Pure."""

import datetime
import difflib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.settings import KEY_SECTION, KEY_TEXT
from tallygate.config_errors import Place, Problem
from tallygate.config_schema import Config
from tallygate.config_shape import keys_at

# Below this likeness the nearest key is hardly what was meant, so all keys are listed.
_ALIKE = 0.6

# What pydantic puts into a place that does not stand in the file.
_NO_STEPS: Final = ("[key]", KEY_TEXT, KEY_SECTION)

_SHAPES: Final[Mapping[str, str]] = {
    "missing": "missing; this key is required",
    "model_type": "must be a section: a mapping of keys to values",
    "dict_type": "must be a mapping of names to values",
    "list_type": "must be a list",
}

# By section and field: a regular expression tells a user little.
_PATTERNS: Final[Mapping[str, str]] = {
    "billing.grace": "must be seconds, such as 120s",
    "billing.push_by": 'must be "00:MM" in quotes, MM from 00 to 14: minutes past each hour, before the collection at minute 15',
    "routes.path": "must start with /",
    "meters.path": "must lead to a number in the reply, such as $.usage.pages",
    "products.currency": "must be three capital letters, such as CNY",
    "customers.hash": "must be the key's SHA-256, 64 lower-case hex digits: printf %s KEY | sha256sum",
    "customers.key_hashes": "must be the key's SHA-256, 64 lower-case hex digits: printf %s KEY | sha256sum",
}


def validate(tree: Any) -> Config | list[Problem]:
    """The configuration, or everything the models object to."""
    if not isinstance(tree, dict):
        return [Problem((), "the file must be a mapping of keys to values, such as `routes:`")]
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        return [_problem(details) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails) -> Problem:
    place = tuple(step for step in details["loc"] if step not in _NO_STEPS)
    if details["type"] == "extra_forbidden":
        return Problem(place, _unknown_key(place))
    return Problem(place, _text(details, place))


def _unknown_key(place: Place) -> str:
    key, valid = str(place[-1]), keys_at(place[:-1])
    nearest = difflib.get_close_matches(key.lower(), valid, n=1, cutoff=0.0)[0]
    if difflib.SequenceMatcher(None, key.lower(), nearest).ratio() >= _ALIKE:
        return f"unknown key; did you mean {nearest!r}?"
    return f"unknown key; the nearest valid one is {nearest!r}, all of them: {', '.join(valid)}"


def _text(details: ErrorDetails, place: Place) -> str:
    kind, given = details["type"], details["input"]
    if kind in _SHAPES:
        return _SHAPES[kind]
    if kind == "string_type" and isinstance(given, (bool, int, float, datetime.date)):
        return "must be text, but YAML reads something else here; put it in quotes"
    if kind == "string_pattern_mismatch":
        name = next((step for step in reversed(place) if isinstance(step, str)), "")
        return _PATTERNS.get(f"{place[0]}.{name}", "must not hold control characters")
    return _plain(details["msg"])


def _plain(message: str) -> str:
    for phrase in ("Input should", "String should", "Value should", "List should"):
        message = message.replace(phrase, "must", 1)
    return message.removeprefix("Value error, ")
