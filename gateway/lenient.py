"""JSON from outside, read without raising: what does not fit is None. Pure."""

from typing import Final, TypeVar

import msgspec

from metering.usage import MAX_QUANTITY

T = TypeVar("T")

# msgspec's errors are ValueErrors, as is a key that is not UTF-8; nesting too deep is the other.
UNREADABLE: Final = (ValueError, RecursionError)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER: Final = msgspec.json.Decoder(int | float)


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


def quantity_at(data: bytes | msgspec.Raw, path: tuple[str, ...]) -> int | None:
    """The quantity that stands where `path` leads through nested objects, if one does."""
    here: bytes | msgspec.Raw | None = data
    for key in path:
        here = (members(here) or {}).get(key) if here is not None else None
    return None if here is None else quantity(here)
