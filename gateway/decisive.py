"""Which fields of a head decide anything; all others only pass, whatever they say. Pure.

So two heads whose deciding lines are the same amount to the same, but for the lines that pass. How
those must be written is checked here as strictly as raw_heads.py does it.
"""

import re
from typing import Final, Literal, NamedTuple

from gateway.credentials import CREDENTIAL_HEADERS, IDENTITY_HEADERS
from gateway.errors import Headers
from gateway.headers import HOP_BY_HOP, REWRITTEN, folded, values_of
from gateway.strictness import MAX_REPLY_FIELDS

Kind = Literal["decides", "credential", "proof", "identity", "dropped", "unclear"]

_REMEMBERED: Final = 4096
_CRLF: Final = b"\r\n"
_CRLFS: Final = _CRLF * (MAX_REPLY_FIELDS + 2)
_TEXT: Final = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_LENGTH: Final = b"content-length"
_CUSTOMER: Final = b"x-customer-id"
_DIGITS: Final = re.compile(rb"[1-9][0-9]{0,17}")
_CUT_OUT: Final = b"\0"  # in no line of a head: where its length was
_HARMLESS: Final = HOP_BY_HOP | {b"", b"close"}

_BODY_READ_BY: Final = frozenset({b"accept-encoding", b"content-encoding", b"content-type"})
_OF_REQUESTS: Final[dict[bytes, Kind]] = {
    **dict.fromkeys(REWRITTEN | _BODY_READ_BY, "decides"),
    **dict.fromkeys(CREDENTIAL_HEADERS, "credential"),
    **dict.fromkeys(IDENTITY_HEADERS, "identity"),
}
_OF_REPLIES: Final[dict[bytes, Kind]] = {
    **dict.fromkeys(HOP_BY_HOP | {_LENGTH, b"content-type", b"content-encoding"}, "decides"),
    b"x-request-id": "dropped",
}


class Kinds(dict[bytes, bytes | Kind]):
    """By a field's name as it is written: what it does, or the start of the line that passes."""

    def __init__(self, known: dict[bytes, Kind]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: bytes) -> bytes | Kind:
        if not _NAME.fullmatch(name):
            return "unclear"
        lower = name.lower()
        kind: bytes | Kind | None = self._known.get(lower)
        if kind is None:
            # Spelt with `_` it is not what decides, but it may have to be kept from an upstream.
            kind = "decides" if folded(lower) in self._known else lower + b": "
        if len(self) >= _REMEMBERED:
            self.clear()
        self[name] = kind
        return kind

    def passes(self, name: bytes) -> bool:
        """Whether a field of this name only passes."""
        return isinstance(self[name], bytes)


def request_kinds(own: frozenset[bytes]) -> Kinds:
    """As `REQUEST`, where these fields may prove who calls."""
    others = own - CREDENTIAL_HEADERS
    return Kinds({**_OF_REQUESTS, **dict.fromkeys(others, "proof")}) if others else REQUEST


REQUEST: Final = Kinds(_OF_REQUESTS)
REPLY: Final = Kinds(_OF_REPLIES)


class Apart(NamedTuple):
    """A head taken apart: lines that decide, with the start line, and lines that pass.

    `claims` are the fields that say, and may prove, for whom somebody else calls; none where no
    customer is named, for then those words count as little as anybody's.
    """

    shape: bytes
    credentials: bytes
    passing: bytes
    length: int  # of a reply, where it says it as is usual; otherwise -1
    dated: bool
    claims: Headers | tuple[()] = ()


def request_apart(head: bytes, caller: bytes, most: int, kinds: Kinds = REQUEST) -> Apart | None:
    """None for a head, of at most so many fields, that must be read as a whole.

    Who sends it belongs to its shape.
    """
    lines = _lines(head, most)
    if lines is None:
        return None
    shape, passing = [caller, lines[0]], []
    said: list[tuple[Kind, bytes]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        kind = kinds[name]
        if isinstance(kind, bytes) and colon:
            passing.append(kind + value.strip(b" \t"))
        elif kind == "decides":
            shape.append(line)
        elif isinstance(kind, bytes) or kind == "unclear" or not colon:
            return None
        else:
            said.append((kind, line))
    credentials = [line for kind, line in said if kind == "credential"]
    claims = _claims(said) if len(credentials) < len(said) else []
    if claims is None:
        return None
    if passing:
        passing.append(b"")
    whole = _CRLF.join(shape), _CRLF.join(credentials), _CRLF.join(passing)
    return Apart(*whole, -1, dated=True, claims=claims)


def _claims(said: list[tuple[Kind, bytes]]) -> Headers | None:
    """The fields by which somebody may speak for a customer, empty where none is named.

    None where something may be proved and nobody is named: the gate must say what that is.
    """
    parted = [line.partition(b":") for _, line in said]
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in parted]
    if any(name == _CUSTOMER for name, _ in fields):
        return fields
    return None if any(kind == "proof" for kind, _ in said) else []


def reply_apart(head: bytes) -> Apart | None:
    """None for a head that must be read as a whole."""
    lines = _lines(head, MAX_REPLY_FIELDS)
    if lines is None:
        return None
    shape, passing = [lines[0]], []
    length = -1
    kinds = REPLY
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        kind = kinds[name]
        if isinstance(kind, bytes) and colon:
            passing.append(kind + value.strip(b" \t"))
        elif kind == "decides":
            if length < 0 and (length := _length_in(name, value)) > 0:
                line = _CUT_OUT  # noqa: PLW2901 - no other line can be this one
            shape.append(line)
        elif kind == "unclear" or not colon:
            return None
    if passing:
        passing.append(b"")
    passed = _CRLF.join(passing)
    dated = passed.startswith(b"date: ") or b"\r\ndate: " in passed
    return Apart(_CRLF.join(shape), b"", passed, length, dated)


def _length_in(name: bytes, value: bytes) -> int:
    digits = value.strip(b" \t")
    return int(digits) if name.lower() == _LENGTH and _DIGITS.fullmatch(digits) else -1


def only_usual_options(headers: Headers) -> bool:
    """Whether Connection takes away no field but those that go no further anyway."""
    named = b",".join(values_of(headers, b"connection")).lower().split(b",")
    return all(name.strip() in _HARMLESS for name in named)


def _lines(head: bytes, most: int) -> list[bytes] | None:
    """The start line and the fields' lines; None where CR or LF, or worse, stand in one."""
    lines = head[:-4].split(_CRLF)
    count = len(lines)
    if count > most + 1 or head[-4:] != b"\r\n\r\n":
        return None
    # What is no text is as many line ends as there are lines: none is left for anything else.
    if head.translate(None, _TEXT) != _CRLFS[: 2 * count + 2]:
        return None
    return lines
