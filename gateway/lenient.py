"""JSON from outside, read without raising: what does not fit is None. Pure."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeVar

import msgspec

from metering.usage import MAX_QUANTITY

T = TypeVar("T")

# msgspec's errors are ValueErrors, as is a key that is not UTF-8; nesting too deep is the other.
UNREADABLE: Final = (ValueError, RecursionError)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NUMBER: Final = msgspec.json.Decoder(int | float)
_DECIMAL: Final = msgspec.json.Decoder(Decimal)
_SPACE: Final = b" \t\r\n"
_LOOK: Final = 32  # bytes that nearly always tell what a value is


def decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T | None:
    """The decoded value, or None when `data` is no JSON or not of the decoder's type."""
    try:
        return decoder.decode(data)
    except UNREADABLE:
        return None


def members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object, in order, their values as they stand; None for anything else."""
    return decode(_MEMBERS, data)


def quantity(data: bytes | msgspec.Raw) -> int | None:
    """A JSON number that can be believed as a quantity: whole, from 0 to MAX_QUANTITY."""
    number = decode(_NUMBER, data)
    if number is None or not 0 <= number <= MAX_QUANTITY or int(number) != number:
        return None
    return int(number)


def quantity_at(data: bytes | msgspec.Raw, path: tuple[str, ...], times: int = 1) -> int | None:
    """The quantity that stands where `path` leads through nested objects, if one does.

    Where there is a list of objects, it is the sum over all of them, if each of them has one.
    """
    if not path:
        return quantity(data) if times == 1 else scaled(data, times)
    if bytes(memoryview(data)[:_LOOK]).lstrip(_SPACE)[:1] == b"[":
        return _sum([_within(one, path, times) for one in decode(_LIST, data) or ()])
    return _within(data, path, times)


def _within(data: bytes | msgspec.Raw, path: tuple[str, ...], times: int) -> int | None:
    value = (members(data) or {}).get(path[0])
    return None if value is None else quantity_at(value, path[1:], times)


def _sum(each: list[int | None]) -> int | None:
    read = [value for value in each if value is not None]
    total = sum(read)
    return total if each and len(read) == len(each) and total <= MAX_QUANTITY else None


def scaled(data: bytes | msgspec.Raw, times: int) -> int | None:
    """A quantity in units that are `times` larger, such as seconds of 1000 ms; their parts are rounded.

    Never by way of a float.
    """
    if bytes(memoryview(data)[:1]) == b'"':
        return None
    number = decode(_DECIMAL, data)
    if number is None or not 0 <= number <= MAX_QUANTITY:
        return None
    scaled = int((number * times).to_integral_value(ROUND_HALF_UP))
    return scaled if scaled <= MAX_QUANTITY else None
