"""Takes out of an OpenAI stream what was put in only because the gateway asked for usage: the usage
event, and the `"usage":null` of every other chunk. Textual, so that all other bytes stay. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from gateway import dialects, lenient, sse

_NULL: Final = msgspec.Raw(b"null")
_NULL_MEMBER: Final = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*null')
_ONE_LINE: Final = re.compile(rb"data: ?([^\r\n]*)\r?\n\r?\n")
_USAGE: Final = b'"usage"'
_COMMA_NULL: Final = b',"usage":null'
_NULL_SIZE: Final = len(b'"usage":null')
_LF: Final = b"\n"
_BACKSLASH: Final = b"\\"
_UNICODE: Final = b"\\u00"
_DATA: Final = b"data: "
_DATA_SIZE: Final = len(_DATA)
_BEGIN: Final = _DATA + b"{"
_END: Final = b"}\n\n"
_NEXT: Final = _END + _BEGIN
_LINE_UP: Final = b"}\n{"
_ESCAPED: Final = re.compile(rb"\\u00[67]")  # how a letter of the name may be written too
_SPACE: Final = b" \t\r\n"


class _NullUsage(msgspec.Struct, gc=False):
    """A document that has the member, and nothing in it."""

    usage: None


_read_null: Final = msgspec.json.Decoder(_NullUsage).decode
_read_lines: Final = msgspec.json.Decoder(_NullUsage).decode_lines


def strip(raw: bytes, data: bytes) -> bytes:
    """An event as the client would have got it: b"" for the usage event, else its bytes.

    `raw` is the event from its first byte to its blank line, `data` what its data lines hold.
    """
    members = lenient.members(data) if b'"usage"' in data else None
    usage = None if members is None else members.get("usage")
    if members is None or usage is None:
        return raw
    if usage == _NULL:
        return _without_null(raw, data, members)
    choices = members.get("choices")
    extra = choices is not None and dialects.is_empty_list(choices) and dialects.is_object(usage)
    return b"" if extra else raw


def strip_null(event: bytes, at: int) -> bytes | None:
    """What `strip` makes of an event of one line that is usual; None for any other.

    Usual: a JSON object whose only mention of usage, at `at`, is a `,"usage":null` of its own, written
    so.
    """
    if (
        not event.startswith(_COMMA_NULL, at - 1)
        or event[at - 2] in _SPACE  # which would go with the comma
        or event.find(_USAGE, at + 1) > 0
        or not event.startswith(_DATA)
        or not _is_plain(event)
    ):
        return None
    try:
        _read_null(event[_DATA_SIZE:])
    except lenient.UNREADABLE:
        return None
    return event[: at - 1] + event[at + _NULL_SIZE :]


def strip_nulls(events: bytes, at: int) -> bytes | None:
    """The same for several events of one line each, if each of them is usual and written alike."""
    member = events[at - 2 : at + _NULL_SIZE]
    if (
        member[1:] != _COMMA_NULL
        or member[0] in _SPACE
        or not (events.startswith(_BEGIN) and events.endswith(_END))
        or not _is_plain(events)
    ):
        return None
    stripped = events.replace(member, member[:1])
    number = (len(events) - len(stripped)) // len(_COMMA_NULL)
    documents = events[_DATA_SIZE:].replace(_NEXT, _LINE_UP)
    if (
        stripped.find(_USAGE) >= 0
        or events.count(_LF) != 2 * number
        or documents.count(_LF) != number + 1  # two at the end, the others between `}` and `{`
    ):
        return None
    # No value reaches from `}` over a line's end to `{`. So with as many values as lines each line is
    # one, and with as many mentions as values, none without the member, each mention is the member.
    try:
        read = _read_lines(documents)
    except lenient.UNREADABLE:
        return None
    return stripped if len(read) == number else None


def _is_plain(data: bytes) -> bool:
    """Whether no name in it is written or read in a way of its own."""
    if data.find(_BACKSLASH) >= 0 and data.find(_UNICODE) >= 0 and _ESCAPED.search(data):
        return False
    return data.isascii() or _is_utf8(data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_null(raw: bytes, data: bytes, members: dict[str, msgspec.Raw]) -> bytes:
    if data.count(_USAGE) == 1 and not _ESCAPED.search(data):
        return _cut(raw, *next(_cuts(data), (0, 0)))  # its only mention is the member itself
    wanted = [(name, value) for name, value in members.items() if name != "usage"]
    for start, end in _cuts(data):
        left = lenient.members(data[:start] + data[end:])
        # Equal in everything else: then it was the member itself, not one further inside.
        if left is not None and list(left.items()) == wanted:
            return _cut(raw, start, end)
    return raw


def _cuts(data: bytes) -> Iterator[tuple[int, int]]:
    """Where a member `"usage": null` stands, with the comma and the space that came with it."""
    for match in _NULL_MEMBER.finditer(data):
        start, end = match.span()
        before = _back_over_space(data, start)
        if data[before - 1 : before] == b",":
            yield _back_over_space(data, before - 1), end
            continue
        behind = _over_space(data, end)
        if data[behind : behind + 1] == b",":
            yield start, _over_space(data, behind + 1)
        else:
            yield start, end


def _back_over_space(data: bytes, position: int) -> int:
    while position and data[position - 1] in _SPACE:
        position -= 1
    return position


def _over_space(data: bytes, position: int) -> int:
    while position < len(data) and data[position] in _SPACE:
        position += 1
    return position


def _cut(raw: bytes, start: int, end: int) -> bytes:
    """The raw event without what stands from `start` to `end` of its data."""
    whole = _ONE_LINE.fullmatch(raw)
    if whole is not None:
        at = whole.start(1)
        return raw[: at + start] + raw[at + end :]
    lines = list(_data_lines(raw))
    first, last = _locate(lines, start), _locate(lines, end)
    between = raw[first:last].splitlines()[1:]
    if all(line.startswith(b"data") for line in between):
        return raw[:first] + raw[last:]
    return raw  # a foreign line stands in between: not ours to take out


def _data_lines(raw: bytes) -> Iterator[tuple[int, int]]:
    """Offset and length of the value of each data line."""
    offset = 0
    for line in raw.splitlines(keepends=True):
        content = line.rstrip(b"\r\n")
        name, value = sse.field(content.removeprefix(sse.BOM) if offset == 0 else content)
        if name == b"data":
            yield offset + len(content) - len(value), len(value)
        offset += len(line)


def _locate(lines: list[tuple[int, int]], position: int) -> int:
    """The raw offset of a position in the data; the line feed between two lines counts one."""
    for offset, length in lines:
        if position <= length:
            return offset + position
        position -= length + 1
    raise AssertionError("a position behind the data")
