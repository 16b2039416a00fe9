"""Trailer fields of a chunked message: their strict grammar, and which of them may pass. Pure.

Whatever says where a message ends, where it goes, who calls or how its body is to be read is dropped
(RFC 9110 §6.5.1), and so are the fields of which a receiver expects only one, in the head.
"""

import re
from typing import Final

from gateway.credentials import CREDENTIAL_HEADERS
from gateway.errors import BadFraming, Headers
from gateway.headers import REWRITTEN, folded

MAX_BYTES: Final = 8192  # of the whole section with its empty line
MAX_FIELDS: Final = 64

_NAME: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
_FIELD: Final = re.compile(rb"(%b+):(%b*)" % (_NAME, _VALUE))
# A possessive group (`)*+`) would match wrongly before Python 3.11.5 (gh-106052).
_SO_FAR: Final = re.compile(
    rb"(?:%b++:%b*+\r\n)*(?:%b*+|%b++:%b*+\r?|\r)" % (_NAME, _VALUE, _NAME, _NAME, _VALUE)
)

_ONLY_IN_HEADS: Final = (
    REWRITTEN
    | CREDENTIAL_HEADERS
    | {
        b"age",
        b"cache-control",
        b"cookie",
        b"date",
        b"expires",
        b"from",
        b"location",
        b"max-forwards",
        b"origin",
        b"pragma",
        b"priority",
        b"range",
        b"referer",
        b"retry-after",
        b"set-cookie",
        b"user-agent",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
    }
)
_FAMILIES_ONLY_IN_HEADS: Final = (
    b"accept",
    b"access-control-",
    b"content-",
    b"if-",
    b"sec-",
    b"x-forwarded-",
)


def parse(section: bytes) -> Headers:
    """The fields that may pass, names in lower case; `section` is without the CRLFs at its end.

    Raises BadFraming for a line that is no field, as an obs-fold is.
    """
    lines = section.split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        raise BadFraming("too many trailer fields")
    fields = [_field(line) for line in lines]
    return [field for field in fields if may_pass(field[0])]


def check_so_far(section: bytes) -> None:
    """Raises BadFraming when no bytes can make a section of this beginning."""
    if len(section) >= MAX_BYTES or not _SO_FAR.fullmatch(section):
        raise BadFraming("the trailer section is malformed or too long")


def may_pass(name: bytes) -> bool:
    """Whether a field of this lower-case name makes sense, and does no harm, behind a body."""
    plain = folded(name)
    return plain not in _ONLY_IN_HEADS and not plain.startswith(_FAMILIES_ONLY_IN_HEADS)


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadFraming("a trailer line is no field")
    return match[1].lower(), match[2].strip(b" \t")
