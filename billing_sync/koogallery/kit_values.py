"""How single values of the Kit's bodies are read (spec §5): texts, times, and lists that may come as
strings. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from billing_sync.errors import BadEvent
from billing_sync.kit_marks import Flag
from billing_sync.koogallery.fields import Field, checked, utc_ms

SECRET: Final = "clientSecret"  # noqa: S105  (the field's name)
_FREE_TEXT: Final = frozenset({"name", "orgName", "position", "workPlace"})
_ZONE_MS: Final = 8 * 3_600_000  # the Kit's times are UTC+8
_MAX_STAMP: Final = 20


def object_of(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises BadEvent."""
    try:
        data = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise BadEvent("body is not JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise BadEvent("body is not a JSON object")
    return data


def stamp_ms(name: str, given: object) -> int:
    """A time of the Kit as UTC ms. Raises BadEvent."""
    at = utc_ms(name, checked(Field(name, length=_MAX_STAMP), given)) - _ZONE_MS
    if at <= 0:
        raise BadEvent(f"{name} is before 1970")
    return at


def maybe_empty(name: str, data: Mapping[str, Any]) -> str:
    """Mandatory, and yet empty while the seller applies for credentials."""
    if name not in data:
        raise BadEvent(f"{name} is missing")
    return checked(Field(name, required=False), data[name])


def list_of(name: str, given: object, most: int) -> Sequence[Mapping[str, Any]]:
    """A list of objects, or the same written as a string: both were met."""
    value = given
    if isinstance(given, str) and given:
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            raise BadEvent(f"{name} is not JSON") from None
    if value is None or value == "":
        raise BadEvent(f"{name} is missing")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadEvent(f"{name} is not a list of objects")
    if len(value) > most:
        raise BadEvent(f"{name} holds more than {most} entries")
    return value


def values_of(
    fields: Sequence[Field],
    data: Mapping[str, Any],
    flag: Flag,
    keys: frozenset[str],
) -> dict[str, str]:
    """Every field; a deletion needs only the keys. Raises BadEvent."""
    found: dict[str, str] = {}
    for field in fields:
        wanted = field
        if flag.revokes and field.name not in keys:
            wanted = replace(field, required=False)
        found[field.name] = value_of(wanted, data)
    return found


def value_of(field: Field, data: Mapping[str, Any]) -> str:
    """One field, numbers and truths as texts; unprintable characters of free text are spaces.

    Raises BadEvent naming the field.
    """
    given = data.get(field.name)
    if isinstance(given, bool):
        given = str(given).lower()
    elif type(given) is int:
        given = str(given)
    if isinstance(given, str) and field.name == SECRET:
        given = "".join(given.split())  # base64 may come in lines
    if isinstance(given, str) and field.name in _FREE_TEXT:
        given = "".join(each if each.isprintable() else " " for each in given)
    return checked(field, given)
