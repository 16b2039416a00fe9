"""The one way the marketplace writes signed JSON: compact, keys ascending, no nulls. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence


class _Literal(str):
    """A number exactly as it stood in the text."""

    __slots__ = ()


def canonical(value: object) -> str:
    """Compact JSON, keys in natural (ascending) order at every level, null members dropped.

    Non-ASCII stays UTF-8 and `/` is not escaped, as Jackson writes it (spec §2.2).
    """
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, Mapping):
        members = ((key, value[key]) for key in sorted(value) if value[key] is not None)
        return "{" + ",".join(f"{_plain(key)}:{canonical(item)}" for key, item in members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    return _plain(value)


def is_canonical(raw: bytes) -> bool:
    """Whether these bytes are what `canonical` would have written for their content."""
    return _plainly_canonical(raw) or _carefully_canonical(raw)


def _plainly_canonical(raw: bytes) -> bool:
    """The quick way, for a thousand records at once; False may only mean that it cannot tell.

    What reads back byte for byte with sorted keys has no doubled key and no number spelt otherwise.
    """
    try:
        value = json.loads(raw)
        written = json.dumps(
            value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        )
        return b"null" not in raw and written.encode() == raw
    except (ValueError, TypeError, RecursionError):
        return False


def _carefully_canonical(raw: bytes) -> bool:
    try:
        value = strict_loads(raw, number=_Literal)
        return canonical(value).encode() == raw
    except (ValueError, RecursionError):
        return False


def strict_loads(raw: bytes, number: Callable[[str], object]) -> object:
    """JSON with every number read by `number`; ValueError for NaN, Infinity and doubled keys."""
    return json.loads(
        raw,
        parse_int=number,
        parse_float=number,
        parse_constant=_no_constant,
        object_pairs_hook=_unique,
    )


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(members := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return members
