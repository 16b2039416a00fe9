"""W3C trace context (traceparent, level 1): reading it, and saying it anew for an upstream. Pure.

Calls that are not traced pass it on as it came, whatever it says.
"""

import re
from typing import Final, NamedTuple

from gateway.errors import Headers
from gateway.headers import values_of

TRACEPARENT: Final = b"traceparent"
SAMPLED: Final = 0x01

# Version ff is forbidden; later ones may say more behind a dash.
_FORM: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?"
)
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


class TraceParent(NamedTuple):
    """Who calls: lower-case hex."""

    trace_id: str
    parent_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return bool(self.flags & SAMPLED)


def trace_parent(values: list[bytes]) -> TraceParent | None:
    """What the fields of a head say; None for none, several, or what is not in the form."""
    if len(values) != 1:
        return None
    found = _FORM.fullmatch(values[0])
    if found is None or found[2] == _NO_TRACE or found[3] == _NO_PARENT:
        return None
    if found[1] == b"00" and found[5] is not None:
        return None
    return TraceParent(found[2].decode(), found[3].decode(), int(found[4], 16))


def trace_parent_of(headers: Headers) -> TraceParent | None:
    """The same from a head's fields, names in lower case."""
    return trace_parent(values_of(headers, TRACEPARENT))


def in_lines(lines: bytes) -> list[bytes]:
    """The values of `traceparent` in lines of a head that begin after a line end."""
    mark = b"\r\n" + TRACEPARENT + b": "
    parts = lines.split(mark)[1:]
    return [part.partition(b"\r\n")[0] for part in parts]


def retold(headers: Headers, traceparent: bytes, *, keeps_state: bool) -> Headers:
    """The fields with this parent in place of the caller's; `tracestate` goes with its trace."""
    without = {TRACEPARENT} if keeps_state else {TRACEPARENT, b"tracestate"}
    kept = [each for each in headers if each[0] not in without]
    return [*kept, (TRACEPARENT, traceparent)]


def retold_lines(lines: bytes, traceparent: bytes, *, keeps_state: bool) -> bytes:
    """The same in lines of a head that begin after a line end, as wire.py writes them."""
    first, *rest = lines.split(b"\r\n")
    dropped = (b"traceparent: ",) if keeps_state else (b"traceparent: ", b"tracestate: ")
    kept = [line for line in rest if not line.startswith(dropped)]
    return b"\r\n".join([first, b"traceparent: " + traceparent, *kept])
